// agent.json and the flags that beat it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/problem.h"
#include "config/types.h"

namespace ztna::config {

struct AgentService {
  std::string id;
  std::vector<IpAddress> virtual_ips;  // pinned: at most one of each family; empty: what the Intermediate says
  friend bool operator==(const AgentService&, const AgentService&) = default;
};

struct AgentConfig : Common {
  AgentConfig();
  std::vector<Server> servers;         // in order of preference; finish() refuses an empty list
  std::vector<AgentService> services;  // `serviceId` first, then `services`; empty: all that policy allows
  std::string tun_name = "ztna0";
  std::vector<Prefix> routes;  // at most one of each family; default: both pools of the Intermediate
  unsigned mtu = kDefaultMtu;
  DirectPaths p2p;
  std::string control_socket = "/run/ztna/agent.sock";
  std::chrono::seconds offline_grace{300};
  std::chrono::seconds auto_stop{0};  // 0: runs until told to stop

  bool all_services() const { return services.empty(); }
  /// `routes`, and a host route for each pinned address that lies outside of them.
  std::vector<Prefix> tunnel_routes() const;
  friend bool operator==(const AgentConfig&, const AgentConfig&) = default;
};

/// What the command line said; unset: the file's value or the default stays. Paths are taken as they are.
struct AgentOverrides {
  std::vector<Server> servers;        // not empty: replaces the file's
  std::vector<std::string> services;  // not empty: replaces the file's; pinned addresses of the same id stay
  std::optional<std::string> ca_cert, cert, key;
  std::optional<log::Level> log_level;
  std::optional<log::Format> log_format;
  std::optional<std::uint16_t> metrics_port;
  std::optional<IpAddress> metrics_bind;
  std::optional<std::string> tun_name;
  std::vector<Prefix> routes;  // not empty: replaces the file's
  std::optional<unsigned> mtu;
  std::optional<std::string> control_socket, state_dir, keylog_file;
  std::optional<std::chrono::seconds> auto_stop;
  std::optional<bool> birthday;
};

/// `file` is the name for problems, `directory` what relative paths in it are joined to (empty: the working directory).
/// Unset paths of the identity become `directory`/certs/{ca,cert,key}.pem.
Parsed<AgentConfig> parse_agent(std::string_view text, std::string_view file, std::string_view directory);
/// The configuration without a file: all defaults.
AgentConfig default_agent(std::string_view directory);
/// Problems: flags that contradict one another.
Problems apply(const AgentOverrides& flags, AgentConfig& config);
/// What can be said only after the flags are in: a server is named, and so on. Empty: fine.
Problems finish(const AgentConfig& config);
/// Lines to print at each start (developer switches that are on).
std::vector<std::string> warnings(const AgentConfig& config);

}  // namespace ztna::config
