// Tunnels: what tunnels say.
#include <algorithm>
#include <utility>

#include "agent/tunnels.h"
#include "base/log.h"

namespace ztna::agent {

void Tunnels::on_tunnel_ready(TunnelClient& tunnel) {
  events_.add(TunnelEvent::opened);
  if (auto* held = held_by(tunnel.id())) held->was_ready = true;
  log::info("tunnel is up", {{"connector", tunnel.connector()}, {"path", tunnel.relayed() ? "relay" : "direct"}});
  for (auto& [id, link] : links_) {
    if (link.tunnel == &tunnel && link.state == LinkState::opening && !link.handle) join(link, tunnel);
  }
  if (paths_ != nullptr) paths_->tunnel_ready(tunnel);
  if (auto* old = predecessor_of(tunnel.id())) take_over(*old, tunnel);
}

void Tunnels::on_path_validated(TunnelClient& tunnel, bool ok) {
  if (paths_ != nullptr) paths_->validated(tunnel, ok);
}

void Tunnels::on_service_opened(TunnelClient& tunnel, wire::ServiceHandle handle, wire::RegistrationStatus status) {
  if (auto* moving = link_moving_to(tunnel, handle)) return hand_over(*moving, status);
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
  if (auto* moving = link_moving_to(tunnel, handle)) return moving->next.reset();
  auto* link = link_by(tunnel, handle);
  if (link == nullptr) return;
  failed(*link, wire::to_string(why), why == wire::ServiceCloseReason::not_permitted, false);
}

void Tunnels::on_streams_available(TunnelClient& tunnel) {
  for (auto& [id, link] : links_) {
    if (link.tunnel != &tunnel || link.state != LinkState::open) continue;
    for (const auto& flow : link.waiting.take_flows()) open_stream(link, flow);
  }
}

void Tunnels::on_tunnel_packet(TunnelClient& tunnel, wire::ServiceHandle handle, Bytes packet) {
  if (const auto* link = link_by(tunnel, handle)) return owner_.on_packet(link->service, packet);
  if (const auto* held = held_by(tunnel.id())) {  // answers to what was sent before it was replaced
    const auto before = held->services.find(handle);
    if (before != held->services.end()) return owner_.on_packet(before->second, packet);
  }
  owner_.on_packet_without_service();
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
  if (paths_ != nullptr) paths_->tunnel_closed(tunnel.id());
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
  closing_.push_back(tunnel.id());
  const bool denied = reason.by == quic::CloseReason::By::peer && reason.application &&
                      reason.code == static_cast<std::uint64_t>(wire::CloseCode::denied);
  for (auto& [id, link] : links_) {
    if (link.next && link.next->tunnel == &tunnel) link.next.reset();
    if (link.tunnel != &tunnel) continue;
    if (const auto next = std::exchange(link.next, std::nullopt)) {  // its successor has been asked for the service
      link.tunnel = next->tunnel;
      link.handle = next->handle;
      link.state = LinkState::opening;
      continue;
    }
    if (was_ready) link.pause = kFirstPause;
    failed(link, why, denied, was_ready && !denied);
  }
  for (auto& [id, link] : links_) {  // flows of a tunnel that was replaced
    if (link.state == LinkState::open && !link.waiting.empty()) open_waiting(link);
  }
  if (auto* old = predecessor_of(tunnel.id()); old != nullptr && !old->retired) successor_failed(*old);
}

}  // namespace ztna::agent
