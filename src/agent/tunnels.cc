#include "agent/tunnels.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace ztna::agent {
namespace {

constexpr Duration kShortestRtt = 50ms;  // a hint that is too small sends handshakes twice
constexpr Duration kDefaultRtt = 333ms;  // RFC 9002 6.2.2

Duration longer(Duration pause) { return std::min<Duration>(2 * pause, Tunnels::kLongestPause); }

TunFate fate_of(tunnel::DatagramFate sent, TunFate kind) {
  switch (sent) {
    case tunnel::DatagramFate::sent:
    case tunnel::DatagramFate::sent_split: return kind;
    case tunnel::DatagramFate::queue_full: return TunFate::tunnel_full;
    default: return TunFate::tunnel_failed;
  }
}

}  // namespace

std::string_view to_string(TunnelEvent event) {
  switch (event) {
    case TunnelEvent::opened: return "opened";
    case TunnelEvent::failed: return "failed";
    case TunnelEvent::closed: return "closed";
    case TunnelEvent::rerouted: return "rerouted";
    case TunnelEvent::route_refused: return "route_refused";
    case TunnelEvent::peer_restarted: return "peer_restarted";
    case TunnelEvent::service_refused: return "service_refused";
    case TunnelEvent::count_: break;
  }
  return "unknown";
}

Tunnels::~Tunnels() { close_all(wire::CloseCode::no_error, "agent stops"); }

Tunnels::Link& Tunnels::link_of(const wire::ServiceId& service) {
  if (last_used_ == nullptr || last_used_->service != service) {
    last_used_ = &links_.try_emplace(service, service).first->second;
  }
  return *last_used_;
}

Tunnels::Held* Tunnels::held_by(const wire::TunnelId& id) {
  const auto found = tunnels_.find(id);
  return found == tunnels_.end() ? nullptr : &found->second;
}

Tunnels::Link* Tunnels::link_by(const TunnelClient& tunnel, wire::ServiceHandle handle) {
  const auto fits = [&](const Link& link) { return link.tunnel == &tunnel && link.handle == handle; };
  if (last_heard_ != nullptr && fits(*last_heard_)) return last_heard_;
  for (auto& [id, link] : links_) {
    if (fits(link)) return last_heard_ = &link;
  }
  return nullptr;
}

// -- what users send -------------------------------------------------------------------------------------------------

std::optional<TunFate> Tunnels::send(const wire::ServiceId& service, TunFate kind, Bytes packet) {
  auto& link = link_of(service);
  if (link.state == LinkState::open) return fate_of(link.tunnel->send_packet(*link.handle, packet), kind);
  if (!link.waiting.add(kind, packet, context_.now)) return TunFate::queue_full;
  want(link);
  return std::nullopt;
}

void Tunnels::begin_flow(FlowId flow, const wire::ServiceId& service, const SocketAddress& dialled) {
  auto& link = link_of(service);
  link.waiting.add(flow, dialled, context_.now);
  streams_.insert_or_assign(flow, Stream{nullptr, nullptr, service, dialled});
  if (link.state == LinkState::open) {
    open_waiting(link);
  } else {
    want(link);
  }
}

void Tunnels::end_flow(FlowId flow) {
  const auto found = streams_.find(flow);
  if (found == streams_.end()) return;
  const auto stream = found->second;
  streams_.erase(found);
  if (stream.session != nullptr) {
    stream.session->abandon();
  } else if (const auto link = links_.find(stream.service); link != links_.end()) {
    link->second.waiting.remove(flow);
  }
}

TcpEvents* Tunnels::attach(FlowId flow, std::unique_ptr<tunnel::TcpPort> port) {
  const auto found = streams_.find(flow);
  if (found == streams_.end() || found->second.session == nullptr) {
    port->abort();
    return nullptr;
  }
  auto* session = found->second.session;
  session->attach(std::move(port));
  return session->bridged() ? session : nullptr;
}

// -- routes ----------------------------------------------------------------------------------------------------------

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
  const auto found =
      std::ranges::find_if(links_, [&](const auto& entry) { return entry.second.asked == message.tunnel; });
  if (found == links_.end() || message.peer_role != wire::Role::connector) {
    return close_route(message.tunnel, wire::RouteCloseReason::asked_for);  // came too late
  }
  auto& link = found->second;
  link.asked.reset();
  link.asked_until = link.suspect_at = kNever;
  for (auto& [id, held] : tunnels_) {
    auto& other = *held.client;
    if (other.closed() || other.peer_name() != message.peer_name) continue;
    if (other.peer_instance() != message.peer_instance) {
      events_.add(TunnelEvent::peer_restarted);
      other.close(wire::CloseCode::no_error, "the Connector was restarted");
      break;
    }
    close_route(message.tunnel, wire::RouteCloseReason::asked_for);  // one tunnel a Connector
    return join(link, other);
  }
  start(link, message);
}

void Tunnels::start(Link& link, const wire::RouteOpened& message) {
  auto client = std::make_unique<TunnelClient>(context_, *this, message.tunnel, message, link.service);
  auto* raw = client.get();
  tunnels_.insert_or_assign(message.tunnel, Held{std::move(client)});
  link.state = LinkState::opening;
  link.tunnel = raw;
  link.handle.reset();
  const auto rtt = control_.rtt();
  const auto hint = rtt == Duration{} ? kDefaultRtt : std::clamp<Duration>(2 * rtt, kShortestRtt, kDefaultRtt);
  const auto dialled = raw->dial({message.route, control_.intermediate()}, tls_, hint);
  if (dialled) return;
  graveyard_.push_back(std::move(tunnels_.find(message.tunnel)->second.client));
  tunnels_.erase(message.tunnel);
  close_route(message.tunnel, wire::RouteCloseReason::asked_for);
  failed(link, dialled.error().text, false, false);
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
  const auto serves = [&](const auto& entry) { return entry.second.tunnel == &client; };
  const auto link = std::ranges::find_if(links_, serves);
  const auto& service = link == links_.end() ? client.first_service() : link->first;
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
  if (auto moved = client.take_route({message.route, control_.intermediate()}); !moved) {
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
    log::debug("route closed", {{"connector", held->client->connector()}, {"why", why}});
    return;
  }
  const auto found =
      std::ranges::find_if(links_, [&](const auto& entry) { return entry.second.asked == message.tunnel; });
  if (found == links_.end()) return;
  events_.add(TunnelEvent::route_refused);
  failed(found->second, why, message.reason == wire::RouteCloseReason::not_permitted, false);
}

void Tunnels::control_ready() {
  for (auto& [id, held] : tunnels_) {
    if (!held.client->closed()) reroute(held);
  }
  for (auto& [id, link] : links_) {
    if (link.state != LinkState::idle) continue;
    link.next_try = context_.now;
    if (!link.waiting.empty()) ask(link);
  }
}

void Tunnels::control_lost() {
  for (auto& [id, held] : tunnels_) held.asked_until = held.next_route = kNever;
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
  link.pause = kFirstPause;
  link.next_try = context_.now;
  if (link.tunnel != nullptr && !link.tunnel->closed()) {
    if (auto* held = held_by(link.tunnel->id()); held != nullptr && held->next_route != kNever) reroute(*held);
  } else if (!link.waiting.empty()) {
    want(link);
  }
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

// -- what tunnels say ------------------------------------------------------------------------------------------------

void Tunnels::on_tunnel_ready(TunnelClient& tunnel) {
  events_.add(TunnelEvent::opened);
  if (auto* held = held_by(tunnel.id())) held->was_ready = true;
  log::info("tunnel is up", {{"connector", tunnel.connector()}, {"path", tunnel.relayed() ? "relay" : "direct"}});
  for (auto& [id, link] : links_) {
    if (link.tunnel == &tunnel && link.state == LinkState::opening && !link.handle) join(link, tunnel);
  }
}

void Tunnels::on_service_opened(TunnelClient& tunnel, wire::ServiceHandle handle, wire::RegistrationStatus status) {
  auto* link = link_by(tunnel, handle);
  if (link == nullptr || link->state != LinkState::opening) return;
  if (status != wire::RegistrationStatus::ok) {
    events_.add(TunnelEvent::service_refused);
    const bool denied = status == wire::RegistrationStatus::not_permitted;
    return failed(*link, wire::to_string(status), denied, false);
  }
  link->state = LinkState::open;
  link->pause = kFirstPause;
  link->last_error.clear();
  log::info("service is open", {{"service", link->service.str()}, {"connector", tunnel.connector()}});
  open_waiting(*link);
}

void Tunnels::on_service_closed(TunnelClient& tunnel, wire::ServiceHandle handle, wire::ServiceCloseReason why) {
  auto* link = link_by(tunnel, handle);
  if (link == nullptr) return;
  failed(*link, wire::to_string(why), why == wire::ServiceCloseReason::not_permitted, false);
}

void Tunnels::open_waiting(Link& link) {
  for (auto& packet : link.waiting.take_packets()) {
    sent_.push_back(std::move(packet.octets));
    owner_.on_waiting_over(fate_of(link.tunnel->send_packet(*link.handle, sent_.back()), packet.kind), sent_.back());
  }
  for (const auto& flow : link.waiting.take_flows()) open_stream(link, flow);
}

void Tunnels::open_stream(Link& link, const WaitingFlow& flow) {
  const auto stream = streams_.find(flow.flow);
  if (stream == streams_.end()) return;
  const auto session = link.tunnel->open_stream(flow.flow, *link.handle, flow.dialled);
  if (!session) {  // the Connector's limit, or the tunnel is ending: waits on
    link.waiting.add(flow.flow, flow.dialled, context_.now);
    return;
  }
  stream->second.tunnel = link.tunnel;
  stream->second.session = *session;
}

void Tunnels::on_streams_available(TunnelClient& tunnel) {
  for (auto& [id, link] : links_) {
    if (link.tunnel != &tunnel || link.state != LinkState::open) continue;
    for (const auto& flow : link.waiting.take_flows()) open_stream(link, flow);
  }
}

void Tunnels::on_tunnel_packet(TunnelClient& tunnel, wire::ServiceHandle handle, Bytes packet) {
  const auto* link = link_by(tunnel, handle);
  if (link == nullptr) return owner_.on_packet_without_service();
  owner_.on_packet(link->service, packet);
}

void Tunnels::on_tcp_result(TunnelClient&, FlowId flow, std::optional<wire::StreamResult> result) {
  owner_.on_flow_result(flow, result);
}

void Tunnels::on_tcp_over(TunnelClient& tunnel, FlowId flow) {
  const auto found = streams_.find(flow);
  if (found != streams_.end() && found->second.tunnel == &tunnel) streams_.erase(found);
}

void Tunnels::on_tunnel_closed(TunnelClient& tunnel, const quic::CloseReason& reason, std::vector<FlowId> asking) {
  const auto found = tunnels_.find(tunnel.id());
  if (found == tunnels_.end() || found->second.client.get() != &tunnel) return;  // it failed inside dial()
  const bool was_ready = found->second.was_ready;
  events_.add(was_ready ? TunnelEvent::closed : TunnelEvent::failed);
  const auto why = to_string(reason);
  const bool expected = reason.by == quic::CloseReason::By::local || reason.by == quic::CloseReason::By::idle;
  log::write(expected ? log::Level::info : log::Level::warn, was_ready ? "tunnel is over" : "tunnel failed",
             {{"connector", tunnel.connector().empty() ? tunnel.peer_name() : tunnel.connector()}, {"why", why}});

  // Connections whose backend had not answered are asked for again; those that were open are reset by their sessions.
  for (const auto flow : asking) {
    const auto stream = streams_.find(flow);
    if (stream == streams_.end()) continue;
    stream->second.tunnel = nullptr;
    stream->second.session = nullptr;
    link_of(stream->second.service).waiting.add(flow, stream->second.dialled, context_.now);
  }
  graveyard_.push_back(std::move(found->second.client));
  tunnels_.erase(found);
  close_route(tunnel.id(), wire::RouteCloseReason::asked_for);
  const bool denied = reason.by == quic::CloseReason::By::peer && reason.application &&
                      reason.code == static_cast<std::uint64_t>(wire::CloseCode::denied);
  for (auto& [id, link] : links_) {
    if (link.tunnel != &tunnel) continue;
    if (was_ready) link.pause = kFirstPause;
    failed(link, why, denied, was_ready && !denied);
  }
}

// -- once a batch, and by time ---------------------------------------------------------------------------------------

void Tunnels::flush() {
  for (auto& [id, held] : tunnels_) held.client->flush();
  for (auto& client : graveyard_) client->flush();  // tells of the sessions that ended with it
}

void Tunnels::flushed() {
  sent_.clear();
  graveyard_.clear();  // only now: its close has left by its route
}

TimePoint Tunnels::deadline() const {
  TimePoint first = graveyard_.empty() ? kNever : TimePoint{};
  for (const auto& [id, held] : tunnels_) {
    first = std::min({first, held.client->deadline(), held.asked_until, held.next_route});
  }
  for (const auto& [id, link] : links_) {
    first = std::min({first, link.waiting.deadline(), link.asked_until, link.suspect_at});
    if (link.state == LinkState::idle && !link.waiting.empty() && control_.ready())
      first = std::min(first, link.next_try);
  }
  return first;
}

void Tunnels::on_deadline() {
  const auto now = context_.now;
  flush();
  for (auto it = tunnels_.begin(); it != tunnels_.end();) {
    auto& held = (it++)->second;  // closing it takes it out of the map
    auto& client = *held.client;
    client.on_deadline();
    if (client.closed()) continue;
    if (now >= held.asked_until) {
      held.asked_until = kNever;
      held.next_route = now;
    }
    if (now >= held.next_route) reroute(held);
    const auto silence = client.silence();
    if (silence == Duration{}) continue;
    if (now >= next_suspicion_) {
      next_suspicion_ = now + kSuspectEvery;
      control_.suspect();
    }
    if (silence >= kRerouteSilence && held.asked_until == kNever && held.next_route == kNever) reroute(held);
  }
  for (auto& [id, link] : links_) {
    if (now >= link.suspect_at) {
      link.suspect_at = kNever;
      control_.suspect();
    }
    if (now >= link.asked_until) {
      if (link.asked) close_route(*link.asked, wire::RouteCloseReason::asked_for);
      failed(link, "the Intermediate does not answer", false, true);
    }
    for (auto& packet : link.waiting.expired_packets(now))
      owner_.on_waiting_over(TunFate::queue_timeout, packet.octets);
    for (const auto& flow : link.waiting.expired_flows(now)) {
      streams_.erase(flow.flow);
      owner_.on_flow_unreachable(flow.flow, false);
    }
    if (!link.waiting.empty()) want(link);
  }
}

void Tunnels::close_all(wire::CloseCode code, std::string_view why) {
  for (auto it = tunnels_.begin(); it != tunnels_.end();) {
    auto& held = (it++)->second;
    held.client->close(code, why);
  }
}

std::size_t Tunnels::sessions() const {
  std::size_t sum = 0;
  for (const auto& [id, held] : tunnels_) sum += held.client->sessions();
  return sum;
}

std::vector<const TunnelClient*> Tunnels::tunnels() const {
  std::vector<const TunnelClient*> all;
  for (const auto& [id, held] : tunnels_) all.push_back(held.client.get());
  return all;
}

std::optional<Tunnels::LinkInfo> Tunnels::link(const wire::ServiceId& service) const {
  const auto found = links_.find(service);
  if (found == links_.end()) return std::nullopt;
  const auto& l = found->second;
  return LinkInfo{l.service, l.state, l.tunnel, l.waiting.packets(), l.waiting.flows(), l.last_error};
}

}  // namespace ztna::agent
