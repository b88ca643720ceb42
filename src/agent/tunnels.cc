// Tunnels: what users send, and what happens by time. tunnels_routes.cc: what the Intermediate says; tunnels_events.cc:
// what tunnels say; tunnels_renewal.cc: one tunnel in place of another.
#include "agent/tunnels.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace ztna::agent {
namespace {

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
    case TunnelEvent::renewed: return "renewed";
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
    last_used_ = &links_.try_emplace(service, service, waiting_budget_).first->second;
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
  if (const auto full = link.waiting.add(kind, packet, context_.now)) return full;
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
    link.waiting.put_back(flow);
    return;
  }
  stream->second.tunnel = link.tunnel;
  stream->second.session = *session;
}

// -- once a batch, and by time ---------------------------------------------------------------------------------------

void Tunnels::flush() {
  for (auto& [id, held] : tunnels_) held.client->flush();
  for (auto& client : graveyard_) client->flush();  // tells of the sessions that ended with it
}

bool Tunnels::flushed() {
  sent_.clear();
  for (auto& client : graveyard_) client->flush();  // of those that ended inside the flush, too
  // Only now: their CONNECTION_CLOSE has left by its route, whose end must not overtake it on the control connection.
  graveyard_.clear();
  const auto closing = std::exchange(closing_, {});
  for (const auto& id : closing) close_route(id, wire::RouteCloseReason::asked_for);
  return !closing.empty();
}

TimePoint Tunnels::deadline() const {
  TimePoint first = graveyard_.empty() ? kNever : TimePoint{};
  if (!tunnels_.empty()) first = std::min(first, next_certificate_look_);
  for (const auto& [id, held] : tunnels_) {
    first = std::min({first, held.client->deadline(), held.asked_until, held.next_route, renewal_deadline(held)});
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
  if (now >= next_certificate_look_) look_at_certificates();
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
    if (now >= renewal_deadline(held)) renewal_due(held);
    if (client.take_doubt()) control_.be_seen();
    if (client.closed() || !client.relayed()) continue;  // a direct path is its manager's
    const auto silence = client.silence();
    if (silence == Duration{}) continue;
    if (now >= next_suspicion_) {
      next_suspicion_ = now + kSuspectEvery;
      control_.suspect();
    }
    const auto received = client.stats().packets_received;
    if (silence >= kRerouteSilence && held.asked_until == kNever && held.next_route == kNever &&
        held.received_at_reroute != received) {
      held.received_at_reroute = received;
      reroute(held);
    }
  }
  for (auto& [id, link] : links_) {
    if (link.connector_gone && link.state == LinkState::open && !serves(id)) refuse_what_asks(id);
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

std::size_t Tunnels::unfinished() const {
  std::size_t sum = 0;
  for (const auto& [id, held] : tunnels_) sum += held.client->unfinished();
  return sum;
}

std::vector<const TunnelClient*> Tunnels::tunnels() const {
  std::vector<const TunnelClient*> all;
  for (const auto& [id, held] : tunnels_) all.push_back(held.client.get());
  return all;
}

/// Their Connector is gone, and the tunnel to it deaf: nobody will answer them.
void Tunnels::refuse_what_asks(const wire::ServiceId& service) {
  std::vector<FlowId> asking;
  for (const auto& [flow, stream] : streams_) {
    if (stream.service == service && stream.session != nullptr && stream.session->asking()) asking.push_back(flow);
  }
  for (const auto flow : asking) {
    end_flow(flow);
    owner_.on_flow_unreachable(flow, false);
  }
}

bool Tunnels::serves(const wire::ServiceId& service) const {
  const auto found = links_.find(service);
  return found != links_.end() && found->second.state == LinkState::open &&
         found->second.tunnel->silence() < kDeafAfter;
}

std::optional<Tunnels::LinkInfo> Tunnels::link(const wire::ServiceId& service) const {
  const auto found = links_.find(service);
  if (found == links_.end()) return std::nullopt;
  const auto& l = found->second;
  return LinkInfo{l.service, l.state, l.tunnel, l.waiting.packets(), l.waiting.flows(), l.last_error};
}

}  // namespace ztna::agent
