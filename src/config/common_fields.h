// The fields that all three files have, each file in its own spelling (agent.json: camelCase).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "config/json_reader.h"
#include "config/types.h"

namespace ztna::config {

struct DirectPathKeys {
  std::string_view external_ip, port_mapping;
};
inline constexpr DirectPathKeys kCamelPathKeys{"externalIp", "portMapping"};
inline constexpr DirectPathKeys kSnakePathKeys{"external_ip", "port_mapping"};
/// What both ends have under "p2p".
void read_direct_paths(Section& p2p, const DirectPathKeys& keys, DirectPaths& out);

struct CommonKeys {
  std::string_view ca_cert, cert, key, metrics_port, metrics_bind, log_level, log_format, socket_buffer_bytes,
      state_dir, keylog_file;
  bool tun_offloads = false;  // tso and uso are known, too
};
inline constexpr CommonKeys kCamelKeys{"caCert",      "cert",       "key",       "metricsPort",
                                       "metricsBind", "logLevel",   "logFormat", "socketBufferBytes",
                                       "stateDir",    "keylogFile", true};
inline constexpr CommonKeys kSnakeKeys{"ca_cert",      "cert",       "key",        "metrics_port",
                                       "metrics_bind", "log_level",  "log_format", "socket_buffer_bytes",
                                       "state_dir",    "keylog_file"};
/// intermediate.json: cert_path and key_path are fixed names, so the CA follows them.
inline constexpr CommonKeys kPathKeys{"ca_cert_path", "cert_path",  "key_path",   "metrics_port",
                                      "metrics_bind", "log_level",  "log_format", "socket_buffer_bytes",
                                      "state_dir",    "keylog_file"};

inline constexpr std::uint64_t kMaxGrace = 24 * 3600;  // a day without revocation is already long

/// certs/{ca,cert,key}.pem in `directory`, and what depends on the program.
Common common_defaults(std::string_view directory, std::string_view program, std::uint16_t metrics_port);
void read_common(Section& top, const CommonKeys& keys, std::string_view directory, Common& out);

/// `path` joined to `directory`; absolute paths and an empty directory leave it as it is.
std::string join_path(std::string_view directory, std::string_view path);

/// {"host", "port"}, the first required.
std::optional<Server> read_server(const Value& value);
void read_server_list(const Value& value, std::vector<Server>& out);

/// Addresses or networks given as one string or an array, at most one of each family. `parser` as for Value::parse().
std::vector<IpAddress> read_addresses(const Value& value, Result<IpAddress> (*parser)(std::string_view));
std::vector<Prefix> read_pools(const Value& value);

inline Family family_of(const IpAddress& address) { return address.family(); }
inline Family family_of(const Prefix& prefix) { return prefix.base.family(); }
/// A problem when a flag that may be given once for each family is given twice for one.
template <typename T>
void refuse_same_family(std::string_view flag, const std::vector<T>& values, Problems& problems) {
  for (std::size_t i = 1; i < values.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (family_of(values[i]) != family_of(values[j])) continue;
      problems.push_back(fmt::format("{} {}: is a second one of its family; at most one IPv4 and one IPv6", flag,
                                     to_string(values[i])));
      return;
    }
  }
}

/// Sets `target` from an optional value; keeps it when there is none.
template <typename T>
void assign(T& target, const std::optional<T>& value) {
  if (value) target = *value;
}
template <typename T>
void assign(std::vector<T>& target, const std::vector<T>& value) {
  if (!value.empty()) target = value;
}

/// The part of apply() that all overrides share.
template <typename Overrides>
void apply_common(const Overrides& flags, Common& config) {
  assign(config.identity.ca_cert, flags.ca_cert);
  assign(config.identity.cert, flags.cert);
  assign(config.identity.key, flags.key);
  assign(config.log.level, flags.log_level);
  assign(config.log.format, flags.log_format);
  assign(config.metrics.port, flags.metrics_port);
  assign(config.metrics.bind, flags.metrics_bind);
  assign(config.state_dir, flags.state_dir);
  assign(config.keylog_file, flags.keylog_file);
}

/// Warnings of developer switches that all programs have.
void add_common_warnings(const Common& config, std::vector<std::string>& out);
inline constexpr std::string_view kNoVerifyWarning =
    "peer verification is off: anybody can pose as the peer; for development only";

}  // namespace ztna::config
