#include "config/types.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>

namespace ztna::config {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

template <typename... Args>
auto invalid(fmt::format_string<Args...> text, Args&&... args) {
  return fail(Errc::invalid_argument, text, std::forward<Args>(args)...);
}

/// Calls `check` for each part between dots; false as soon as it says false.
template <typename Check>
bool each_label(std::string_view text, Check check) {
  for (;;) {
    const auto dot = text.find('.');
    if (!check(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_host_name(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > 253) return false;
  std::string_view last;
  const bool labels = each_label(name, [&](std::string_view label) {
    last = label;
    return !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
           std::ranges::all_of(label, [](char c) { return is_alnum(c) || c == '-' || c == '_'; });
  });
  // All digits at the end: somebody meant an IPv4 address (RFC 3696 section 2).
  return labels && !std::ranges::all_of(last, is_digit);
}

/// 16 octets from 4 or 16, and back: arithmetic on the low end of a pool.
IpAddress with_low_bits(const Prefix& pool, std::uint32_t from_end) {
  if (pool.base.is_v4()) {
    const auto span = std::uint64_t{1} << (32U - pool.length);
    return IpAddress::v4(pool.base.v4_host_order() + static_cast<std::uint32_t>(span - 1 - from_end));
  }
  std::array<std::uint8_t, 16> octets{};
  std::ranges::copy(pool.base.octets(), octets.begin());
  const auto low = 0xFFFFU - from_end;
  octets[14] = static_cast<std::uint8_t>(low >> 8);
  octets[15] = static_cast<std::uint8_t>(low);
  return IpAddress::v6(octets);
}

constexpr std::string_view kBracketRule = "an IPv6 address with a port is written [2001:db8::1]:4433";

}  // namespace

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc{} || stop != end || port == 0 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  return port;
}

Result<HostAndPort> parse_host_and_port(std::string_view text) {
  if (const auto scheme = text.find("://"); scheme != std::string_view::npos) {
    return invalid("needs host:port, without {} before it", text.substr(0, scheme + 3));
  }
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return invalid("has no closing bracket; {}", kBracketRule);
    host = text.substr(0, close + 1);
    const auto rest = text.substr(close + 1);
    has_port = !rest.empty();
    if (has_port && rest[0] != ':') return invalid("has something else than :port after the bracket");
    if (has_port) port = rest.substr(1);
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    // Without brackets nobody can tell whether fd00::5:80 ends in a port.
    if (text.find(':', colon + 1) != std::string_view::npos) return invalid("{}", kBracketRule);
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  }
  auto name = parse_host(host);
  if (!name) return fail(name.error());
  if (!has_port) return HostAndPort{std::move(*name), std::nullopt};
  const auto number = parse_port(port);
  if (!number) return invalid("needs a port from 1 to 65535 after the colon");
  return HostAndPort{std::move(*name), number};
}

Result<Server> parse_server(std::string_view text) {
  auto parts = parse_host_and_port(text);
  if (!parts) return fail(parts.error());
  return Server{std::move(parts->host), parts->port.value_or(kDefaultServerPort)};
}

Result<std::string> parse_host(std::string_view text) {
  if (text.empty()) return invalid("needs a host name or an IP address");
  if (text.starts_with('[')) {
    if (!text.ends_with(']')) return invalid("has no closing bracket");
    text = text.substr(1, text.size() - 2);
    const auto address = IpAddress::parse(text);
    if (!address || !address->is_v6()) return invalid("needs an IPv6 address in the brackets");
    return to_string(*address);
  }
  if (const auto address = IpAddress::parse(text)) return to_string(*address);
  if (!is_host_name(text)) return invalid("needs a host name or an IP address");
  return std::string{text};
}

Result<std::string> parse_service_id(std::string_view id) {
  if (id.empty()) return invalid("needs a service id: labels of a-z, 0-9 and '-', joined by dots");
  if (id.size() > kMaxServiceIdLength)
    return invalid("is {} octets long; {} is the most", id.size(), kMaxServiceIdLength);
  const bool good = each_label(id, [](std::string_view label) {
    return !label.empty() && label.size() <= 63 && label.front() != '-' && label.back() != '-' &&
           std::ranges::all_of(label, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-'; });
  });
  if (good) return std::string{id};
  return invalid("needs labels of a-z, 0-9 and '-' (1 to 63 each, no '-' at their ends), joined by dots");
}

Result<std::string> parse_lone_host(std::string_view text) {
  auto host = parse_host(text);
  if (host) return host;
  const auto both = parse_host_and_port(text);
  if (both && both->port) return invalid("needs a host alone; the port has a field of its own");
  return host;
}

Result<PortRange> parse_port_range(std::string_view text) {
  constexpr std::string_view kRule = "needs tcp/PORT, udp/PORT or a range like udp/7000-7010";
  PortRange range;
  if (text.starts_with("udp/")) {
    range.transport = Transport::udp;
  } else if (!text.starts_with("tcp/")) {
    return invalid("{}", kRule);
  }
  const auto ports = text.substr(4);
  const auto dash = ports.find('-');
  const auto first = parse_port(ports.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_port(ports.substr(dash + 1));
  if (!first || !last) return invalid("{}, ports from 1 to 65535", kRule);
  if (*first > *last) return invalid("begins after its end");
  range.first = *first;
  range.last = *last;
  return range;
}

Result<Protocol> parse_protocol(std::string_view text) {
  for (const auto p : {Protocol::udp, Protocol::tcp, Protocol::icmp, Protocol::any}) {
    if (text == to_string(p)) return p;
  }
  return invalid("needs udp, tcp, icmp or any");
}

Result<log::Level> parse_log_level(std::string_view text) {
  constexpr std::array<std::string_view, 6> kNames{"trace", "debug", "info", "warn", "error", "off"};
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (text == kNames[i]) return static_cast<log::Level>(i);
  }
  return invalid("needs trace, debug, info, warn, error or off");
}

Result<log::Format> parse_log_format(std::string_view text) {
  if (text == "text") return log::Format::text;
  if (text == "json") return log::Format::json;
  return invalid("needs text or json");
}

Result<IpAddress> parse_ip(std::string_view text) {
  if (auto address = IpAddress::parse(text)) return *address;
  return invalid("needs an IPv4 or IPv6 address");
}

Result<IpAddress> parse_bind_ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  if (!address) return invalid("needs an address of this machine, or 0.0.0.0 or :: for all");
  if (address->is_multicast()) return invalid("is a multicast address; needs one of this machine");
  return *address;
}

Result<std::string> parse_tun_name(std::string_view name) {
  const bool good =
      !name.empty() && name.size() <= 15 && name != "." && name != ".." &&
      std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7F && c != '/' && c != ':' && c != '%'; });
  if (good) return std::string{name};
  return invalid("needs an interface name: 1 to 15 letters, digits, '-', '_' or '.'");
}

Result<IpAddress> parse_virtual_ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  if (!address) return invalid("needs an IPv4 or IPv6 address");
  const bool broadcast = *address == IpAddress::v4(0xFFFFFFFF);
  if (address->is_unspecified() || address->is_loopback() || address->is_link_local() || address->is_multicast() ||
      address->is_v4_mapped() || broadcast) {
    return invalid("needs a unicast address of a network, like 10.100.0.10");
  }
  return *address;
}

Result<Prefix> parse_pool(std::string_view text) {
  const auto pool = Prefix::parse(text);
  if (!pool) {
    const auto slash = text.find('/');
    const bool address = IpAddress::parse(text.substr(0, slash)).has_value();
    if (address && slash == std::string_view::npos) return invalid("needs a prefix length, like 10.100.0.0/24");
    if (address) return invalid("needs a prefix length that fits, and zeros after it, like 10.100.0.0/24");
    return invalid("needs a network like 10.100.0.0/24 or fd5a:7a74:6e61::/64");
  }
  const bool v4 = pool->base.is_v4();
  if (pool->length < (v4 ? 8U : 32U) || pool->length > (v4 ? 29U : 112U)) {
    return invalid("needs a prefix length from {}", v4 ? "/8 to /29" : "/32 to /112");
  }
  if (!parse_virtual_ip(to_string(pool->base))) return invalid("needs a unicast network, like 10.100.0.0/24");
  return *pool;
}

IpAddress tun_address(const Prefix& pool) { return with_low_bits(pool, 1); }
IpAddress reentry_address(const Prefix& pool) { return with_low_bits(pool, 2); }

std::string to_string(const Server& server) {
  const bool v6 = server.host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", server.host, v6 ? "]" : "", server.port);
}

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::tcp: return "tcp";
    case Protocol::udp: return "udp";
    case Protocol::icmp: return "icmp";
    case Protocol::any: return "any";
  }
  return "any";
}

std::string_view to_string(Transport transport) { return transport == Transport::tcp ? "tcp" : "udp"; }

std::string to_string(const PortRange& range) {
  if (range.first == range.last) return fmt::format("{}/{}", to_string(range.transport), range.first);
  return fmt::format("{}/{}-{}", to_string(range.transport), range.first, range.last);
}

}  // namespace ztna::config
