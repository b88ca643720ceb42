// IP addresses and UDP/TCP endpoints as plain values, without system headers.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace ztna {

enum class Family : std::uint8_t { v4 = 4, v6 = 6 };

class IpAddress {
 public:
  constexpr IpAddress() = default;  // 0.0.0.0
  static constexpr IpAddress v4(std::uint32_t host_order) {
    IpAddress a;
    for (unsigned i = 0; i < 4; ++i) a.octets_[i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
    return a;
  }
  static constexpr IpAddress v4(std::span<const std::uint8_t, 4> octets) {
    IpAddress a;
    std::copy(octets.begin(), octets.end(), a.octets_.begin());
    return a;
  }
  static constexpr IpAddress v6(std::span<const std::uint8_t, 16> octets) {
    IpAddress a;
    a.family_ = Family::v6;
    std::copy(octets.begin(), octets.end(), a.octets_.begin());
    return a;
  }
  /// Accepts dotted IPv4 and every RFC 4291 form of IPv6, without zone. Error: malformed.
  static Result<IpAddress> parse(std::string_view text);

  Family family() const { return family_; }
  bool is_v4() const { return family_ == Family::v4; }
  bool is_v6() const { return family_ == Family::v6; }
  /// 4 or 16 octets in network order; borrowed from *this.
  Bytes octets() const { return {octets_.data(), is_v4() ? 4U : 16U}; }
  /// Only for IPv4.
  std::uint32_t v4_host_order() const;
  bool is_unspecified() const;
  bool is_loopback() const;
  bool is_link_local() const;
  bool is_multicast() const;
  /// RFC 1918, RFC 6598, RFC 4193.
  bool is_private() const;
  bool is_v4_mapped() const;
  /// ::ffff:a.b.c.d becomes a.b.c.d, all else stays.
  IpAddress unmapped() const;

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  Family family_ = Family::v4;
  std::array<std::uint8_t, 16> octets_{};
};
std::string to_string(const IpAddress& address);

struct SocketAddress {
  IpAddress ip;
  std::uint16_t port = 0;

  /// "192.0.2.1:4433" or "[2001:db8::1]:4433". Error: malformed.
  static Result<SocketAddress> parse(std::string_view text);
  friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;
};
std::string to_string(const SocketAddress& address);

/// An address block in CIDR notation, e.g. 10.100.0.0/24.
struct Prefix {
  IpAddress base;
  unsigned length = 0;

  /// Error: malformed, also when host bits are set.
  static Result<Prefix> parse(std::string_view text);
  bool contains(const IpAddress& address) const;
  bool overlaps(const Prefix& other) const;
  friend auto operator<=>(const Prefix&, const Prefix&) = default;
};
std::string to_string(const Prefix& prefix);

/// "name-or-address:port" as people write it; an IPv6 literal is in brackets.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  /// Without a colon part, `default_port` is taken (0: the port is required). Error: malformed.
  static Result<HostPort> parse(std::string_view text, std::uint16_t default_port = 0);
};

}  // namespace ztna

template <>
struct std::hash<ztna::IpAddress> {
  std::size_t operator()(const ztna::IpAddress& a) const noexcept;
};
template <>
struct std::hash<ztna::SocketAddress> {
  std::size_t operator()(const ztna::SocketAddress& a) const noexcept;
};
