// Tunnels: one tunnel in place of another, when a certificate at one of its ends was renewed.
//
// The successor is dialled beside the old tunnel, which carries everything until the successor has opened the service;
// what is new goes there from then on. TCP connections stay where they are: the old tunnel ends with the last of them.
#include <algorithm>
#include <utility>

#include "agent/tunnels.h"
#include "base/log.h"

namespace ztna::agent {

void Tunnels::set_tls(TunnelTls tls) {
  const bool renewed = tls.certificate != tls_.certificate;
  tls_ = std::move(tls);
  if (!renewed) return;
  for (auto& [id, held] : tunnels_) {
    if (held.retired || held.client->closed()) continue;
    held.own_renewed = true;
    held.replace_pause = kFirstReplacePause;
    if (!held.successor) held.replace_at = context_.now;
  }
}

/// Nobody tells that the Connector has a newer certificate: shortly before the old one's end it is looked for.
void Tunnels::look_at_certificates() {
  next_certificate_look_ = tunnels_.empty() ? kNever : context_.now + kCertificateLook;
  const auto wall = context_.wall_time();
  for (auto it = tunnels_.begin(); it != tunnels_.end();) {
    auto& held = (it++)->second;  // closing it takes it out of the map
    auto& client = *held.client;
    if (client.closed()) continue;
    if (wall - kAfterExpiry > std::min(held.own_end, client.certificate_end())) {
      client.close(wire::CloseCode::certificate_expired, "certificate has expired");
      continue;
    }
    const bool ends_soon = client.ready() && wall + kBeforeExpiry >= client.certificate_end();
    if (ends_soon && !held.retired && !held.successor && held.replace_at == kNever) held.replace_at = context_.now;
  }
}

TimePoint Tunnels::renewal_deadline(const Held& held) const {
  if (held.retired) return held.client->unfinished() == 0 ? *held.retired + kLinger : kNever;
  const auto replace = control_.ready() && held.client->ready() ? held.replace_at : kNever;
  return std::min(replace, held.successor_until);
}

void Tunnels::renewal_due(Held& held) {
  if (held.retired) return held.client->close(wire::CloseCode::no_error, "replaced by a newer tunnel");
  if (context_.now >= held.successor_until) {
    if (held.successor) close_route(*held.successor, wire::RouteCloseReason::asked_for);
    return successor_failed(held);
  }
  held.replace_at = kNever;
  const auto* link = link_on(*held.client);
  if (link == nullptr) return retire_if_unused(held);
  held.successor = wire::TunnelId{random_.array<16>()};
  held.successor_until = context_.now + kRouteTimeout;
  control_.send(wire::RouteRequest{*held.successor, link->service.str(), held.client->peer_name()});
}

void Tunnels::start_successor(Held& old, const wire::RouteOpened& message) {
  old.successor_until = kNever;
  auto& client = *old.client;
  if (client.peer_name() != message.peer_name || client.peer_instance() != message.peer_instance) {
    close_route(message.tunnel, wire::RouteCloseReason::asked_for);
    successor_failed(old);
    if (client.peer_name() != message.peer_name) return;  // its Connector is not attached just now
    events_.add(TunnelEvent::peer_restarted);
    return client.close(wire::CloseCode::no_error, "the Connector was restarted");
  }
  const auto* link = link_on(client);
  const auto service = link == nullptr ? client.first_service() : link->service;
  if (!dial(message, service)) successor_failed(old);
}

void Tunnels::successor_failed(Held& old) {
  old.successor.reset();
  old.successor_until = kNever;
  old.replace_at = context_.now + old.replace_pause;
  old.replace_pause = std::min<Duration>(2 * old.replace_pause, kLongestReplacePause);
}

/// The successor is up: asks it for every service of the old tunnel.
void Tunnels::take_over(Held& old, TunnelClient& successor) {
  if (!old.own_renewed && successor.certificate_end() <= old.client->certificate_end()) {
    old.replace_pause = kLongestReplacePause;
    return successor.close(wire::CloseCode::no_error, "the Connector's certificate is not newer");
  }
  for (auto& [id, link] : links_) {
    if (link.tunnel != old.client.get()) continue;
    if (!successor.permits(link.service)) {
      failed(link, "the Connector's certificate does not permit the service", true, false);
    } else if (const auto handle = successor.open_service(link.service)) {
      link.next = Link::Next{&successor, *handle};
    }
  }
  retire_if_unused(old);
}

/// The successor's answer for one service.
void Tunnels::hand_over(Link& link, wire::RegistrationStatus status) {
  const auto next = *std::exchange(link.next, std::nullopt);
  auto* old = held_by(link.tunnel->id());
  if (status == wire::RegistrationStatus::ok) {
    if (old != nullptr && link.handle) old->services.emplace(*link.handle, link.service);
    link.tunnel = next.tunnel;
    link.handle = next.handle;
    link.state = LinkState::open;
    link.pause = kFirstPause;
    link.last_error.clear();
    open_waiting(link);
  } else {
    events_.add(TunnelEvent::service_refused);
    const bool denied = status == wire::RegistrationStatus::not_permitted;
    if (denied) failed(link, wire::to_string(status), true, false);  // else the old tunnel serves as long as it may
  }
  if (old != nullptr) retire_if_unused(*old);
}

void Tunnels::retire_if_unused(Held& held) {
  if (held.retired || link_on(*held.client) != nullptr) return;
  held.retired = context_.now;
  held.replace_at = kNever;
  events_.add(TunnelEvent::renewed);
  log::info("tunnel was replaced, its TCP connections go on",
            {{"connector", held.client->connector()}, {"tcp_connections", held.client->sessions()}});
}

Tunnels::Held* Tunnels::predecessor_of(const wire::TunnelId& successor) {
  const auto found =
      std::ranges::find_if(tunnels_, [&](const auto& entry) { return entry.second.successor == successor; });
  return found == tunnels_.end() ? nullptr : &found->second;
}

Tunnels::Link* Tunnels::link_moving_to(const TunnelClient& tunnel, wire::ServiceHandle handle) {
  for (auto& [id, link] : links_) {
    if (link.next && link.next->tunnel == &tunnel && link.next->handle == handle) return &link;
  }
  return nullptr;
}

const Tunnels::Link* Tunnels::link_on(const TunnelClient& tunnel) const {
  const auto found = std::ranges::find_if(links_, [&](const auto& entry) {
    const auto& link = entry.second;
    return link.tunnel == &tunnel || (link.next && link.next->tunnel == &tunnel);
  });
  return found == links_.end() ? nullptr : &found->second;
}

}  // namespace ztna::agent
