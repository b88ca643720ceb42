#include "path/address_class.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace ztna::path {
namespace {

struct Block {
  std::array<std::uint8_t, 16> base;
  unsigned length;
};

constexpr Block kReservedV6[] = {
    {{}, 96},  // ::/96: IPv4-compatible; unspecified and loopback are told before
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, 96},  // ::ffff:0:0/96
    {{0x00, 0x64, 0xFF, 0x9B}, 96},                    // NAT64
    {{0x00, 0x64, 0xFF, 0x9B, 0x00, 0x01}, 48},        // local NAT64
    {{0x20, 0x02}, 16},                                // 6to4
    {{0x20, 0x01, 0x00, 0x00}, 32},                    // Teredo
    {{0xFE, 0xC0}, 10},                                // site-local
    {{0x01}, 64},                                      // discard (RFC 6666)
};
constexpr struct {
  std::uint32_t base;
  unsigned length;
} kPrivateV4[] = {{0x0A00'0000, 8}, {0xAC10'0000, 12}, {0xC0A8'0000, 16}, {0x6440'0000, 10}};

}  // namespace

bool same_network(const IpAddress& a, const IpAddress& b, unsigned length) {
  if (a.family() != b.family()) return false;
  const auto x = a.octets();
  const auto y = b.octets();
  for (unsigned i = 0; i < x.size() && length > 0; ++i) {
    const unsigned bits = std::min(length, 8U);
    if ((x[i] ^ y[i]) >> (8 - bits) != 0) return false;
    length -= bits;
  }
  return true;
}

AddressClass classify(const IpAddress& address) {
  if (address.is_unspecified()) return AddressClass::unspecified;
  if (address.is_loopback()) return AddressClass::loopback;
  if (address.is_multicast()) return AddressClass::multicast;
  if (address.is_link_local()) return AddressClass::link_local;
  if (address.is_v4()) {
    const auto bits = address.v4_host_order();
    if (bits == 0xFFFF'FFFFU) return AddressClass::broadcast;
    return bits >> 24 == 0 || bits >> 28 == 0xF ? AddressClass::reserved : AddressClass::usable;
  }
  const bool reserved = std::ranges::any_of(
      kReservedV6, [&](const Block& b) { return same_network(address, IpAddress::v6(b.base), b.length); });
  return reserved ? AddressClass::reserved : AddressClass::usable;
}

bool is_directed_broadcast(const IpAddress& address, const IpAddress& host, unsigned prefix_length) {
  if (!address.is_v4() || prefix_length == 0 || prefix_length > 30) return false;  // RFC 3021: a /31 has none
  if (!same_network(address, host, prefix_length)) return false;
  const auto host_bits = 0xFFFF'FFFFU >> prefix_length;
  const auto rest = address.v4_host_order() & host_bits;
  return rest == host_bits || rest == 0;
}

unsigned private_block(const IpAddress& address) {
  if (!address.is_private()) return 0;
  if (address.is_v6()) return 1;
  for (unsigned i = 0; i < std::size(kPrivateV4); ++i) {
    if (same_network(address, IpAddress::v4(kPrivateV4[i].base), kPrivateV4[i].length)) return 2 + i;
  }
  return 0;
}

}  // namespace ztna::path
