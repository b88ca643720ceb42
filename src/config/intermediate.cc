#include "config/intermediate.h"

#include <algorithm>

#include "base/workers.h"
#include "config/common_fields.h"

namespace ztna::config {
namespace {

constexpr std::uint64_t kMaxLimit = 10'000'000;
constexpr std::uint64_t kMaxRelayRate = 1ULL << 40;
constexpr std::size_t kMaxBindAddrs = 32;

void read_bind(const Value& value, std::vector<IpAddress>& out) {
  std::vector<IpAddress> addresses;
  const auto values = value.one_or_many();
  if (value.json().is_array() && values.empty()) value.reject("is empty; leave it out for all addresses");
  if (values.size() > kMaxBindAddrs)
    value.reject(fmt::format("has {} entries; {} is the most", values.size(), kMaxBindAddrs));
  for (const auto& item : values) {
    const auto ip = item.parse(parse_bind_ip);
    if (!ip) continue;
    if (std::ranges::find(addresses, *ip) != addresses.end()) {
      item.reject("is given twice");
    } else {
      addresses.push_back(*ip);
    }
  }
  assign(out, addresses);
}

void read_limits(const Value& value, IntermediateLimits& out) {
  auto section = value.section();
  if (!section) return;
  const auto limit = [&](std::string_view key, std::uint32_t& target) {
    if (const auto v = section->get(key)) {
      if (const auto n = v->integer(1, kMaxLimit)) target = static_cast<std::uint32_t>(*n);
    }
  };
  limit("connections", out.connections);
  limit("handshakes_per_source", out.handshakes_per_source);
  limit("registrations_per_client", out.registrations_per_client);
  limit("routes_per_client", out.routes_per_client);
  if (const auto v = section->get("relay_bytes_per_second_per_route")) {
    assign(out.relay_bytes_per_second_per_route, v->integer(0, kMaxRelayRate, "bytes"));
  }
  section->done();
}

void read_switch(Section& top, std::string_view key, bool& out) {
  if (const auto v = top.get(key)) assign(out, v->boolean());
}

}  // namespace

IntermediateConfig::IntermediateConfig()
    : bind_addrs{IpAddress{}, *IpAddress::parse("::")},
      pools{Prefix{IpAddress::v4(0x0A640000), 24}, *Prefix::parse("fd5a:7a74:6e61::/64")} {}

IntermediateConfig default_intermediate(std::string_view directory) {
  IntermediateConfig config;
  static_cast<Common&>(config) = common_defaults(directory, "intermediate", 9090);
  return config;
}

Parsed<IntermediateConfig> parse_intermediate(std::string_view text, std::string_view file,
                                              std::string_view directory) {
  const auto json = parse_json(text, file);
  if (!json) return tl::unexpected{json.error()};
  Problems problems;
  Section top{problems, file, *json, ""};
  auto config = default_intermediate(directory);
  if (const auto v = top.get("port")) {
    if (const auto n = v->integer(1, 65535)) config.port = static_cast<std::uint16_t>(*n);
  }
  if (const auto v = top.get("probe_port")) {
    if (const auto n = v->integer(0, 65535)) config.probe_port = static_cast<std::uint16_t>(*n);
  }
  if (const auto v = top.get("bind_addr")) read_bind(*v, config.bind_addrs);
  if (const auto v = top.get("external_ip")) config.external_ips = read_addresses(*v, parse_virtual_ip);
  read_switch(top, "verify_peer", config.verify_peer);
  read_switch(top, "require_client_cert", config.require_client_cert);
  read_switch(top, "disable_retry", config.disable_retry);
  if (const auto v = top.get("workers")) {
    if (const auto n = v->integer(0, kMaxWorkers)) config.workers = static_cast<unsigned>(*n);
  }
  if (const auto v = top.get("pools")) assign(config.pools, read_pools(*v));
  if (const auto v = top.get("limits")) read_limits(*v, config.limits);
  read_common(top, kPathKeys, directory, config);
  // The admin API is not built yet; 0, its "off", is no lie.
  if (const auto v = top.get("admin_port"); v && v->json() != 0) {
    v->reject("the admin port is not in this release; leave it out or set it to 0");
  }
  top.done();
  if (!problems.empty()) return tl::unexpected{std::move(problems)};
  return config;
}

Problems apply(const IntermediateOverrides& flags, IntermediateConfig& config) {
  Problems problems;
  apply_common(flags, config);
  assign(config.port, flags.port);
  if (flags.probe_port) config.probe_port = flags.probe_port;
  assign(config.bind_addrs, flags.bind_addrs);
  refuse_same_family("--external-ip", flags.external_ips, problems);
  assign(config.external_ips, flags.external_ips);
  assign(config.verify_peer, flags.verify_peer);
  assign(config.require_client_cert, flags.require_client_cert);
  assign(config.disable_retry, flags.disable_retry);
  assign(config.workers, flags.workers);
  return problems;
}

Problems finish(const IntermediateConfig& config) {
  if (config.probe_port != config.port) return {};
  return {fmt::format("probe_port {}: is the port itself; choose another, or 0 for none", config.port)};
}

std::vector<std::string> warnings(const IntermediateConfig& config) {
  std::vector<std::string> lines;
  if (!config.verify_peer) lines.emplace_back(kNoVerifyWarning);
  if (!config.require_client_cert) {
    lines.emplace_back(
        "client certificates are not required: clients without one complete the handshake, though nothing is open to "
        "them; for development only");
  }
  if (config.disable_retry) lines.emplace_back("Retry is off: source addresses are not validated before handshakes");
  add_common_warnings(config, lines);
  return lines;
}

}  // namespace ztna::config
