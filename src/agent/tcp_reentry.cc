#include "agent/tcp_reentry.h"

#include <utility>
#include <vector>

#include "wire/ip/rewrite.h"

namespace ztna::agent {
namespace {

using wire::ip::L4Checksum;
using wire::ip::TcpFlags;

L4Checksum kind_of(const PacketOffload& offload) {
  return offload.needs_csum ? L4Checksum::partial : L4Checksum::complete;
}

}  // namespace

TunFate TcpReentry::from_user(const wire::ip::PacketView& view, const PacketOffload& offload, MutableBytes packet,
                              const wire::ServiceId& service, TimePoint now) {
  const auto tcp = wire::ip::tcp_of(view);
  if (!tcp) return fate_of(tcp.error());
  const auto found = flows_.find(Key{view.source(), view.destination()});
  if (found == flows_.end()) return begin(view, *tcp, offload, service, now);
  auto& flow = *found->second;
  const bool syn = tcp->has(TcpFlags::kSyn) && !tcp->has(TcpFlags::kAck);
  if (syn && tcp->seq != flow.isn) {  // the user's kernel has forgotten the old connection and uses its port anew
    end(flow);
    return begin(view, *tcp, offload, service, now);
  }
  if (flow.state == State::held) {
    if (syn) return TunFate::syn_repeated;
    if (tcp->has(TcpFlags::kRst)) end(flow);
    return TunFate::tcp_stray;
  }
  note(flow, *tcp, true, now);
  return hand_in(flow, view, offload, packet) ? TunFate::tcp_reentry : TunFate::tun_full;
}

TunFate TcpReentry::begin(const wire::ip::PacketView& view, const wire::ip::TcpView& tcp, const PacketOffload& offload,
                          const wire::ServiceId& service, TimePoint now) {
  if (auto ok = wire::ip::verify_checksums(view, kind_of(offload)); !ok) return fate_of(ok.error());
  if (!tcp.has(TcpFlags::kSyn) || tcp.has(TcpFlags::kAck) || tcp.has(TcpFlags::kRst)) {
    errors_.tcp_reset(view, now);
    return TunFate::tcp_stray;
  }
  if (view.dst_port == kCheckPort) return answer_check(view, tcp);
  if (!owner_.takes_new_flows()) {
    errors_.tcp_reset(view, now);
    return TunFate::offline;
  }
  if (!listener(view.family) || !own_.reentry(view.family) || held_ >= kMaxHeld ||
      (flows_.size() >= kMaxFlows && !evict_closing())) {
    errors_.tcp_reset(view, now);
    return TunFate::tcp_limit;
  }
  const auto port = free_port(view.family);
  if (!port) {
    errors_.tcp_reset(view, now);
    return TunFate::tcp_limit;
  }
  auto flow = std::make_unique<Flow>();
  flow->id = FlowId{next_id_++};
  flow->key = {view.source(), view.destination()};
  flow->port = *port;
  flow->isn = tcp.seq;
  flow->expires = now + kHeldTimeout;
  flow->syn.assign(view.packet.begin(), view.packet.end());
  flow->offload = offload;
  const auto id = flow->id;
  const auto dialled = flow->key.service;
  ports(view.family).emplace(*port, flow.get());
  ids_.emplace(id, flow.get());
  if (flows_.empty()) next_sweep_ = now + kSweep;
  const auto key = flow->key;
  flows_.emplace(key, std::move(flow));
  ++held_;
  begun_.add();
  owner_.on_flow_begun(id, service, dialled);  // may end the flow at once
  return TunFate::syn_held;
}

std::optional<std::uint16_t> TcpReentry::free_port(Family family) {
  auto& next = next_port_[family == Family::v4 ? 0 : 1];
  const auto& used = ports(family);
  for (std::size_t tries = 0; tries <= used.size(); ++tries) {
    const auto port = next;
    next = port == 65'535 ? kFirstPort : static_cast<std::uint16_t>(port + 1);
    if (!used.contains(port)) return port;
  }
  return std::nullopt;
}

bool TcpReentry::hand_in(const Flow& flow, const wire::ip::PacketView& view, const PacketOffload& offload,
                         MutableBytes packet) {
  const SocketAddress src{*own_.reentry(view.family), flow.port};
  const SocketAddress dst{*own_.tun(view.family), *listener(view.family)};
  return wire::ip::rewrite_tcp(packet, view, src, dst, kind_of(offload)) && tun_.write(offload, packet);
}

TunFate TcpReentry::from_listener(const wire::ip::PacketView& view, const PacketOffload& offload, MutableBytes packet,
                                  TimePoint now) {
  const auto tcp = wire::ip::tcp_of(view);
  if (!tcp) return fate_of(tcp.error());
  const auto& port = listener(view.family);
  if (!port || view.src_port != *port || own_.tun(view.family) != view.src) return TunFate::tcp_foreign_return;
  auto& check = checks_[view.family == Family::v4 ? 0 : 1];
  if (view.dst_port == check.port && tcp->has(TcpFlags::kSyn) && tcp->has(TcpFlags::kAck)) check.answered = true;
  const auto found = ports(view.family).find(view.dst_port);
  if (found == ports(view.family).end() || found->second->state == State::held) {
    errors_.tcp_reset(view, now);
    return TunFate::tcp_stray;
  }
  auto& flow = *found->second;
  note(flow, *tcp, false, now);
  const auto rewritten = wire::ip::rewrite_tcp(packet, view, flow.key.service, flow.key.user, kind_of(offload));
  return rewritten && tun_.write(offload, packet) ? TunFate::tcp_return : TunFate::tun_full;
}

void TcpReentry::note(Flow& flow, const wire::ip::TcpView& tcp, bool from_user, TimePoint now) {
  if (tcp.has(TcpFlags::kRst)) {
    // The accepted socket, if there is one, hears of it by itself; before accept() nobody else would tell the owner.
    if (flow.state == State::entering) owner_.on_flow_ended(flow.id);
    flow.state = State::closing;
    flow.expires = now + kResetTimeout;
    return;
  }
  if (tcp.has(TcpFlags::kFin)) (from_user ? flow.fin_user : flow.fin_listener) = true;
  if (flow.state == State::open) {
    if (flow.fin_user && flow.fin_listener) {
      flow.state = State::closing;
      flow.expires = now + kClosingTimeout;
    } else {
      flow.expires = now + kIdleTimeout;
    }
  }
}

TcpReentry::Flow* TcpReentry::find(FlowId id) {
  const auto found = ids_.find(id);
  return found == ids_.end() ? nullptr : found->second;
}

TcpReentry::Flow* TcpReentry::find_held(FlowId id) {
  auto* flow = find(id);
  return flow != nullptr && flow->state == State::held ? flow : nullptr;
}

void TcpReentry::connected(FlowId id, TimePoint now) {
  auto* flow = find_held(id);
  if (flow == nullptr) return;
  flow->state = State::entering;
  flow->expires = now + kAcceptTimeout;
  --held_;
  auto syn = std::exchange(flow->syn, {});
  if (const auto view = wire::ip::parse_ip_packet(syn)) {
    hand_in(*flow, *view, flow->offload, syn);  // if the kernel does not take it, the user's next SYN goes in
  }
}

void TcpReentry::refuse(FlowId id) {
  auto* flow = find_held(id);
  if (flow == nullptr) return;
  errors_.refuse_syn(flow->syn);
  drop(*flow);
}

void TcpReentry::unreachable(FlowId id, TimePoint now) {
  auto* flow = find_held(id);
  if (flow == nullptr) return;
  errors_.icmp(wire::ip::IcmpError::host_unreachable, Bytes{flow->syn}, now);
  drop(*flow);
}

void TcpReentry::prohibited(FlowId id, TimePoint now) {
  auto* flow = find_held(id);
  if (flow == nullptr) return;
  errors_.icmp(wire::ip::IcmpError::administratively_denied, Bytes{flow->syn}, now);
  drop(*flow);
}

void TcpReentry::forget(FlowId id) {
  if (auto* flow = find_held(id)) drop(*flow);
}

std::optional<FlowId> TcpReentry::accepted(const SocketAddress& peer, TimePoint now) {
  const auto found = ports(peer.ip.family()).find(peer.port);
  const bool known = own_.reentry(peer.ip.family()) == peer.ip && found != ports(peer.ip.family()).end();
  if (known && found->second->state == State::closing) return std::nullopt;  // reset before it was accepted
  if (!known || found->second->state != State::entering) {
    foreign_accepts_.add();
    return std::nullopt;
  }
  auto& flow = *found->second;
  flow.state = State::open;
  flow.expires = now + (flow.fin_user && flow.fin_listener ? kClosingTimeout : kIdleTimeout);
  return flow.id;
}

void TcpReentry::drop(Flow& flow) {
  if (flow.state == State::held) --held_;
  ports(flow.key.user.ip.family()).erase(flow.port);
  ids_.erase(flow.id);
  const auto key = flow.key;
  flows_.erase(key);
}

void TcpReentry::end(Flow& flow) {
  const auto id = flow.id;
  drop(flow);
  owner_.on_flow_ended(id);
}

bool TcpReentry::evict_closing() {
  Flow* oldest = nullptr;
  for (auto& [key, flow] : flows_) {
    if (flow->state == State::closing && (oldest == nullptr || flow->expires < oldest->expires)) oldest = flow.get();
  }
  if (oldest == nullptr) return false;
  end(*oldest);
  return true;
}

void TcpReentry::slept(Duration duration) {
  for (auto& [key, flow] : flows_) flow->expires += duration;
}

void TcpReentry::expire(TimePoint now) {
  if (now < next_sweep_) return;
  next_sweep_ = now + kSweep;
  std::vector<FlowId> over;
  for (const auto& [key, flow] : flows_) {
    if (now >= flow->expires) over.push_back(flow->id);
  }
  for (const auto id : over) {
    if (auto* flow = find(id)) end(*flow);
  }
}

}  // namespace ztna::agent
