#include "apps/app-connector/settings.h"

#include <sys/resource.h>

#include <algorithm>

namespace ztna::apps {
namespace {

constexpr std::size_t kOwnDescriptors = 128;       // loop, timers, listening, HTTP, files
constexpr std::size_t kMaxDescriptors = 1U << 20;  // where there is no limit

}  // namespace

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

std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024 - kOwnDescriptors;
  if (limit.rlim_cur < limit.rlim_max) {
    auto raised = limit;
    raised.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  const auto count = std::min<std::size_t>(limit.rlim_cur, kMaxDescriptors);
  return count > 2 * kOwnDescriptors ? count - kOwnDescriptors : count / 2;
}

}  // namespace ztna::apps
