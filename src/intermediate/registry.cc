#include "intermediate/registry.h"

#include <algorithm>
#include <variant>

#include "base/log.h"

namespace ztna::intermediate {

std::string_view to_string(Rejection rejection) {
  switch (rejection) {
    case Rejection::not_permitted: return "not_permitted";
    case Rejection::bad_service_id: return "bad_service_id";
    case Rejection::address_conflict: return "address_conflict";
    case Rejection::limit: return "limit";
    case Rejection::wrong_role: return "wrong_role";
    case Rejection::draining: return "draining";
    case Rejection::pool_exhausted: return "pool_exhausted";
    case Rejection::no_such_service: return "no_such_service";
    case Rejection::not_yours: return "not_yours";
    case Rejection::count_: break;
  }
  return "unknown";
}

std::string_view to_string(PathReportEnd end) {
  switch (end) {
    case PathReportEnd::forwarded: return "forwarded";
    case PathReportEnd::peer_away: return "peer_away";
    case PathReportEnd::no_route: return "no_route";
    case PathReportEnd::not_yours: return "not_yours";
    case PathReportEnd::count_: break;
  }
  return "unknown";
}

Registry::Client* Registry::client_of(SessionRef session) {
  const auto found = sessions_.find(session);
  return found == sessions_.end() ? nullptr : &clients_.at(found->second);
}

Actions Registry::client_up(SessionRef session, const identity::Identity& identity, const wire::InstanceId& instance,
                            const quic::Path& path, TimePoint now) {
  const std::lock_guard lock{mutex_};
  Actions out;
  now_ = now;
  if (started_ == kNever) started_ = now;
  auto& client = clients_[identity.uri()];
  if (client.name.empty()) {
    client.name = identity.uri();
  } else {
    if (client.session) {
      out.kicks.push_back({*client.session, wire::CloseCode::replaced, "a newer connection has the same identity"});
      signaling_.client_gone(*client.session, out);
      sessions_.erase(*client.session);
    }
    if (client.instance != instance) {
      // The program was restarted: its tunnels and services are lost.
      close_routes_of(client, wire::RouteCloseReason::peer_gone, out);
      client.lost = client.offers;
      client.wants.clear();
      client.wants_all = false;
    }
    // A Connector that only reconnected serves on, but it may have been reloaded in between: its services are what it
    // registers from now on.
    client.stale = client.offers;
    client.stale_until = client.stale.empty() ? kNever : now + kStaleServices;
    client.catalog_next = {};
    client.catalog_due = false;
  }
  client.identity = identity;
  client.instance = instance;
  client.session = session;
  client.path = path;
  learn_own_address(path.local.ip);
  sessions_.emplace(session, client.name);
  for (const auto& tunnel : client.tunnels) {
    const auto& route = open_.at(tunnel);
    routes_.move(route.agent == client.name ? route.agent_end : route.connector_end, path);
  }
  end_what_is_not_permitted(client, out);
  update_gauges();
  return out;
}

/// A certificate with fewer rights than the one before ends what they covered.
void Registry::end_what_is_not_permitted(Client& client, Actions& out) {
  const auto& identity = client.identity;
  for (const auto offers = client.offers; const auto& service : offers) {
    if (!identity.permits(service)) withdraw(client, service, wire::ServiceDownReason::withdrawn, out);
  }
  std::erase_if(client.wants, [&](const auto& service) { return !identity.permits(service); });
  for (const auto tunnels = client.tunnels; const auto& tunnel : tunnels) {
    if (!identity.permits(open_.at(tunnel).service)) {
      close_route(tunnel, wire::RouteCloseReason::not_permitted, {}, out);
    }
  }
}

void Registry::client_moved(SessionRef session, const quic::Path& path) {
  const std::lock_guard lock{mutex_};
  auto* client = client_of(session);
  if (client == nullptr) return;
  client->path = path;
  signaling_.client_moved(session, path.remote);
  for (const auto& tunnel : client->tunnels) {
    const auto& route = open_.at(tunnel);
    routes_.move(route.agent == client->name ? route.agent_end : route.connector_end, path);
  }
}

Actions Registry::client_down(SessionRef session, TimePoint now) {
  const std::lock_guard lock{mutex_};
  Actions out;
  auto* client = client_of(session);
  if (client == nullptr) return out;  // replaced before
  signaling_.client_gone(session, out);
  sessions_.erase(session);
  client->session.reset();
  client->gone_at = now;
  for (const auto offers = client->offers; const auto& service : offers) {
    withdraw(*client, service, wire::ServiceDownReason::connector_gone, out);
  }
  if (client->tunnels.empty()) clients_.erase(client->name);
  update_gauges();
  return out;
}

Result<Actions> Registry::message(SessionRef session, const wire::ControlMessage& message, TimePoint now,
                                  Duration rtt) {
  const std::lock_guard lock{mutex_};
  Actions out;
  now_ = now;
  rtt_ = rtt;
  auto* client = client_of(session);
  if (client == nullptr) return out;
  const auto result = std::visit(
      [&]<typename M>(const M& m) -> Result<void> {
        if constexpr (requires { on(*client, m, out); }) {
          return on(*client, m, out);
        } else {
          return fail(Errc::malformed, "{} makes no sense here", wire::to_string(M::kType));
        }
      },
      message);
  if (!result) return fail(result.error());
  update_gauges();
  return out;
}

Actions Registry::tick(TimePoint now) {
  const std::lock_guard lock{mutex_};
  Actions out;
  std::vector<std::string> dead;
  now_ = now;
  for (auto& [name, client] : clients_) {
    if (now >= client.stale_until) {
      for (const auto stale = client.stale; const auto& service : stale) {
        withdraw(client, service, wire::ServiceDownReason::withdrawn, out);
      }
      client.stale_until = kNever;
    }
    if (client.session && client.catalog_due && now >= client.catalog_next) send_catalog(client, out);
    if (!client.session && now - client.gone_at >= kRouteGrace) dead.push_back(name);
  }
  signaling_.tick(now, out);
  for (const auto& name : dead) {
    close_routes_of(clients_.at(name), wire::RouteCloseReason::peer_gone, out);
    clients_.erase(name);
  }
  update_gauges();
  return out;
}

Actions Registry::drain(Duration until_close) {
  const std::lock_guard lock{mutex_};
  Actions out;
  draining_ = true;
  const auto ms = std::chrono::duration_cast<Millis>(until_close).count();
  for (const auto& [session, name] : sessions_) {
    out.deliveries.push_back({session, wire::Drain{static_cast<std::uint32_t>(ms)}});
  }
  return out;
}

std::vector<std::pair<wire::ServiceId, wire::VirtualIps>> Registry::addresses() const {
  const std::lock_guard lock{mutex_};
  return {pool_.all().begin(), pool_.all().end()};
}

void Registry::restore(const wire::ServiceId& service, const wire::VirtualIps& addresses) {
  const std::lock_guard lock{mutex_};
  pool_.restore(service, addresses);
}

void Registry::update_gauges() {
  counters_.clients.set(sessions_.size());
  counters_.services.set(offered_by_.size());
}

}  // namespace ztna::intermediate
