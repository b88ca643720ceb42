// Settings that the three daemons share. Field by field: docs/config.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/log.h"
#include "base/result.h"

namespace ztna::config {

inline constexpr std::uint16_t kDefaultServerPort = 4433;
inline constexpr std::size_t kMaxServiceIdLength = 200;  // docs/protocol.md 3
inline constexpr unsigned kDefaultMtu = 1280;            // Linux takes IPv6 off a smaller one

/// Where an Intermediate is: a DNS name or an IP literal without brackets.
struct Server {
  std::string host;
  std::uint16_t port = kDefaultServerPort;
  friend bool operator==(const Server&, const Server&) = default;
};
/// "host:port" as people write it, IPv6 in brackets.
std::string to_string(const Server& server);

/// Paths of PEM files, ready to open. Relative paths of a file are already joined to that file's folder.
struct IdentityFiles {
  std::string ca_cert;
  std::string cert;
  std::string key;
  friend bool operator==(const IdentityFiles&, const IdentityFiles&) = default;
};

struct LogSettings {
  log::Level level = log::Level::info;
  log::Format format = log::Format::text;
  friend bool operator==(const LogSettings&, const LogSettings&) = default;
};

/// HTTP for /metrics, /healthz, /readyz. Port 0: off.
struct MetricsSettings {
  std::uint16_t port = 0;
  IpAddress bind = IpAddress::v4(0x7f000001);
  friend bool operator==(const MetricsSettings&, const MetricsSettings&) = default;
};

/// False: do without, even where the kernel has it. True: use it where the kernel has it.
struct Offloads {
  bool gso = true;  // UDP segmentation on send
  bool gro = true;  // UDP coalescing on receive
  bool tso = true;  // TUN: TCP super-packets (agent only)
  bool uso = true;  // TUN: UDP super-packets (agent only)
  friend bool operator==(const Offloads&, const Offloads&) = default;
};

/// Direct paths, as Agent and Connector have them.
struct DirectPaths {
  bool enabled = true;
  std::uint16_t port = 0;               // UDP; 0: any
  std::vector<IpAddress> external_ips;  // extra candidates, at most one of each family
  bool port_mapping = true;             // ask the router for one, by NAT-PMP or UPnP
  bool birthday = true;                 // where one NAT is symmetric: look for its port with many probes
  friend bool operator==(const DirectPaths&, const DirectPaths&) = default;
};

/// What every daemon has.
struct Common {
  IdentityFiles identity;
  LogSettings log;
  MetricsSettings metrics;
  Offloads offloads;
  std::uint32_t socket_buffer_bytes = 4U << 20;  // SO_RCVBUF and SO_SNDBUF asked for; the kernel may give less
  std::string state_dir;                         // stateless reset key, tokens; made if missing
  std::string keylog_file;                       // developers only; empty: off
  /// What every program takes up at a reload, as `other` has it.
  void take_reloadable(const Common& other) {
    identity = other.identity;
    log = other.log;
    keylog_file = other.keylog_file;
  }
  friend bool operator==(const Common&, const Common&) = default;
};

enum class Protocol : std::uint8_t { tcp, udp, icmp, any };
enum class Transport : std::uint8_t { tcp, udp };
std::string_view to_string(Protocol protocol);
std::string_view to_string(Transport transport);

/// Ports first..last of one transport, both included; first <= last, first >= 1.
struct PortRange {
  Transport transport = Transport::tcp;
  std::uint16_t first = 0;
  std::uint16_t last = 0;
  bool contains(Transport t, std::uint16_t port) const { return t == transport && port >= first && port <= last; }
  friend bool operator==(const PortRange&, const PortRange&) = default;
};
std::string to_string(const PortRange& range);  // "tcp/80", "udp/7000-7010"

// Values as they stand in files and on command lines. Each error's text is the rule alone ("needs ..."), so that the
// caller can put the place and the value before it. All errors: invalid_argument.

struct HostAndPort {
  std::string host;                   // without brackets
  std::optional<std::uint16_t> port;  // 1 to 65535
};
/// "name", "name:port", "192.0.2.1:4433", "[2001:db8::1]:4433", "[2001:db8::1]". An IPv6 literal without brackets is
/// refused.
Result<HostAndPort> parse_host_and_port(std::string_view text);
/// The same, the port being 4433 unless it is there.
Result<Server> parse_server(std::string_view text);
/// A host name (RFC 1123) or IP literal, brackets taken off.
Result<std::string> parse_host(std::string_view text);
/// The same where the port has a field of its own: tells a "host:port" where that goes.
Result<std::string> parse_lone_host(std::string_view text);
/// A service id (docs/protocol.md 3), returned as it is.
Result<std::string> parse_service_id(std::string_view id);
/// Nothing unless 1 to 65535 in plain digits.
std::optional<std::uint16_t> parse_port(std::string_view text);
Result<PortRange> parse_port_range(std::string_view text);
Result<Protocol> parse_protocol(std::string_view text);
Result<log::Level> parse_log_level(std::string_view text);
Result<log::Format> parse_log_format(std::string_view text);
Result<IpAddress> parse_ip(std::string_view text);
/// Interface names: 1 to 15 visible octets, none of `/:%` (Linux IFNAMSIZ).
Result<std::string> parse_tun_name(std::string_view name);
/// An address to listen on. Interfaces are not taken by name.
Result<IpAddress> parse_bind_ip(std::string_view text);
/// An address that packets of a service can carry: unicast, not loopback, not unspecified, not link-local.
Result<IpAddress> parse_virtual_ip(std::string_view text);
/// A pool or route: host bits clear, room for services beside the two reserved addresses (IPv4: /8 to /29, IPv6: /32 to
/// /112).
Result<Prefix> parse_pool(std::string_view text);

/// The addresses of a pool that are never services: the Agent's TUN (.254, ::fffe; for other IPv4
/// lengths the last usable address) and its re-entry peer (.253, ::fffd; the one before).
IpAddress tun_address(const Prefix& pool);
IpAddress reentry_address(const Prefix& pool);

}  // namespace ztna::config
