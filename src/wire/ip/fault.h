// Why an IP packet is not taken: one reason each, to be counted.
#pragma once

#include <cstdint>
#include <string_view>
#include <tl/expected.hpp>

namespace ztna::wire::ip {

enum class PacketFault : std::uint8_t {
  not_ip,                // empty, or version neither 4 nor 6
  truncated,             // shorter than a header or its length field says
  bad_length,            // a length field contradicts another, or octets are left over
  bad_header,            // IPv6 extension headers too many, out of place or of a kind that is not taken
  bad_fragment,          // fragment that ends beyond 65,535 octets, or is no multiple of 8 with more to come
  bad_checksum,          // IPv4 header, or UDP, TCP, ICMP
  unsupported_protocol,  // not UDP, TCP, ICMP (IPv4), ICMPv6 (IPv6)
  count_
};
std::string_view to_string(PacketFault fault);

template <typename T>
using Checked = tl::expected<T, PacketFault>;

}  // namespace ztna::wire::ip
