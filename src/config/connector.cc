#include "config/connector.h"

#include <algorithm>

#include "config/common_fields.h"

namespace ztna::config {
namespace {

constexpr std::uint64_t kMaxLimit = 1'000'000;
constexpr std::size_t kMaxPortRanges = 64;

bool carries(Protocol protocol, Transport transport) {
  return protocol == Protocol::any || protocol == (transport == Transport::tcp ? Protocol::tcp : Protocol::udp);
}

/// What users dial when one port is served.
std::vector<PortRange> one_port(Protocol protocol, std::uint16_t port) {
  std::vector<PortRange> ranges;
  for (const auto transport : {Transport::tcp, Transport::udp}) {
    if (carries(protocol, transport)) ranges.push_back({transport, port, port});
  }
  return ranges;
}

void read_ports(const Value& value, ConnectorService& out) {
  const auto items = value.items();
  if (value.json().is_array() && items.empty()) value.reject("is empty; name at least one port");
  if (items.size() > kMaxPortRanges)
    value.reject(fmt::format("has {} entries; {} is the most", items.size(), kMaxPortRanges));
  for (const auto& item : items) {
    const auto range = item.parse(parse_port_range);
    if (!range) continue;
    if (!carries(out.protocol, range->transport)) {
      item.reject(fmt::format("is not of the service's protocol, {}", to_string(out.protocol)));
    } else if (std::ranges::find(out.ports, *range) != out.ports.end()) {
      item.reject("is given twice");
    } else {
      out.ports.push_back(*range);
    }
  }
}

/// Backend, port and ports: docs/config.md. `backend` is "host:port", or "host" with `ports`.
void read_reach(Section& section, ConnectorService& out) {
  const auto backend = section.get("backend");
  const auto port = section.get("port");
  const auto ports = section.get("ports");
  const bool needs_ports = out.protocol != Protocol::icmp;
  if (!backend) section.reject("needs \"backend\": host:port, or a host with \"ports\" beside it");
  const auto target = backend ? backend->parse(parse_host_and_port) : std::nullopt;
  if (target) {
    out.backend_host = target->host;
    out.backend_port = target->port.value_or(0);
    if (!target->port && !ports && needs_ports) backend->reject("needs host:port, or \"ports\" beside it");
    if (target->port && ports) backend->reject("has a port already; drop it or \"ports\"");
  }
  if (ports) {
    if (!needs_ports) {
      ports->reject("has no meaning with protocol icmp; leave it out");
    } else {
      read_ports(*ports, out);
    }
    if (port) port->reject("cannot stand beside \"ports\"; keep one of them");
    return;
  }
  auto dialled = out.backend_port;
  if (port) {
    if (const auto n = port->integer(1, 65535)) dialled = static_cast<std::uint16_t>(*n);
    if (!needs_ports) port->reject("has no meaning with protocol icmp; leave it out");
  }
  if (needs_ports) out.ports = one_port(out.protocol, dialled);
}

void read_service(const Value& value, std::vector<ConnectorService>& out) {
  auto section = value.section();
  if (!section) return;
  ConnectorService service;
  const auto id = section->get("id");
  if (!id) section->reject("needs \"id\": the service's id");
  const auto name = id ? id->parse(parse_service_id) : std::nullopt;
  if (const auto v = section->get("protocol")) assign(service.protocol, v->parse(parse_protocol));
  read_reach(*section, service);
  if (const auto v = section->get("service_ip")) {
    service.service_ips = read_addresses(*v, parse_virtual_ip);
    for (const auto& ip : service.service_ips) {
      for (const auto& other : out) {
        if (std::ranges::find(other.service_ips, ip) == other.service_ips.end()) continue;
        v->reject(fmt::format("{} is that of service {}, too; choose another", to_string(ip), other.id));
      }
    }
  }
  section->not_in_release("health");
  section->done();
  if (!name) return;
  if (std::ranges::find(out, *name, &ConnectorService::id) != out.end()) {
    id->reject("is a service id that stands in the list already");
    return;
  }
  service.id = *name;
  out.push_back(std::move(service));
}

void read_p2p(const Value& value, std::string_view directory, P2pSettings& out) {
  auto section = value.section();
  if (!section) return;
  const auto cert = section->get("cert");
  const auto key = section->get("key");
  if (cert) assign(out.cert, cert->file_path(directory));
  if (key) assign(out.key, key->file_path(directory));
  if (cert && !key) cert->reject("needs \"key\" beside it");
  if (key && !cert) key->reject("needs \"cert\" beside it");
  read_direct_paths(*section, kSnakePathKeys, out);
  section->done();
}

void read_limits(const Value& value, ConnectorLimits& out) {
  auto section = value.section();
  if (!section) return;
  const auto limit = [&](std::string_view key, std::uint32_t& target) {
    if (const auto v = section->get(key)) {
      if (const auto n = v->integer(1, kMaxLimit)) target = static_cast<std::uint32_t>(*n);
    }
  };
  limit("tunnels", out.tunnels);
  limit("udp_flows_per_agent", out.udp_flows_per_agent);
  limit("tcp_connections_per_agent", out.tcp_connections_per_agent);
  limit("tcp_connects_per_second", out.tcp_connects_per_second);
  section->done();
}

ConnectorService default_service() {
  return {"default", Protocol::any, "127.0.0.1", 8080, one_port(Protocol::any, 8080), {}};
}

}  // namespace

ConnectorConfig::ConnectorConfig() : servers{{"127.0.0.1", kDefaultServerPort}}, services{default_service()} {}

std::optional<std::uint16_t> ConnectorService::backend_port_for(Transport transport, std::uint16_t dialled) const {
  for (const auto& range : ports) {
    if (range.contains(transport, dialled)) return backend_port == 0 ? dialled : backend_port;
  }
  return std::nullopt;
}

IdentityFiles ConnectorConfig::p2p_identity() const {
  if (p2p.cert.empty()) return identity;
  return {identity.ca_cert, p2p.cert, p2p.key};
}

ConnectorConfig default_connector(std::string_view directory) {
  ConnectorConfig config;
  static_cast<Common&>(config) = common_defaults(directory, "connector", 9091);
  return config;
}

Parsed<ConnectorConfig> parse_connector(std::string_view text, std::string_view file, std::string_view directory) {
  const auto json = parse_json(text, file);
  if (!json) return tl::unexpected{json.error()};
  Problems problems;
  Section top{problems, file, *json, ""};
  auto config = default_connector(directory);
  std::vector<Server> servers;
  if (const auto v = top.get("intermediate_server")) {
    if (const auto server = read_server(*v)) servers.push_back(*server);
  }
  if (const auto v = top.get("intermediate_servers")) read_server_list(*v, servers);
  assign(config.servers, servers);
  if (const auto v = top.get("services")) {
    const auto items = v->items();
    if (v->json().is_array() && items.empty()) v->reject("is empty; name at least one service");
    config.services.clear();
    for (const auto& item : items) read_service(item, config.services);
  }
  if (const auto v = top.get("p2p")) read_p2p(*v, directory, config.p2p);
  if (const auto v = top.get("verify_peer")) assign(config.verify_peer, v->boolean());
  if (const auto v = top.get("offline_grace")) {
    if (const auto n = v->integer(0, kMaxGrace, "seconds")) config.offline_grace = std::chrono::seconds{*n};
  }
  if (const auto v = top.get("limits")) read_limits(*v, config.limits);
  read_common(top, kSnakeKeys, directory, config);
  top.done();
  if (!problems.empty()) return tl::unexpected{std::move(problems)};
  return config;
}

namespace {

/// --service, --forward and --service-ip onto the list of services.
void apply_services(const ConnectorOverrides& flags, ConnectorConfig& config, Problems& problems) {
  if (!flags.services.empty()) {
    std::vector<ConnectorService> chosen;
    for (const auto& id : flags.services) {
      if (std::ranges::find(chosen, id, &ConnectorService::id) != chosen.end()) {
        problems.push_back(fmt::format("--service {}: is given twice", id));
        return;
      }
      const auto defined = std::ranges::find(config.services, id, &ConnectorService::id);
      chosen.push_back(defined == config.services.end() ? default_service() : *defined);
      chosen.back().id = id;
    }
    config.services = std::move(chosen);
  }
  auto& services = config.services;
  const auto count = services.size();
  if (!flags.forwards.empty()) {
    if (flags.services.empty() && count > 1) {
      problems.push_back(fmt::format("--forward: the config file has {} services; say which with --service ID", count));
      return;
    }
    if (flags.forwards.size() != 1 && flags.forwards.size() != count) {
      problems.push_back(
          fmt::format("--forward: {} backends for {} services; give one for each --service, or one for all",
                      flags.forwards.size(), count));
      return;
    }
    for (std::size_t i = 0; i < count; ++i) {
      const auto& text = flags.forwards[flags.forwards.size() == 1 ? 0 : i];
      const auto target = parse_host_and_port(text);
      if (!target || !target->port) {
        problems.push_back(fmt::format("--forward {}: {}", text, target ? "needs host:port" : target.error().text));
        return;
      }
      auto& service = services[i];
      service.backend_host = target->host;
      service.backend_port = *target->port;
      service.ports = one_port(service.protocol, *target->port);
    }
  }
  if (flags.service_ips.empty()) return;
  if (count == 1) {
    if (flags.service_ips.size() > 2 ||
        (flags.service_ips.size() == 2 && flags.service_ips[0].family() == flags.service_ips[1].family())) {
      problems.emplace_back("--service-ip: a service has at most one IPv4 and one IPv6 address");
      return;
    }
    services[0].service_ips = flags.service_ips;
  } else if (flags.service_ips.size() == count && !flags.services.empty()) {
    for (std::size_t i = 0; i < count; ++i) services[i].service_ips = {flags.service_ips[i]};
  } else {
    problems.push_back(fmt::format("--service-ip: {} addresses for {} services; give one for each --service",
                                   flags.service_ips.size(), count));
  }
}

}  // namespace

Problems apply(const ConnectorOverrides& flags, ConnectorConfig& config) {
  Problems problems;
  apply_common(flags, config);
  assign(config.servers, flags.servers);
  assign(config.verify_peer, flags.verify_peer);
  assign(config.p2p.port, flags.p2p_port);
  assign(config.p2p.birthday, flags.birthday);
  if (flags.p2p_cert.has_value() != flags.p2p_key.has_value()) {
    problems.emplace_back(flags.p2p_cert ? "--p2p-cert: needs --p2p-key beside it"
                                         : "--p2p-key: needs --p2p-cert beside it");
  }
  assign(config.p2p.cert, flags.p2p_cert);
  assign(config.p2p.key, flags.p2p_key);
  refuse_same_family("--external-ip", flags.external_ips, problems);
  assign(config.p2p.external_ips, flags.external_ips);
  apply_services(flags, config, problems);
  return problems;
}

Problems finish(const ConnectorConfig& config) {
  Problems problems;
  for (auto service = config.services.begin(); service != config.services.end(); ++service) {
    for (auto other = config.services.begin(); other != service; ++other) {
      for (const auto& ip : service->service_ips) {
        if (std::ranges::find(other->service_ips, ip) == other->service_ips.end()) continue;
        problems.push_back(fmt::format("service {}: service_ip {} is that of service {}, too; choose another",
                                       service->id, to_string(ip), other->id));
      }
    }
  }
  return problems;
}

std::vector<std::string> warnings(const ConnectorConfig& config) {
  std::vector<std::string> lines;
  if (!config.verify_peer) lines.emplace_back(kNoVerifyWarning);
  add_common_warnings(config, lines);
  return lines;
}

}  // namespace ztna::config
