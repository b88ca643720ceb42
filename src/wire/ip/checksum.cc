#include "wire/ip/checksum.h"

#include <bit>
#include <cstring>

namespace ztna::wire::ip {
namespace {

constexpr std::uint16_t fold(std::uint64_t s) {
  s = (s & 0xFFFF'FFFFU) + (s >> 32);
  s = (s & 0xFFFF'FFFFU) + (s >> 32);
  s = (s & 0xFFFFU) + (s >> 16);
  s = (s & 0xFFFFU) + (s >> 16);
  return static_cast<std::uint16_t>(s);
}

template <typename T>
T load(const std::uint8_t* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

}  // namespace

std::uint16_t sum(Bytes octets) {
  // RFC 1071 2 (B): the sum does not depend on byte order, so it runs in the machine's and is swapped once. Halves of
  // 64-bit words go into two 64-bit sums, which cannot overflow below 2^32 words.
  const auto* p = octets.data();
  auto n = octets.size();
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  for (; n >= 8; p += 8, n -= 8) {
    const auto word = load<std::uint64_t>(p);
    low += word & 0xFFFF'FFFFU;
    high += word >> 32;
  }
  std::uint64_t total = static_cast<std::uint64_t>(fold(low)) + fold(high);
  for (; n >= 2; p += 2, n -= 2) total += load<std::uint16_t>(p);
  if (n == 1) {
    const std::uint8_t last[2] = {*p, 0};
    total += load<std::uint16_t>(last);
  }
  const auto folded = fold(total);
  if constexpr (std::endian::native == std::endian::big) return folded;
  return static_cast<std::uint16_t>(folded << 8 | folded >> 8);
}

std::uint16_t pseudo_header_sum(const IpAddress& src, const IpAddress& dst, Protocol protocol, std::uint32_t length) {
  std::uint64_t total = sum(src.octets());
  total += sum(dst.octets());
  total += static_cast<std::uint8_t>(protocol);
  total += (length >> 16) + (length & 0xFFFFU);
  return fold(total);
}

std::uint16_t upper_layer_checksum(const IpAddress& src, const IpAddress& dst, Protocol protocol, Bytes message) {
  const auto pseudo = protocol == Protocol::icmp
                          ? std::uint16_t{0}  // RFC 792: no pseudo-header
                          : pseudo_header_sum(src, dst, protocol, static_cast<std::uint32_t>(message.size()));
  const auto result = complement(add_sums(pseudo, sum(message)));
  return protocol == Protocol::udp && result == 0 ? std::uint16_t{0xFFFF} : result;
}

}  // namespace ztna::wire::ip
