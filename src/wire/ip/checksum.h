// The Internet checksum (RFC 1071), its incremental update (RFC 1624) and pseudo-headers (RFC 9293 3.1, RFC 8200 8.1).
//
// "Sum" is the ones' complement sum folded to 16 bits, not complemented; "checksum" is its complement, as in a header.
// Both are values in host order: write them big-endian.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"
#include "wire/ip/protocol.h"

namespace ztna::wire::ip {

/// Ones' complement sum of two sums.
constexpr std::uint16_t add_sums(std::uint16_t a, std::uint16_t b) {
  const auto s = static_cast<std::uint32_t>(a) + b;
  return static_cast<std::uint16_t>((s & 0xFFFFU) + (s >> 16));
}
constexpr std::uint16_t complement(std::uint16_t sum) { return static_cast<std::uint16_t>(~sum); }

/// Sum of `octets`, eight at a time; an odd last octet counts as the high one of a word.
std::uint16_t sum(Bytes octets);
inline std::uint16_t checksum(Bytes octets) { return complement(sum(octets)); }

/// Sum of the pseudo-header: what virtio's NEEDS_CSUM wants in the checksum field. `length` is that of the upper-layer
/// header and payload, in octets.
std::uint16_t pseudo_header_sum(const IpAddress& src, const IpAddress& dst, Protocol protocol, std::uint32_t length);

/// Checksum of a whole upper-layer message whose checksum field is zero. UDP's 0 becomes 0xFFFF (RFC 768).
std::uint16_t upper_layer_checksum(const IpAddress& src, const IpAddress& dst, Protocol protocol, Bytes message);

/// RFC 1624 equation 3: the checksum after a part of the data with sum `before` became one with sum `after`.
constexpr std::uint16_t update_checksum(std::uint16_t old_checksum, std::uint16_t before, std::uint16_t after) {
  return complement(add_sums(add_sums(complement(old_checksum), complement(before)), after));
}
/// The same for a sum that is not complemented (NEEDS_CSUM).
constexpr std::uint16_t update_sum(std::uint16_t old_sum, std::uint16_t before, std::uint16_t after) {
  return add_sums(add_sums(old_sum, complement(before)), after);
}

}  // namespace ztna::wire::ip
