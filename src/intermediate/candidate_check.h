// Which addresses the Intermediate lets one client name to another (docs/protocol.md 3.1): nobody may use it to point
// probes at a third party that cannot be meant.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "wire/control/signaling.h"

namespace ztna::intermediate {

/// Where the Intermediate itself is reached.
struct OwnAddresses {
  std::vector<IpAddress> ips;
  std::uint16_t port = 0;
  std::uint16_t probe_port = 0;  // 0: none

  bool contains(const SocketAddress& address) const;
};

/// Why `address` is no candidate; empty: it may be one. Private and shared addresses (RFC 1918, 4193, 6598) may: both
/// ends can be in one network; the end that probes decides.
std::string_view why_no_candidate(const SocketAddress& address, const OwnAddresses& own);

/// Takes out of `candidates` the server-reflexive ones that `observed`, the validated address of their sender's control
/// connection, gives the lie to: those of its family that are another address. What a client is seen as is ours to say,
/// not its own. Of the other family we see nothing, so such a candidate stays, and is worth no more than a host's.
/// Returns how many went.
std::size_t drop_unobserved(std::vector<wire::Candidate>& candidates, const SocketAddress& observed);

}  // namespace ztna::intermediate
