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
#include "path/nat_report.h"
#include "path/outgoing.h"
#include "wire/ids.h"
#include "wire/probe.h"

namespace ztna::path {

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
  };
  /// When we last sent to the other port, and through which mapping.
  struct Touched {
    std::optional<SocketAddress> other;
    std::optional<SocketAddress> observed;
    TimePoint at;
  };
  /// Longer than NATs keep a UDP filter open (RFC 4787 4.3 asks for 2 minutes at least and recommends 5).
  static constexpr Duration kFilterMemory = 10min;

  void enter(Step step, TimePoint now);
  void step_over(Step step, TimePoint now);
  void send(TimePoint now, std::vector<Outgoing>& out);
  void conclude(TimePoint now);
  bool same_as_before(TimePoint now) const;
  bool touched(TimePoint now) const;
  unsigned sends_of(Step step) const;
  Duration patience() const;

  Random& random_;
  Targets targets_;
  std::vector<SocketAddress> own_;
  Step step_ = Step::idle;
  unsigned sent_ = 0;  // in this step
  TimePoint next_ = kNever;
  wire::SessionId session_;
  std::map<wire::TransactionId, Sent> outstanding_;  // of this step
  NatReport run_;                                    // of the run under way
  NatReport report_;                                 // of the last finished one
  std::optional<Touched> touched_;
  bool filter_passed_ = false;
  bool skip_filter_ = false;
  bool changed_ = false;
};
std::string_view to_string(NatDiscovery::Fate fate);

}  // namespace ztna::path
