#include "config/common_fields.h"

#include <algorithm>

namespace ztna::config {
namespace {

constexpr std::uint64_t kMinSocketBuffer = 64U << 10;
constexpr std::uint64_t kMaxSocketBuffer = 1U << 30;

void read_offloads(const Value& value, bool tun, Offloads& out) {
  auto section = value.section();
  if (!section) return;
  const auto flag = [&](std::string_view key, bool& target) {
    if (const auto v = section->get(key)) assign(target, v->boolean());
  };
  flag("gso", out.gso);
  flag("gro", out.gro);
  if (tun) {
    flag("tso", out.tso);
    flag("uso", out.uso);
  }
  section->done();
}

template <typename T, typename Parser, typename SameKind>
std::vector<T> read_one_each(const Value& value, Parser parser, SameKind same_kind, std::string_view what) {
  std::vector<T> out;
  const auto values = value.one_or_many();
  if (value.json().is_array() && values.empty()) value.reject("is empty; leave it out for the default");
  for (const auto& item : values) {
    const auto parsed = item.parse(parser);
    if (!parsed) continue;
    if (std::ranges::any_of(out, [&](const T& other) { return same_kind(other, *parsed); })) {
      item.reject(fmt::format("is a second {} of its family; at most one IPv4 and one IPv6", what));
      continue;
    }
    out.push_back(*parsed);
  }
  return out;
}

}  // namespace

std::string join_path(std::string_view directory, std::string_view path) {
  if (directory.empty() || path.starts_with('/')) return std::string{path};
  return fmt::format("{}{}{}", directory, directory.ends_with('/') ? "" : "/", path);
}

Common common_defaults(std::string_view directory, std::string_view program, std::uint16_t metrics_port) {
  Common common;
  common.identity.ca_cert = join_path(directory, "certs/ca.pem");
  common.identity.cert = join_path(directory, "certs/cert.pem");
  common.identity.key = join_path(directory, "certs/key.pem");
  common.metrics.port = metrics_port;
  common.state_dir = fmt::format("/var/lib/ztna/{}", program);
  return common;
}

void read_direct_paths(Section& p2p, const DirectPathKeys& keys, DirectPaths& out) {
  if (const auto v = p2p.get("enabled")) assign(out.enabled, v->boolean());
  if (const auto v = p2p.get("port")) {
    if (const auto n = v->integer(0, 65535)) out.port = static_cast<std::uint16_t>(*n);
  }
  if (const auto v = p2p.get(keys.external_ip)) out.external_ips = read_addresses(*v, parse_virtual_ip);
  if (const auto v = p2p.get(keys.port_mapping)) assign(out.port_mapping, v->boolean());
  if (const auto v = p2p.get("birthday")) assign(out.birthday, v->boolean());
}

void read_common(Section& top, const CommonKeys& keys, std::string_view directory, Common& out) {
  const auto path = [&](std::string_view key, std::string& target) {
    if (const auto v = top.get(key)) assign(target, v->file_path(directory));
  };
  path(keys.ca_cert, out.identity.ca_cert);
  path(keys.cert, out.identity.cert);
  path(keys.key, out.identity.key);
  if (const auto v = top.get(keys.metrics_port)) {
    if (const auto port = v->integer(0, 65535)) out.metrics.port = static_cast<std::uint16_t>(*port);
  }
  if (const auto v = top.get(keys.metrics_bind)) assign(out.metrics.bind, v->parse(parse_ip));
  if (const auto v = top.get(keys.log_level)) assign(out.log.level, v->parse(parse_log_level));
  if (const auto v = top.get(keys.log_format)) assign(out.log.format, v->parse(parse_log_format));
  if (const auto v = top.get("offloads")) read_offloads(*v, keys.tun_offloads, out.offloads);
  if (const auto v = top.get(keys.socket_buffer_bytes)) {
    if (const auto n = v->integer(kMinSocketBuffer, kMaxSocketBuffer, "bytes")) {
      out.socket_buffer_bytes = static_cast<std::uint32_t>(*n);
    }
  }
  path(keys.state_dir, out.state_dir);
  path(keys.keylog_file, out.keylog_file);
}

std::optional<Server> read_server(const Value& value) {
  auto section = value.section();
  if (!section) return std::nullopt;
  Server server;
  bool good = true;
  if (const auto host = section->get("host")) {
    const auto parsed = host->parse(parse_lone_host);
    good = parsed.has_value();
    assign(server.host, parsed);
  } else {
    section->reject("needs \"host\": a name or an address");
    good = false;
  }
  if (const auto port = section->get("port")) {
    const auto n = port->integer(1, 65535);
    good = good && n;
    if (n) server.port = static_cast<std::uint16_t>(*n);
  }
  section->done();
  return good ? std::optional{server} : std::nullopt;
}

void read_server_list(const Value& value, std::vector<Server>& out) {
  const auto items = value.items();
  if (value.json().is_array() && items.empty()) value.reject("is empty; name a server or leave it out");
  for (const auto& item : items) {
    const auto server = read_server(item);
    if (!server) continue;
    if (std::ranges::find(out, *server) != out.end()) {
      item.reject(fmt::format("names {} a second time", to_string(*server)));
    } else {
      out.push_back(*server);
    }
  }
}

std::vector<IpAddress> read_addresses(const Value& value, Result<IpAddress> (*parser)(std::string_view)) {
  return read_one_each<IpAddress>(
      value, parser, [](const IpAddress& a, const IpAddress& b) { return a.family() == b.family(); }, "address");
}

std::vector<Prefix> read_pools(const Value& value) {
  return read_one_each<Prefix>(
      value, parse_pool, [](const Prefix& a, const Prefix& b) { return a.base.family() == b.base.family(); },
      "network");
}

void add_common_warnings(const Common& config, std::vector<std::string>& out) {
  if (!config.keylog_file.empty()) {
    out.push_back(
        fmt::format("TLS secrets are written to {}: whoever reads it can read the traffic; for development only",
                    config.keylog_file));
  }
}

}  // namespace ztna::config
