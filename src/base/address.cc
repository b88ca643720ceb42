#include "base/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace ztna {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (text.empty() || error != std::errc{} || stop != end || text.size() > 5) return std::nullopt;
  return port;
}

/// Bit i (0 is the highest) of an address.
bool bit(Bytes octets, unsigned i) { return ((octets[i / 8] >> (7 - i % 8)) & 1) != 0; }

bool same_bits(Bytes a, Bytes b, unsigned count) {
  const auto whole = count / 8;
  if (!std::equal(a.begin(), a.begin() + whole, b.begin())) return false;
  if (count % 8 == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xFF00U >> (count % 8));
  return ((a[whole] ^ b[whole]) & mask) == 0;
}

bool in_v4(const IpAddress& a, std::uint32_t base, unsigned length) {
  return a.is_v4() && (a.v4_host_order() ^ base) >> (32 - length) == 0;
}

/// What a resolver can be asked: letters, digits, `-`, `_` and dots, at most 253 (RFC 1035 2.3.4).
bool is_host_name(std::string_view text) {
  return !text.empty() && text.size() <= 253 && text.front() != '.' && text.find("..") == std::string_view::npos &&
         std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.';
         });
}

struct Split {
  std::string_view host;
  std::string_view port;
  bool has_port = false;
  bool brackets = false;
};

/// "host", "host:port", "[v6]" or "[v6]:port"; nothing when colons and brackets make no sense.
std::optional<Split> split_host_port(std::string_view text) {
  Split s;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    s.brackets = true;
    s.host = text.substr(1, close - 1);
    text.remove_prefix(close + 1);
    if (text.empty()) return s;
    if (text.front() != ':') return std::nullopt;
    s.has_port = true;
    s.port = text.substr(1);
    return s;
  }
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) {
    s.host = text;
    return s;
  }
  if (text.find(':', colon + 1) != std::string_view::npos) return std::nullopt;
  s.host = text.substr(0, colon);
  s.has_port = true;
  s.port = text.substr(colon + 1);
  return s;
}

}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
  // inet_pton wants a terminated string; the longest form is INET6_ADDRSTRLEN with its terminator.
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  if (text.empty() || text.size() >= buffer.size() || text.find('\0') != std::string_view::npos) {
    return fail(Errc::malformed, "\"{}\" is no IP address", text.substr(0, 64));
  }
  std::ranges::copy(text, buffer.begin());
  std::array<std::uint8_t, 16> octets{};
  if (inet_pton(AF_INET, buffer.data(), octets.data()) == 1) {
    return v4(std::span<const std::uint8_t, 4>{octets.data(), 4});
  }
  if (inet_pton(AF_INET6, buffer.data(), octets.data()) == 1) return v6(octets);
  return fail(Errc::malformed, "\"{}\" is no IP address", text);
}

std::uint32_t IpAddress::v4_host_order() const {
  if (!is_v4()) return 0;
  return static_cast<std::uint32_t>(octets_[0]) << 24 | static_cast<std::uint32_t>(octets_[1]) << 16 |
         static_cast<std::uint32_t>(octets_[2]) << 8 | octets_[3];
}

bool IpAddress::is_unspecified() const {
  return std::ranges::all_of(octets(), [](std::uint8_t o) { return o == 0; });
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return octets_[0] == 127;
  return octets_[15] == 1 && std::all_of(octets_.begin(), octets_.end() - 1, [](std::uint8_t o) { return o == 0; });
}

bool IpAddress::is_link_local() const {
  if (is_v4()) return octets_[0] == 169 && octets_[1] == 254;
  return octets_[0] == 0xFE && (octets_[1] & 0xC0) == 0x80;
}

bool IpAddress::is_multicast() const { return is_v4() ? (octets_[0] & 0xF0) == 0xE0 : octets_[0] == 0xFF; }

bool IpAddress::is_private() const {
  if (is_v6()) return (octets_[0] & 0xFE) == 0xFC;
  return in_v4(*this, 0x0A00'0000, 8) || in_v4(*this, 0xAC10'0000, 12) || in_v4(*this, 0xC0A8'0000, 16) ||
         in_v4(*this, 0x6440'0000, 10);
}

bool IpAddress::is_v4_mapped() const {
  return is_v6() && octets_[10] == 0xFF && octets_[11] == 0xFF &&
         std::all_of(octets_.begin(), octets_.begin() + 10, [](std::uint8_t o) { return o == 0; });
}

IpAddress IpAddress::unmapped() const {
  if (!is_v4_mapped()) return *this;
  return v4(std::span<const std::uint8_t, 4>{octets_.data() + 12, 4});
}

std::string to_string(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  inet_ntop(address.is_v4() ? AF_INET : AF_INET6, address.octets().data(), buffer.data(), buffer.size());
  return buffer.data();
}

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
  const auto split = split_host_port(text);
  const auto port = split && split->has_port ? parse_port(split->port) : std::nullopt;
  if (!port) return fail(Errc::malformed, "\"{}\" is not address:port", text);
  auto ip = IpAddress::parse(split->host);
  if (!ip) return fail(ip.error());
  if (ip->is_v6() != split->brackets) return fail(Errc::malformed, "\"{}\": brackets are for IPv6", text);
  return SocketAddress{*ip, *port};
}

std::string to_string(const SocketAddress& address) {
  if (address.ip.is_v6()) return fmt::format("[{}]:{}", to_string(address.ip), address.port);
  return fmt::format("{}:{}", to_string(address.ip), address.port);
}

Result<Prefix> Prefix::parse(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return fail(Errc::malformed, "\"{}\" is not address/length", text);
  auto ip = IpAddress::parse(text.substr(0, slash));
  if (!ip) return fail(ip.error());
  const unsigned bits = ip->is_v4() ? 32 : 128;
  const auto length = parse_port(text.substr(slash + 1));  // also a small decimal number
  if (!length || *length > bits) return fail(Errc::malformed, "\"{}\": length is 0 to {}", text, bits);
  for (unsigned i = *length; i < bits; ++i) {
    if (bit(ip->octets(), i)) return fail(Errc::malformed, "\"{}\" has bits set beyond its length", text);
  }
  return Prefix{*ip, *length};
}

bool Prefix::contains(const IpAddress& address) const {
  return address.family() == base.family() && same_bits(address.octets(), base.octets(), length);
}

bool Prefix::overlaps(const Prefix& other) const {
  return base.family() == other.base.family() &&
         same_bits(base.octets(), other.base.octets(), std::min(length, other.length));
}

std::string to_string(const Prefix& prefix) { return fmt::format("{}/{}", to_string(prefix.base), prefix.length); }

Result<HostPort> HostPort::parse(std::string_view text, std::uint16_t default_port) {
  const auto split = split_host_port(text);
  if (!split) return fail(Errc::malformed, "\"{}\": needs host:port, an IPv6 address in brackets", text);
  std::uint16_t port = default_port;
  if (split->has_port) {
    const auto given = parse_port(split->port);
    if (!given || *given == 0) return fail(Errc::malformed, "\"{}\": the port is 1 to 65535", text);
    port = *given;
  }
  if (port == 0) return fail(Errc::malformed, "\"{}\": needs host:port", text);
  if (split->brackets) {
    const auto ip = IpAddress::parse(split->host);
    if (!ip || !ip->is_v6()) return fail(Errc::malformed, "\"{}\": no IPv6 address in the brackets", text);
  } else if (!is_host_name(split->host)) {
    return fail(Errc::malformed, "\"{}\": no host name or address", text);
  }
  return HostPort{std::string{split->host}, port};
}

}  // namespace ztna

std::size_t std::hash<ztna::IpAddress>::operator()(const ztna::IpAddress& a) const noexcept {
  return std::hash<std::string_view>{}(ztna::as_text(a.octets()));
}

std::size_t std::hash<ztna::SocketAddress>::operator()(const ztna::SocketAddress& a) const noexcept {
  return std::hash<ztna::IpAddress>{}(a.ip) ^ (static_cast<std::size_t>(a.port) * 0x9E37'79B9'7F4A'7C15ULL);
}
