// IPv4 header (RFC 791 3.1).
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"
#include "wire/ip/fault.h"

namespace ztna::wire::ip {

/// Fragment fields of either family; an unfragmented packet has offset 0 and more false.
struct FragmentInfo {
  std::uint32_t id = 0;
  std::uint32_t offset = 0;  // octets
  bool more = false;

  bool is_fragment() const { return offset != 0 || more; }
  bool is_first() const { return offset == 0; }
};

struct Ipv4View {
  static constexpr std::size_t kMinHeader = 20;

  Bytes header;   // with options; borrows
  Bytes payload;  // borrows
  IpAddress src;
  IpAddress dst;
  std::uint8_t tos = 0;
  std::uint8_t ttl = 0;
  std::uint8_t protocol = 0;
  bool dont_fragment = false;
  FragmentInfo fragment;

  /// `packet` is one packet exactly. The checksum is not looked at.
  static Checked<Ipv4View> parse(Bytes packet);
};

}  // namespace ztna::wire::ip
