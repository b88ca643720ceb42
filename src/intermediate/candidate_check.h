// Which addresses the Intermediate lets one client name to another (docs/protocol.md 3.1): nobody may use it to point
// probes at a third party that cannot be meant.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/address.h"

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

}  // namespace ztna::intermediate
