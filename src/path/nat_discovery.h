// What kind of NAT or firewall is in front of this host, by keyless probes to the Intermediate (docs/protocol.md 5; RFC
// 5780 4.3, 4.4 with ports in place of addresses; terms of RFC 4787 4.1 and 5). One object a family.
//
//   1. main port, 0x11            nothing: UDP is blocked. Our own address comes back: no NAT.
//   2. main port, 0x13            the answer comes from the other port: a stranger's port gets in, or not
//   3. other port, 0x11           another observed address: the mapping depends on the port
//   4. second Intermediate, 0x11  another observed address: the mapping depends on the address
//
// Step 2 comes before 3, since a packet to the other port opens the filter for its answers. For the same reason a rerun
// that finds the same address of the main port observed keeps the verdict: the NAT and its filter state are the same.
// One Intermediate cannot tell address-dependent from endpoint-independent; the report says so by `..._exact`.
//
// Sans-IO: after every call send what poll() gives, from the socket that will punch, and call poll() again at
// deadline().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/random.h"
#include "base/time.h"
#include "path/outgoing.h"
#include "wire/ids.h"
#include "wire/nat.h"
#include "wire/probe.h"

namespace ztna::path {

/// The two answers that go into an offer.
struct NatKind {
  wire::NatMapping mapping = wire::NatMapping::unknown;
  wire::NatFiltering filtering = wire::NatFiltering::unknown;
  friend bool operator==(const NatKind&, const NatKind&) = default;
};
/// The name people know, short and stable, for labels and JSON: `none`, `firewall`, `full_cone`, `restricted_cone`,
/// `port_restricted_cone`, `symmetric`, `unknown`. Address-dependent mapping counts as symmetric.
std::string_view nat_label(const NatKind& kind);
/// For people, with the terms of RFC 4787: "port-restricted cone NAT (endpoint-independent mapping, address and
/// port-dependent filtering)".
std::string describe(const NatKind& kind);

struct NatReport {
  enum class State : std::uint8_t {
    not_run,
    running,
    done,
    udp_blocked,  // the main port did not answer probes (nor did the other one)
  };
  State state = State::not_run;
  NatKind kind;
  bool mapping_exact =
      false;  // false: endpoint_independent may as well be address_dependent (one Intermediate address)
  bool filtering_exact = false;     // false: address_dependent may as well be endpoint_independent
  bool other_port_blocked = false;  // the main port answers, the other does not: mapping and filtering stay unknown
  std::optional<SocketAddress> observed;         // by the main port
  std::optional<SocketAddress> observed_other;   // by the other port
  std::optional<SocketAddress> observed_second;  // by the second Intermediate
  std::optional<Duration> rtt;                   // of the main port
  TimePoint finished{};
  friend bool operator==(const NatReport&, const NatReport&) = default;
};
std::string_view to_string(NatReport::State state);
/// describe(kind), or why it is not known, and what one address could not tell.
std::string describe(const NatReport& report);
/// What an offer says when both families were measured: IPv4 when it has an answer, since NATs are there.
NatKind offered_kind(const NatReport& v4, const NatReport& v6);

class NatDiscovery {
 public:
  struct Targets {
    SocketAddress main;                   // the Intermediate's, in this family
    std::optional<SocketAddress> other;   // its second port (ProbePort); nothing: mapping and filtering stay unknown
    std::optional<SocketAddress> second;  // main port of an Intermediate at another address
    friend bool operator==(const Targets&, const Targets&) = default;
  };

  /// What became of a received open_response.
  enum class Fate : std::uint8_t { taken, unknown_transaction, wrong_source, wrong_kind, count_ };

  /// Requests at 0, 100, 300, 700, 1500 ms; silence is an answer 600 ms (or three RTTs) after the last.
  static constexpr unsigned kSends = 5;
  static constexpr unsigned kFilterSends = 4;  // the silence of a filter is the usual answer: it is waited for less

  /// `random` outlives the object.
  explicit NatDiscovery(Random& random) : random_(random) {}

  /// Begins, or begins again (network change, new address observed by QAD, another ProbePort): `own` are the addresses
  /// of this host in this family with the port of its socket. The former report stays readable until the new one is
  /// done.
  void start(const Targets& targets, std::span<const SocketAddress> own, TimePoint now);
  /// Forgets everything: the family is gone.
  void reset();

  Fate receive(const SocketAddress& from, const wire::Probe& probe, TimePoint now);
  std::vector<Outgoing> poll(TimePoint now);
  TimePoint deadline() const;

  bool running() const { return step_ != Step::idle; }
  /// The last finished report (state not_run before the first).
  const NatReport& report() const { return report_; }
  /// True once after each finished run.
  bool take_change();

 private:
  enum class Step : std::uint8_t { idle, main, filter, other, second };
  struct Sent {
    TimePoint at;
    SocketAddress expected_from;
    Step step;
  };

  void enter(Step step, TimePoint now);
  void conclude(TimePoint now);
  void step_answered(TimePoint now);
  void step_silent(TimePoint now);
  unsigned sends_of(Step step) const;
  Duration patience() const;

  Random& random_;
  Targets targets_;
  std::vector<SocketAddress> own_;
  Step step_ = Step::idle;
  unsigned sent_ = 0;
  TimePoint next_ = kNever;
  wire::SessionId session_;
  std::map<wire::TransactionId, Sent> outstanding_;
  NatReport run_;     // of the run under way
  NatReport report_;  // of the last finished one
  Targets judged_;    // targets of report_
  bool filter_passed_ = false;
  bool changed_ = false;
};
std::string_view to_string(NatDiscovery::Fate fate);

}  // namespace ztna::path
