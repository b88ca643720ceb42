// connector.json and the flags that beat it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/problem.h"
#include "config/types.h"

namespace ztna::config {

/// One service and what may be reached of it; ICMP echo to its address is always answered.
struct ConnectorService {
  std::string id;
  Protocol protocol = Protocol::any;
  std::string backend_host;            // name or IP literal, without brackets
  std::uint16_t backend_port = 0;      // 0: the port that the user dialled
  std::vector<PortRange> ports;        // what users may dial; empty: nothing but ICMP echo (protocol icmp)
  std::vector<IpAddress> service_ips;  // at most one of each family; empty: what the Intermediate gives out

  /// The backend's port for a user's packet or connection to `dialled`; nothing: not reachable, drop and count.
  std::optional<std::uint16_t> backend_port_for(Transport transport, std::uint16_t dialled) const;
  friend bool operator==(const ConnectorService&, const ConnectorService&) = default;
};

struct ConnectorLimits {
  std::uint32_t tunnels = 4096;                    // Agents' tunnels at once
  std::uint32_t udp_flows_per_agent = 4096;        // sockets held for one Agent
  std::uint32_t tcp_connections_per_agent = 1024;  // open at once
  std::uint32_t tcp_connects_per_second = 2000;    // new ones of one Agent
  friend bool operator==(const ConnectorLimits&, const ConnectorLimits&) = default;
};

/// Direct paths: what Agents connect to.
struct P2pSettings : DirectPaths {
  P2pSettings() { port = 4434; }
  std::string cert;  // empty (both): the Connector's own identity
  std::string key;
  friend bool operator==(const P2pSettings&, const P2pSettings&) = default;
};

struct ConnectorConfig : Common {
  ConnectorConfig();
  std::vector<Server> servers;             // default: 127.0.0.1:4433
  std::vector<ConnectorService> services;  // default: `default` at 127.0.0.1:8080; ids differ
  P2pSettings p2p;
  bool verify_peer = true;
  std::chrono::seconds offline_grace{300};
  ConnectorLimits limits;

  /// The files that Agents see: p2p's, or the Connector's own.
  IdentityFiles p2p_identity() const;
  friend bool operator==(const ConnectorConfig&, const ConnectorConfig&) = default;
};

/// What the command line said; unset: the file's value or the default stays. Paths are taken as they are.
struct ConnectorOverrides {
  std::vector<Server> servers;         // not empty: replaces the file's
  std::vector<std::string> services;   // not empty: only these; a definition of the same id in the file stays
  std::vector<std::string> forwards;   // backends: one for all, or one for each of `services`
  std::vector<IpAddress> service_ips;  // for one service; or one for each of `services`
  std::optional<std::string> ca_cert, cert, key, p2p_cert, p2p_key;
  std::optional<std::uint16_t> p2p_port;
  std::vector<IpAddress> external_ips;
  std::optional<bool> birthday;
  std::optional<bool> verify_peer;
  std::optional<log::Level> log_level;
  std::optional<log::Format> log_format;
  std::optional<std::uint16_t> metrics_port;
  std::optional<IpAddress> metrics_bind;
  std::optional<std::string> state_dir, keylog_file;
};

/// As parse_agent().
Parsed<ConnectorConfig> parse_connector(std::string_view text, std::string_view file, std::string_view directory);
ConnectorConfig default_connector(std::string_view directory);
/// Problems: flags that contradict one another or leave it open which service they mean.
Problems apply(const ConnectorOverrides& flags, ConnectorConfig& config);
Problems finish(const ConnectorConfig& config);
std::vector<std::string> warnings(const ConnectorConfig& config);

}  // namespace ztna::config
