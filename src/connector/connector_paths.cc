// Connector: what its direct paths need to know of tunnels and routes, and what the relay needs to know of us.
#include <algorithm>
#include <utility>

#include "connector/connector.h"

namespace ztna::connector {

quic::Connection* Connector::established_connection(const wire::TunnelId& id) {
  auto* tunnel = find(id);
  return tunnel != nullptr && tunnel->established() ? tunnel->connection() : nullptr;
}

bool Connector::has_route(const wire::TunnelId& id, std::size_t upstream) {
  const auto* tunnel = find(id);
  if (tunnel == nullptr) return false;
  const auto routes = routes_->of(id);
  return std::ranges::any_of(
      routes, [&](const Route& route) { return route.upstream == upstream && route.agent == tunnel->agent(); });
}

void Connector::send_to(std::size_t upstream, const wire::ControlMessage& message) {
  (void)upstreams_[upstream]->control().send(message);
}

void Connector::send_by_routes(const wire::TunnelId& id, const wire::ControlMessage& message) {
  std::vector<std::size_t> told;
  for (const auto& route : routes_->of(id)) {
    if (std::ranges::find(told, route.upstream) != told.end()) continue;
    told.push_back(route.upstream);
    send_to(route.upstream, message);
  }
}

/// What was sent may wait, and what has come may be all that comes. Without traffic nothing wakes us.
void Connector::plan_looks() {
  if (const auto rows = hub_->rows(); rows == std::exchange(rows_then_, rows)) return;
  direct_->flushed();
  if (!tunnels_.empty()) look_for_doubts_at_ = std::min(look_for_doubts_at_, now_ + kLookForDoubts);
}

/// Whether a tunnel leaves its path is the Agent's business. Our NAT may have rebound, and that is ours: any tunnel's
/// silence may show it, and all Intermediates have to see us.
void Connector::look_for_doubts() {
  look_for_doubts_at_ = kNever;
  bool doubtful = false;
  auto next = kNever;
  for (const auto& [id, tunnel] : tunnels_) {
    doubtful = tunnel->take_doubt() || doubtful;
    next = std::min(next, tunnel->doubtful_from());
  }
  if (next != kNever) look_for_doubts_at_ = std::max(next, now_ + kBetweenLooks);
  if (!doubtful) return;
  for (const auto& upstream : upstreams_) upstream->control().be_seen();
}

}  // namespace ztna::connector
