// intermediate.json and the flags that beat it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/problem.h"
#include "config/types.h"

namespace ztna::config {

/// What a stranger or one client can make grow.
struct IntermediateLimits {
  std::uint32_t connections = 16384;                   // control connections at once
  std::uint32_t handshakes_per_source = 100;           // new ones a second from one IPv4 address or IPv6 /64
  std::uint32_t registrations_per_client = 256;        // services of one control connection
  std::uint32_t routes_per_client = 4096;              // open at once
  std::uint64_t relay_bytes_per_second_per_route = 0;  // 0: no limit; above it packets are dropped and counted
  friend bool operator==(const IntermediateLimits&, const IntermediateLimits&) = default;
};

struct IntermediateConfig : Common {
  IntermediateConfig();
  std::uint16_t port = kDefaultServerPort;
  std::optional<std::uint16_t> probe_port;  // second port, for NAT discovery; 0: none; unset: default_probe_port(port)
  std::vector<IpAddress> bind_addrs;        // default: 0.0.0.0 and ::
  std::vector<IpAddress> external_ips;      // own, behind 1:1 NAT: never probed; at most one of each family
  bool verify_peer = true;
  bool require_client_cert = true;
  bool disable_retry = false;
  unsigned workers = 0;       // 0: one a core
  std::vector<Prefix> pools;  // virtual addresses, at most one of each family; default: see docs/config.md
  IntermediateLimits limits;
  friend bool operator==(const IntermediateConfig&, const IntermediateConfig&) = default;
};

/// Not the next port: by default that is a Connector's, which may run on the same machine.
constexpr std::uint16_t default_probe_port(std::uint16_t port) {
  return static_cast<std::uint16_t>(port <= 65'533 ? port + 2 : port - 2);
}

/// What the command line said; unset: the file's value or the default stays. Paths are taken as they are.
struct IntermediateOverrides {
  std::optional<std::uint16_t> port, probe_port;
  std::vector<IpAddress> bind_addrs;    // not empty: replaces the file's
  std::vector<IpAddress> external_ips;  // not empty: replaces the file's
  std::optional<std::string> ca_cert, cert, key;
  std::optional<bool> verify_peer, require_client_cert, disable_retry;
  std::optional<unsigned> workers;
  std::optional<log::Level> log_level;
  std::optional<log::Format> log_format;
  std::optional<std::uint16_t> metrics_port;
  std::optional<IpAddress> metrics_bind;
  std::optional<std::string> state_dir, keylog_file;
};

/// As parse_agent().
Parsed<IntermediateConfig> parse_intermediate(std::string_view text, std::string_view file, std::string_view directory);
IntermediateConfig default_intermediate(std::string_view directory);
/// Problems: flags that contradict one another.
Problems apply(const IntermediateOverrides& flags, IntermediateConfig& config);
/// Problems: settings of file and flags that contradict one another.
Problems finish(const IntermediateConfig& config);
std::vector<std::string> warnings(const IntermediateConfig& config);

}  // namespace ztna::config
