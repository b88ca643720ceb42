// What was found out about the NAT or firewall in front of a host, and its names (RFC 4787 4.1 and 5; the older names
// of RFC 3489 5).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/time.h"
#include "wire/nat.h"

namespace ztna::path {

/// The two answers that go into an offer.
struct NatKind {
  wire::NatMapping mapping = wire::NatMapping::unknown;
  wire::NatFiltering filtering = wire::NatFiltering::unknown;
  friend bool operator==(const NatKind&, const NatKind&) = default;
};
/// The name people know, short and stable, for labels and JSON: `none`, `firewall`, `full_cone`, `restricted_cone`,
/// `port_restricted_cone`, `cone` (filtering unknown), `symmetric`, `unknown`. Address-dependent mapping counts as
/// symmetric.
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
  bool mapping_exact = false;       // false: endpoint_independent may be address_dependent (one Intermediate address)
  bool filtering_exact = false;     // false: address_dependent may be endpoint_independent
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

}  // namespace ztna::path
