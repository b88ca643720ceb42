// How a NAT maps and filters (RFC 4787 4.1, 5), as an end has measured it of itself (docs/protocol.md 3, 5).
#pragma once

#include <cstdint>
#include <string_view>

namespace ztna::wire {

/// Which external address the packets of one local address get.
enum class NatMapping : std::uint8_t {
  unknown = 0,
  none = 1,                  // no NAT: the address is its own
  endpoint_independent = 2,  // the same for all remote addresses
  address_dependent = 3,     // another for each remote IP address
  address_and_port_dependent = 4,
};
std::string_view to_string(NatMapping mapping);
constexpr bool is_known(NatMapping m) { return m <= NatMapping::address_and_port_dependent; }

/// From whom a mapping lets packets in.
enum class NatFiltering : std::uint8_t {
  unknown = 0,
  none = 1,                  // neither NAT nor firewall
  endpoint_independent = 2,  // from everybody
  address_dependent = 3,     // from the IP addresses that were sent to
  address_and_port_dependent = 4,
};
std::string_view to_string(NatFiltering filtering);
constexpr bool is_known(NatFiltering f) { return f <= NatFiltering::address_and_port_dependent; }

}  // namespace ztna::wire
