#include "config/agent.h"

#include <algorithm>

#include "config/common_fields.h"

namespace ztna::config {
namespace {

constexpr std::uint64_t kMaxMtu = 65'535;                // docs/protocol.md 4.1: what parts can join to
constexpr std::uint64_t kMaxAutoStop = 366 * 24 * 3600;  // a year; more is a slip

std::vector<Prefix> default_routes() {
  return {Prefix{IpAddress::v4(0x0A640000), 24}, *Prefix::parse("fd5a:7a74:6e61::/64")};
}

void read_servers(Section& top, AgentConfig& out) {
  Server first;
  const auto host = top.get("serverHost");
  const auto port = top.get("serverPort");
  if (port) {
    if (const auto n = port->integer(1, 65535)) first.port = static_cast<std::uint16_t>(*n);
    if (!host) port->reject("needs \"serverHost\" beside it");
  }
  if (host) {
    if (const auto parsed = host->parse(parse_lone_host)) {
      first.host = *parsed;
      out.servers.push_back(first);
    }
  }
  if (const auto list = top.get("servers")) read_server_list(*list, out.servers);
}

void read_service(const Value& value, std::vector<AgentService>& out) {
  auto section = value.section();
  if (!section) return;
  AgentService service;
  const auto id = section->get("id");
  if (!id) section->reject("needs \"id\": the service's id");
  const auto name = id ? id->parse(parse_service_id) : std::nullopt;
  if (const auto v = section->get("virtualIp")) service.virtual_ips = read_addresses(*v, parse_virtual_ip);
  section->done();
  if (!name) return;
  if (std::ranges::any_of(out, [&](const AgentService& s) { return s.id == *name; })) {
    id->reject("is a service id that stands in the list already");
    return;
  }
  service.id = *name;
  out.push_back(std::move(service));
}

void read_services(Section& top, AgentConfig& out) {
  const auto list = top.get("services");
  if (list) {
    for (const auto& item : list->items()) read_service(item, out.services);
  }
  const auto one = top.get("serviceId");
  if (!one) return;
  if (one->json() == "*") {
    if (list && !list->json().empty()) one->reject("means all services; leave \"services\" out, or this");
    return;
  }
  const auto id = one->parse(parse_service_id);
  if (!id) return;
  const auto known = std::ranges::find(out.services, *id, &AgentService::id);
  if (known == out.services.end()) {
    out.services.insert(out.services.begin(), AgentService{*id, {}});
  } else {
    std::rotate(out.services.begin(), known, known + 1);
  }
}

void read_tun(Section& top, AgentConfig& out) {
  if (const auto v = top.get("tunName")) assign(out.tun_name, v->parse(parse_tun_name));
  if (const auto v = top.get("routes")) assign(out.routes, read_pools(*v));
  if (const auto v = top.get("mtu")) {
    if (const auto n = v->integer(kDefaultMtu, kMaxMtu, "bytes")) out.mtu = static_cast<unsigned>(*n);
  }
}

}  // namespace

AgentConfig::AgentConfig() : routes(default_routes()) {}

std::vector<Prefix> AgentConfig::tunnel_routes() const {
  auto all = routes;
  for (const auto& service : services) {
    for (const auto& ip : service.virtual_ips) {
      const bool covered = std::ranges::any_of(all, [&](const Prefix& route) { return route.contains(ip); });
      if (!covered) all.push_back(Prefix{ip, ip.is_v4() ? 32U : 128U});
    }
  }
  return all;
}

AgentConfig default_agent(std::string_view directory) {
  AgentConfig config;
  static_cast<Common&>(config) = common_defaults(directory, "agent", 0);
  return config;
}

Parsed<AgentConfig> parse_agent(std::string_view text, std::string_view file, std::string_view directory) {
  const auto json = parse_json(text, file);
  if (!json) return tl::unexpected{json.error()};
  Problems problems;
  Section top{problems, file, *json, ""};
  auto config = default_agent(directory);
  read_servers(top, config);
  read_services(top, config);
  read_tun(top, config);
  if (const auto v = top.get("p2p")) {
    if (auto section = v->section()) {
      read_direct_paths(*section, kCamelPathKeys, config.p2p);
      section->done();
    }
  }
  if (const auto v = top.get("controlSocket")) assign(config.control_socket, v->file_path(directory));
  if (const auto v = top.get("offlineGrace")) {
    if (const auto n = v->integer(0, kMaxGrace, "seconds")) config.offline_grace = std::chrono::seconds{*n};
  }
  if (const auto v = top.get("autoStop")) {
    if (const auto n = v->integer(0, kMaxAutoStop, "seconds")) config.auto_stop = std::chrono::seconds{*n};
  }
  read_common(top, kCamelKeys, directory, config);
  top.done();
  if (!problems.empty()) return tl::unexpected{std::move(problems)};
  return config;
}

Problems apply(const AgentOverrides& flags, AgentConfig& config) {
  Problems problems;
  apply_common(flags, config);
  assign(config.servers, flags.servers);
  refuse_same_family("--route", flags.routes, problems);
  assign(config.routes, flags.routes);
  assign(config.tun_name, flags.tun_name);
  assign(config.mtu, flags.mtu);
  assign(config.control_socket, flags.control_socket);
  assign(config.auto_stop, flags.auto_stop);
  assign(config.p2p.birthday, flags.birthday);
  if (flags.services.empty()) return problems;
  std::vector<AgentService> chosen;
  for (const auto& id : flags.services) {
    if (id == "*") {
      chosen.clear();
      break;
    }
    if (std::ranges::find(chosen, id, &AgentService::id) != chosen.end()) continue;
    const auto defined = std::ranges::find(config.services, id, &AgentService::id);
    chosen.push_back(defined == config.services.end() ? AgentService{id, {}} : *defined);
  }
  config.services = std::move(chosen);
  return problems;
}

Problems finish(const AgentConfig& config) {
  Problems problems;
  if (config.servers.empty()) {
    problems.emplace_back("no server is named; set \"serverHost\" in the config file or give --server HOST[:PORT]");
  }
  for (auto service = config.services.begin(); service != config.services.end(); ++service) {
    for (const auto& ip : service->virtual_ips) {
      const auto shown = fmt::format("service {}: virtualIp {}", service->id, to_string(ip));
      for (const auto& route : config.routes) {
        if (ip.family() != route.base.family()) continue;
        if (ip == tun_address(route) || ip == reentry_address(route)) {
          problems.push_back(
              fmt::format("{} is one of the Agent's own two addresses in {}; choose another", shown, to_string(route)));
        }
      }
      for (auto other = config.services.begin(); other != service; ++other) {
        if (std::ranges::find(other->virtual_ips, ip) != other->virtual_ips.end()) {
          problems.push_back(fmt::format("{} is that of service {}, too; choose another", shown, other->id));
        }
      }
    }
  }
  return problems;
}

std::vector<std::string> warnings(const AgentConfig& config) {
  std::vector<std::string> lines;
  add_common_warnings(config, lines);
  return lines;
}

}  // namespace ztna::config
