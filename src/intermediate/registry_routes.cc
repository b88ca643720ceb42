// Routes: who may talk to whom over the relay.
#include <algorithm>

#include "base/log.h"
#include "intermediate/registry.h"

namespace ztna::intermediate {
namespace {

wire::Role wire_role(identity::Role role) {
  return role == identity::Role::agent ? wire::Role::agent : wire::Role::connector;
}

}  // namespace

void Registry::refuse_route(const Client& client, const wire::TunnelId& tunnel, wire::RouteCloseReason reason,
                            Rejection why, Actions& out) {
  counters_.rejections.add(why);
  log::info("route refused", {{"client", client.identity.text()}, {"why", wire::to_string(reason)}});
  out.deliveries.push_back({*client.session, wire::RouteClosed{tunnel, reason}});
}

Result<void> Registry::on(Client& client, const wire::RouteRequest& m, Actions& out) {
  if (client.identity.role != identity::Role::agent) return fail(Errc::denied, "only Agents ask for routes");
  const auto service = wire::ServiceId::parse(m.service);
  if (!service) {
    refuse_route(client, m.tunnel, wire::RouteCloseReason::no_such_service, Rejection::bad_service_id, out);
    return {};
  }
  if (!client.identity.permits(*service)) {
    refuse_route(client, m.tunnel, wire::RouteCloseReason::not_permitted, Rejection::not_permitted, out);
    return {};
  }
  const auto existing = open_.find(m.tunnel);
  if (existing != open_.end() && existing->second.agent != client.name) {
    refuse_route(client, m.tunnel, wire::RouteCloseReason::unknown_tunnel, Rejection::not_yours, out);
    return {};
  }
  if (existing == open_.end() && client.tunnels.size() >= limits_.routes_per_agent) {
    refuse_route(client, m.tunnel, wire::RouteCloseReason::limit, Rejection::limit, out);
    return {};
  }
  // A tunnel's state is at the Connector that it was opened with.
  std::string holder = m.connector;
  if (holder.empty() && existing != open_.end()) holder = clients_.at(existing->second.connector).identity.name;
  bool full = false;
  auto* connector = choose_connector(*service, holder, client, m.tunnel, full);
  if (!holder.empty() && may_come_back(holder) && (connector == nullptr || connector->identity.name != holder)) {
    refuse_route(client, m.tunnel, wire::RouteCloseReason::peer_gone, Rejection::no_such_service, out);
    return {};
  }
  if (connector == nullptr && full) {
    refuse_route(client, m.tunnel, wire::RouteCloseReason::limit, Rejection::limit, out);
    return {};
  }
  if (connector == nullptr) {
    refuse_route(client, m.tunnel, wire::RouteCloseReason::no_such_service, Rejection::no_such_service, out);
    return {};
  }
  std::optional<wire::PathReport> path;
  if (existing != open_.end()) {
    // Who stays on the tunnel hears only of its new route; another Connector begins another tunnel.
    if (existing->second.connector == connector->name) path = existing->second.path;
    close_route(m.tunnel, wire::RouteCloseReason::asked_for, {&client, connector}, out);
  }
  if (!open_route(m.tunnel, client, *connector, *service, out)) {
    refuse_route(client, m.tunnel, wire::RouteCloseReason::limit, Rejection::limit, out);
  } else {
    set_path(open_.at(m.tunnel), path);
  }
  return {};
}

Result<void> Registry::on(Client& client, const wire::RouteClosed& m, Actions& out) {
  const auto found = open_.find(m.tunnel);
  if (found == open_.end()) return {};  // both sides closed it at once
  if (found->second.agent != client.name && found->second.connector != client.name) {
    counters_.rejections.add(Rejection::not_yours);
    return {};
  }
  close_route(m.tunnel, wire::RouteCloseReason::asked_for, {&client}, out);
  return {};
}

/// Not attached, but perhaps about to be: we have just started, or it was here a moment ago.
bool Registry::may_come_back(const std::string& connector) const {
  if (now_ - started_ < kRestartGrace) return true;
  return std::ranges::any_of(clients_, [&](const auto& entry) {
    const auto& c = entry.second;
    return c.identity.role == identity::Role::connector && c.identity.name == connector && !c.session;
  });
}

Registry::Client* Registry::choose_connector(const wire::ServiceId& service, const std::string& preferred,
                                             const Client& agent, const wire::TunnelId& tunnel, bool& full) {
  const auto offered = offered_by_.find(service);
  if (offered == offered_by_.end()) return nullptr;
  std::map<std::string_view, std::size_t> of_agent;  // its routes by Connector
  for (const auto& other : agent.tunnels) {
    if (other != tunnel) ++of_agent[open_.at(other).connector];
  }
  Client* best = nullptr;
  for (const auto& name : offered->second) {
    auto& candidate = clients_.at(name);
    if (!candidate.session || candidate.lost.contains(service)) continue;
    const auto routes = candidate.tunnels.size() - (candidate.tunnels.contains(tunnel) ? 1 : 0);
    const auto shared = of_agent.find(name);
    if (routes >= limits_.routes_per_connector ||
        (shared != of_agent.end() && shared->second >= limits_.routes_per_pair)) {
      full = true;
      continue;
    }
    if (candidate.identity.name == preferred) return &candidate;
    if (best == nullptr || candidate.tunnels.size() < best->tunnels.size()) best = &candidate;
  }
  return best;
}

/// The first octet is the worker that the owner's packets reach, so that the kernel can steer by it
/// (docs/architecture.md).
wire::RouteId Registry::new_route_id(const Client& owner) {
  const std::uint64_t random = random_.u64() & 0x00FF'FFFF'FFFF'FFFFULL;
  return wire::RouteId{static_cast<std::uint64_t>(owner.session->worker) << 56U | random};
}

bool Registry::open_route(const wire::TunnelId& tunnel, Client& agent, Client& connector,
                          const wire::ServiceId& service, Actions& out) {
  const auto agent_end = new_route_id(agent);
  const auto connector_end = new_route_id(connector);
  if (!routes_.open(agent_end, agent.path, connector_end, connector.path)) return false;  // 2^-56: taken
  open_.emplace(tunnel, Route{agent.name, connector.name, service, agent_end, connector_end, std::nullopt});
  agent.tunnels.insert(tunnel);
  connector.tunnels.insert(tunnel);
  counters_.routes_opened.add();
  const auto opened = [&](wire::RouteId id, const Client& peer) {
    return wire::RouteOpened{tunnel, id, wire_role(peer.identity.role), peer.instance, peer.identity.name, service};
  };
  // The Connector first: the Agent's first packet must find it ready.
  out.deliveries.push_back({*connector.session, opened(connector_end, agent)});
  out.deliveries.push_back({*agent.session, opened(agent_end, connector)});
  log::info("route opened", {{"agent", agent.identity.name},
                             {"connector", connector.identity.name},
                             {"service", service.str()},
                             {"tunnel", to_string(tunnel)}});
  return true;
}

void Registry::close_route(const wire::TunnelId& tunnel, wire::RouteCloseReason why,
                           std::initializer_list<const Client*> except, Actions& out) {
  const auto found = open_.find(tunnel);
  if (found == open_.end()) return;
  set_path(found->second, std::nullopt);
  const Route route = found->second;
  open_.erase(found);
  if (const auto agent = clients_.find(route.agent); agent != clients_.end() && agent->second.session) {
    signaling_.route_closed(*agent->second.session, tunnel, out);
  }
  routes_.close(route.agent_end);
  for (const auto& name : {route.agent, route.connector}) {
    const auto side = clients_.find(name);
    if (side == clients_.end()) continue;
    side->second.tunnels.erase(tunnel);
    if (side->second.session && std::ranges::find(except, &side->second) == except.end()) {
      out.deliveries.push_back({*side->second.session, wire::RouteClosed{tunnel, why}});
    }
  }
}

void Registry::close_routes_of(Client& client, wire::RouteCloseReason why, Actions& out) {
  for (const auto tunnels = client.tunnels; const auto& tunnel : tunnels) close_route(tunnel, why, {&client}, out);
}

}  // namespace ztna::intermediate
