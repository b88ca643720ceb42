// Tunnels: routes, that is, what the Intermediate says and is asked.
#include <algorithm>
#include <utility>

#include "agent/tunnels.h"
#include "base/log.h"

namespace ztna::agent {
namespace {

constexpr Duration kShortestRtt = 50ms;  // a hint that is too small sends handshakes twice
constexpr Duration kDefaultRtt = 333ms;  // RFC 9002 6.2.2

Duration longer(Duration pause) { return std::min<Duration>(2 * pause, Tunnels::kLongestPause); }

}  // namespace

void Tunnels::want(Link& link) {
  if (link.state == LinkState::idle && context_.now >= link.next_try && control_.ready()) ask(link);
}

void Tunnels::ask(Link& link) {
  const wire::TunnelId id{random_.array<16>()};
  link.asked = id;
  link.asked_until = context_.now + kRouteTimeout;
  link.suspect_at = context_.now + std::max<Duration>(2 * control_.rtt(), TunnelClient::kMinSilence);
  link.state = LinkState::routing;
  if (!control_.send(wire::RouteRequest{id, link.service.str()})) failed(link, "control connection lost", false, false);
}

void Tunnels::failed(Link& link, std::string_view why, bool denied, bool at_once) {
  if (link.last_error != why) log::warn("no tunnel for the service", {{"service", link.service.str()}, {"why", why}});
  link.state = LinkState::idle;
  link.asked.reset();
  link.asked_until = link.suspect_at = kNever;
  if (const auto next = std::exchange(link.next, std::nullopt)) next->tunnel->close_service(next->handle);
  link.tunnel = nullptr;
  link.handle.reset();
  link.last_error = why;
  link.next_try = at_once ? context_.now : context_.now + link.pause;
  link.pause = longer(link.pause);
  if (denied) {
    for (auto& packet : link.waiting.take_packets()) owner_.on_waiting_over(TunFate::refused, packet.octets);
    for (const auto& flow : link.waiting.take_flows()) {
      streams_.erase(flow.flow);
      owner_.on_flow_unreachable(flow.flow, true);
    }
  }
}

void Tunnels::close_route(const wire::TunnelId& tunnel, wire::RouteCloseReason why) {
  if (control_.ready()) control_.send(wire::RouteClosed{tunnel, why});
}

void Tunnels::on_route_opened(const wire::RouteOpened& message) {
  if (auto* held = held_by(message.tunnel)) return route_again(*held, message);
  const bool to_connector = message.peer_role == wire::Role::connector;
  auto* old = predecessor_of(message.tunnel);
  if (old != nullptr && old->successor_until != kNever && to_connector) return start_successor(*old, message);
  const auto found =
      std::ranges::find_if(links_, [&](const auto& entry) { return entry.second.asked == message.tunnel; });
  if (found == links_.end() || !to_connector) {
    return close_route(message.tunnel, wire::RouteCloseReason::asked_for);  // came too late
  }
  auto& link = found->second;
  link.asked.reset();
  link.asked_until = link.suspect_at = kNever;
  if (auto* known = tunnel_to(message)) {
    close_route(message.tunnel, wire::RouteCloseReason::asked_for);  // one tunnel a Connector
    return join(link, *known);
  }
  start(link, message);
}

/// The tunnel that leads there already and takes new services; null: none.
TunnelClient* Tunnels::tunnel_to(const wire::RouteOpened& route) {
  TunnelClient* best = nullptr;
  for (auto& [id, held] : tunnels_) {
    auto& other = *held.client;
    if (other.closed() || held.retired || other.peer_name() != route.peer_name) continue;
    if (other.peer_instance() != route.peer_instance) {
      events_.add(TunnelEvent::peer_restarted);
      other.close(wire::CloseCode::no_error, "the Connector was restarted");
      return nullptr;
    }
    if (best == nullptr || !held.own_renewed) best = &other;
  }
  return best;
}

void Tunnels::start(Link& link, const wire::RouteOpened& message) {
  link.state = LinkState::opening;
  link.handle.reset();
  const auto dialled = dial(message, link.service);
  if (dialled) {
    link.tunnel = *dialled;
  } else {
    failed(link, dialled.error().text, false, false);
  }
}

Result<TunnelClient*> Tunnels::dial(const wire::RouteOpened& message, const wire::ServiceId& service) {
  auto client = std::make_unique<TunnelClient>(context_, *this, message.tunnel, message, service);
  auto* raw = client.get();
  Held held;
  held.client = std::move(client);
  held.own_end = tls_.ends;
  tunnels_.insert_or_assign(message.tunnel, std::move(held));
  if (next_certificate_look_ == kNever) next_certificate_look_ = context_.now + kCertificateLook;
  const auto rtt = control_.rtt();
  const auto hint = rtt == Duration{} ? kDefaultRtt : std::clamp<Duration>(2 * rtt, kShortestRtt, kDefaultRtt);
  if (auto ok = raw->dial({message.route, control_.intermediate()}, tls_.context, hint); !ok) {
    graveyard_.push_back(std::move(tunnels_.find(message.tunnel)->second.client));
    tunnels_.erase(message.tunnel);
    close_route(message.tunnel, wire::RouteCloseReason::asked_for);
    return fail(ok.error());
  }
  return raw;
}

void Tunnels::join(Link& link, TunnelClient& tunnel) {
  link.state = LinkState::opening;
  link.tunnel = &tunnel;
  link.handle.reset();
  if (!tunnel.ready()) return;  // on_tunnel_ready() goes on
  // The name came from the Intermediate; what counts is the Connector's certificate.
  if (!tunnel.permits(link.service)) {
    return failed(link, "the Connector's certificate does not permit the service", true, false);
  }
  const auto handle = tunnel.open_service(link.service);
  if (!handle) return failed(link, handle.error().text, false, false);
  link.handle = *handle;
}

void Tunnels::reroute(Held& held) {
  auto& client = *held.client;
  held.next_route = kNever;
  if (!control_.ready()) return;  // control_ready() comes
  const auto* link = link_on(client);
  const auto& service = link == nullptr ? client.first_service() : link->service;
  held.asked_until = context_.now + kRouteTimeout;
  control_.send(wire::RouteRequest{client.id(), service.str(), client.peer_name()});
}

void Tunnels::route_again(Held& held, const wire::RouteOpened& message) {
  auto& client = *held.client;
  held.asked_until = kNever;
  if (client.closed()) return close_route(message.tunnel, wire::RouteCloseReason::asked_for);
  if (client.peer_instance() != message.peer_instance || client.peer_name() != message.peer_name) {
    events_.add(TunnelEvent::peer_restarted);
    client.close(wire::CloseCode::no_error, "the Connector was restarted");
    return;  // what waits asks for a new tunnel
  }
  const tunnel::RelayLeg leg{message.route, control_.intermediate()};
  if (auto moved = paths_ != nullptr ? paths_->take_route(client, leg) : client.take_route(leg); !moved) {
    log::info("tunnel cannot take its new route", {{"connector", client.connector()}, {"why", moved.error().text}});
    if (!client.ready()) return client.close(wire::CloseCode::no_error, "route was lost during the handshake");
    held.next_route = context_.now + held.pause;
    held.pause = longer(held.pause);
    return;
  }
  held.pause = kFirstPause;
  held.next_route = kNever;
  events_.add(TunnelEvent::rerouted);
  log::info("tunnel has a new route", {{"connector", client.connector()}, {"tunnel", to_string(client.id())}});
}

void Tunnels::on_route_closed(const wire::RouteClosed& message) {
  const auto why = wire::to_string(message.reason);
  if (auto* held = held_by(message.tunnel)) {
    if (held->client->closed()) return;
    held->asked_until = kNever;
    if (message.reason == wire::RouteCloseReason::not_permitted) {
      events_.add(TunnelEvent::route_refused);
      held->client->close(wire::CloseCode::denied, "the Intermediate no longer permits the route");
      return;
    }
    held->next_route = context_.now + held->pause;
    held->pause = longer(held->pause);
    if (paths_ != nullptr) paths_->route_lost(message.tunnel);
    log::debug("route closed", {{"connector", held->client->connector()}, {"why", why}});
    return;
  }
  if (auto* old = predecessor_of(message.tunnel); old != nullptr && old->successor_until != kNever) {
    events_.add(TunnelEvent::route_refused);
    return successor_failed(*old);
  }
  const auto found =
      std::ranges::find_if(links_, [&](const auto& entry) { return entry.second.asked == message.tunnel; });
  if (found == links_.end()) return;
  events_.add(TunnelEvent::route_refused);
  failed(found->second, why, message.reason == wire::RouteCloseReason::not_permitted, false);
}

void Tunnels::control_ready() {
  offline_since_ = kNever;
  for (auto& [id, held] : tunnels_) {
    if (!held.client->closed()) reroute(held);
  }
  for (auto& [id, link] : links_) {
    if (link.state != LinkState::idle) continue;
    link.next_try = context_.now;
    if (!link.waiting.empty()) ask(link);
  }
}

void Tunnels::seen_elsewhere() {
  for (auto it = tunnels_.begin(); it != tunnels_.end();) (it++)->second.client->seen_elsewhere();
}

void Tunnels::control_lost() {
  if (offline_since_ == kNever) offline_since_ = context_.now;
  for (auto& [id, held] : tunnels_) {
    held.asked_until = held.next_route = kNever;
    if (held.successor_until == kNever) continue;  // the request is lost: asks again when there is an Intermediate
    held.successor.reset();
    held.successor_until = kNever;
    held.replace_at = context_.now;
  }
  for (auto& [id, link] : links_) {
    if (link.state != LinkState::routing) continue;
    link.state = LinkState::idle;
    link.asked.reset();
    link.asked_until = link.suspect_at = kNever;
  }
}

void Tunnels::service_up(const wire::ServiceId& service) {
  const auto found = links_.find(service);
  if (found == links_.end()) return;
  auto& link = found->second;
  link.connector_gone = false;
  link.pause = kFirstPause;
  link.next_try = context_.now;
  if (link.tunnel != nullptr && !link.tunnel->closed()) {
    if (auto* held = held_by(link.tunnel->id()); held != nullptr && held->next_route != kNever) reroute(*held);
  } else if (!link.waiting.empty()) {
    want(link);
  }
}

void Tunnels::connector_gone(const wire::ServiceId& service) {
  const auto found = links_.find(service);
  if (found == links_.end()) return;
  auto& link = found->second;
  if (link.state != LinkState::open) return service_down(service, false);
  link.connector_gone = true;
  link.tunnel->probe();
}

void Tunnels::service_down(const wire::ServiceId& service, bool denied) {
  const auto found = links_.find(service);
  if (found == links_.end()) return;
  auto& link = found->second;
  for (auto& packet : link.waiting.take_packets()) owner_.on_waiting_over(TunFate::service_down, packet.octets);
  for (const auto& flow : link.waiting.take_flows()) {
    streams_.erase(flow.flow);
    owner_.on_flow_unreachable(flow.flow, denied);
  }
}

void Tunnels::remove(const wire::ServiceId& service) {
  service_down(service, false);
  const auto found = links_.find(service);
  if (found == links_.end()) return;
  auto& link = found->second;
  if (link.tunnel != nullptr && link.handle) link.tunnel->close_service(*link.handle);
  if (link.next) link.next->tunnel->close_service(link.next->handle);
  for (auto& [tunnel, held] : tunnels_) {
    for (const auto& [handle, before] : held.services) {
      if (before == service) held.client->close_service(handle);
    }
  }
  if (link.asked) close_route(*link.asked, wire::RouteCloseReason::asked_for);
  last_used_ = last_heard_ = nullptr;
  links_.erase(found);
}

void Tunnels::connector_revoked(const std::string& name) {
  for (auto it = tunnels_.begin(); it != tunnels_.end();) {
    auto& client = *(it++)->second.client;  // closing it takes it out of the map
    if (!client.closed() && client.connector() == name) {
      client.close(wire::CloseCode::revoked, "the Connector's certificate was revoked");
    }
  }
}

}  // namespace ztna::agent
