#include "apps/app-connector/settings.h"

namespace ztna::apps {
Result<std::vector<connector::ServiceDefinition>> service_definitions(const config::ConnectorConfig& config) {
  std::vector<connector::ServiceDefinition> out;
  for (const auto& service : config.services) {
    auto id = wire::ServiceId::parse(service.id);
    if (!id) return fail(Errc::invalid_argument, "service id {}: {}", service.id, id.error().text);
    connector::ServiceDefinition definition{*id, service.backend_host, service.backend_port, {}, service.service_ips};
    for (const auto& range : service.ports) {
      const auto transport =
          range.transport == config::Transport::tcp ? connector::Transport::tcp : connector::Transport::udp;
      definition.ports.push_back({transport, range.first, range.last});
    }
    out.push_back(std::move(definition));
  }
  return out;
}

connector::Limits connector_limits(const config::ConnectorConfig& config, std::size_t sockets) {
  connector::Limits limits;
  limits.tunnels = config.limits.tunnels;
  limits.udp_flows_per_agent = config.limits.udp_flows_per_agent;
  limits.tcp_connections_per_agent = config.limits.tcp_connections_per_agent;
  limits.tcp_connects_per_second = config.limits.tcp_connects_per_second;
  limits.sockets = sockets;
  return limits;
}

connector::DirectOptions direct_options(const config::ConnectorConfig& config, const UdpSockets& udp) {
  connector::DirectOptions options;
  options.enabled = config.p2p.enabled;
  options.birthday = config.p2p.birthday;
  options.local.port_v4 = udp.port();
  options.local.port_v6 = udp.has_v6() ? udp.port() : std::uint16_t{0};
  options.local.external = config.p2p.external_ips;
  return options;
}

}  // namespace ztna::apps
