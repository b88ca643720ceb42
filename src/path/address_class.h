// What kind of place an address names, as far as its bits tell. Inside this layer only.
#pragma once

#include <cstdint>

#include "base/address.h"

namespace ztna::path {

enum class AddressClass : std::uint8_t {
  usable,
  unspecified,
  loopback,
  multicast,
  broadcast,  // 255.255.255.255
  link_local,
  /// 0/8 and 240/4 (RFC 6890), site-local addresses (RFC 3879), and IPv6 blocks that carry an IPv4 address in them and
  /// so would get around every rule for IPv4: mapped and compatible (RFC 4291), NAT64 (RFC 6052, 8215), 6to4 (RFC
  /// 3056), Teredo (RFC 4380).
  reserved,
};
AddressClass classify(const IpAddress& address);

/// A network of this host has `address` as its directed broadcast (or its network address, RFC 1122 3.3.6).
bool is_directed_broadcast(const IpAddress& address, const IpAddress& host, unsigned prefix_length);

/// The private block that the address is in (RFC 1918, 6598, 4193): a number for each, 0 for none.
unsigned private_block(const IpAddress& address);

/// The first `length` bits are the same; false for different families.
bool same_network(const IpAddress& a, const IpAddress& b, unsigned length);

}  // namespace ztna::path
