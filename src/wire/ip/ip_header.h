// Writes plain IP headers: no options, no extension headers.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"
#include "wire/ip/protocol.h"

namespace ztna::wire::ip {

constexpr std::size_t ip_header_size(Family family) { return family == Family::v4 ? 20 : 40; }

struct IpHeader {
  IpAddress src;
  IpAddress dst;  // of the same family
  Protocol protocol = Protocol::udp;
  std::uint8_t hop_limit = 64;
  std::uint16_t id = 0;        // IPv4
  bool dont_fragment = false;  // IPv4
  std::uint8_t traffic_class = 0;
};

/// Fills `out`, of ip_header_size() octets, checksum included. `payload` octets follow: at most 65,515 (IPv4), 65,535
/// (IPv6).
void write_ip_header(MutableBytes out, const IpHeader& header, std::size_t payload);

/// Big-endian 16 bits into a header field.
inline void put_u16(MutableBytes at, std::uint16_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}

}  // namespace ztna::wire::ip
