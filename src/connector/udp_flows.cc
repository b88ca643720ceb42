#include "connector/udp_flows.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace ztna::connector {
namespace {

/// The IP and UDP headers of a flow's last packet, for an ICMP error to quote; the kernel tells of a refusal, not of
/// what.
class QuotedHeader {
 public:
  void keep(const wire::ip::PacketView& packet) {
    const auto size = packet.header_size + wire::ip::UdpView::kHeader;
    if (size > octets_.size()) {  // IPv6 with unusually long extension headers: not quoted
      size_ = 0;
      return;
    }
    std::copy_n(packet.packet.begin(), size, octets_.begin());
    size_ = size;
    view_ = packet;
    view_.packet = {octets_.data(), size_};
    view_.l4_payload = {};
  }
  bool empty() const { return size_ == 0; }
  const wire::ip::PacketView& view() const { return view_; }

 private:
  std::array<std::uint8_t, 104> octets_{};
  std::size_t size_ = 0;
  wire::ip::PacketView view_;
};

constexpr Duration kLookAtMtu = 1s;

/// Whether the sender asked for an error rather than for fragments (RFC 1191 2, RFC 8201 4). A packet that came in
/// fragments may leave in fragments (docs/protocol.md 4.1), and no IPv6 sender has to go below the least MTU (RFC 8200
/// 5).
bool must_stay_whole(const wire::ip::PacketView& packet, std::size_t mtu) {
  constexpr std::size_t kLeastV6Mtu = 1280;
  if (packet.family == Family::v4) return packet.dont_fragment;
  return packet.fragment_header == 0 && mtu >= kLeastV6Mtu;
}

PacketFate fate_of(SendStatus status) {
  switch (status) {
    case SendStatus::ok: return PacketFate::forwarded_udp;
    case SendStatus::busy: return PacketFate::backend_busy;
    case SendStatus::refused: return PacketFate::backend_refused;
    case SendStatus::too_large: return PacketFate::backend_too_large;
    case SendStatus::unreachable:
    case SendStatus::failed: break;
  }
  return PacketFate::backend_unreachable;
}

}  // namespace

class UdpFlows::Flow final : public BackendUdpEvents, public UdpBatchTarget {
 public:
  Flow(UdpFlows& table, const Key& key, ServiceUse& use, Family backend)
      : table_(table), key_(key), use_(use), backend_(backend) {}
  ~Flow() override { table_.shared_.batch.forget(*this, last_used_); }
  Flow(const Flow&) = delete;
  Flow& operator=(const Flow&) = delete;

  const Key& key() const { return key_; }
  TimePoint last_used() const { return last_used_; }
  bool replied() const { return replied_; }
  void used(TimePoint now, bool reply) { last_used_ = now, replied_ = replied_ || reply; }
  void set_socket(std::unique_ptr<BackendUdp> socket) { socket_ = std::move(socket); }
  void set_place(List::iterator place) { place_ = place; }
  List::iterator place() const { return place_; }

  void forward(const wire::ip::PacketView& packet, TimePoint now) {
    quoted_.keep(packet);
    // Another flow may have learned a smaller one, and what the kernel learned is forgotten after a while.
    if (now - looked_ >= kLookAtMtu || exceeds(packet)) look_at_mtu(now);
    if (exceeds(packet)) {
      table_.shared_.fates.add(PacketFate::backend_too_large);
      return table_.send_error(wire::ip::IcmpError::packet_too_big, packet, key_.handle, now, users_mtu());
    }
    table_.shared_.batch.add(*this, packet.l4_payload, now);
  }

  void send_batch(Bytes row, std::size_t segment, std::size_t datagrams, TimePoint now) override {
    Sent sent = socket_->send(row, segment);
    if (sent.status == SendStatus::refused) {
      // The kernel reports an earlier datagram's refusal in place of sending this one.
      tell_user(SendStatus::refused, now);
      const Sent rest = socket_->send(row.subspan(sent.handled), segment);
      if (rest.status != SendStatus::ok) {
        sent.status = rest.status;
      } else if (sent.datagrams + rest.datagrams < datagrams) {
        sent.status = SendStatus::too_large;  // what was left out in a row that went on
      } else {
        sent.status = SendStatus::ok;
      }
      sent.datagrams += rest.datagrams;
      sent.octets += rest.octets;
    }
    table_.shared_.fates.add(PacketFate::forwarded_udp, sent.datagrams);
    if (sent.datagrams < datagrams) table_.shared_.fates.add(fate_of(sent.status), datagrams - sent.datagrams);
    if (sent.status == SendStatus::unreachable) tell_user(sent.status, now);
    use_.octets_to_backend += sent.octets;
    table_.shared_.counts.packets_to_backend.add(sent.datagrams);
    table_.shared_.counts.octets_to_backend.add(sent.octets);
  }

  void on_backend_datagrams(Bytes row, std::size_t segment, TimePoint now) override {
    table_.touch(*this, now, true);
    if (segment == 0 || segment >= row.size()) {
      reply(row);
      return;
    }
    for (std::size_t at = 0; at < row.size(); at += segment) reply(row.subspan(at, std::min(segment, row.size() - at)));
  }

  void on_backend_error(SendStatus status, TimePoint now) override {
    if (status != SendStatus::too_large) return tell_user(status, now);
    // The datagram that was lost is not there any more; its like is, and says the same to the user's kernel.
    look_at_mtu(now);
    if (path_mtu_ == 0) return;  // the kernel does not know one any more
    if (quoted_.empty() || !must_stay_whole(quoted_.view(), users_mtu())) return;
    table_.send_error(wire::ip::IcmpError::packet_too_big, quoted_.view(), key_.handle, now, users_mtu());
  }

 private:
  void reply(Bytes payload) {
    auto& shared = table_.shared_;
    const auto family = key_.user.ip.family();
    if (payload.size() > wire::ip::max_udp_payload(family)) {
      shared.fates.add(PacketFate::reply_too_large);
      return;
    }
    const auto headers = wire::ip::udp_headers_size(family);
    const auto packet = shared.arena.take(headers + payload.size());
    std::ranges::copy(payload, packet.begin() + static_cast<std::ptrdiff_t>(headers));
    const auto built = wire::ip::write_udp_headers(packet.first(headers), key_.service, key_.user,
                                                   packet.subspan(headers), next_id_++);
    if (!built) {
      shared.fates.add(PacketFate::reply_too_large);
      return;
    }
    if (!table_.output_.send_packet(key_.handle, packet)) {
      shared.fates.add(PacketFate::reply_queue_full);
      return;
    }
    shared.fates.add(PacketFate::reply_forwarded);
    use_.octets_to_agent += payload.size();
    shared.counts.packets_to_agent.add();
    shared.counts.octets_to_agent.add(payload.size());
  }

  void tell_user(SendStatus status, TimePoint now) {
    if (quoted_.empty()) return;
    const auto error =
        status == SendStatus::refused ? wire::ip::IcmpError::port_unreachable : wire::ip::IcmpError::host_unreachable;
    table_.send_error(error, quoted_.view(), key_.handle, now);
  }

  void look_at_mtu(TimePoint now) {
    path_mtu_ = socket_->path_mtu();
    looked_ = now;
  }
  /// What path_mtu_ means for the user's packets, whose header may be longer or shorter than that towards the backend.
  std::size_t users_mtu() const {
    return path_mtu_ + wire::ip::udp_headers_size(key_.user.ip.family()) - wire::ip::udp_headers_size(backend_);
  }
  bool exceeds(const wire::ip::PacketView& packet) const {
    return path_mtu_ != 0 && wire::ip::udp_headers_size(backend_) + packet.l4_payload.size() > path_mtu_ &&
           must_stay_whole(packet, users_mtu());
  }

  UdpFlows& table_;
  Key key_;
  ServiceUse& use_;
  Family backend_;
  std::size_t path_mtu_ = 0;  // of the way to the backend; 0: not known
  TimePoint looked_{};        // when it was
  List::iterator place_;      // stays valid when it moves between lists
  std::unique_ptr<BackendUdp> socket_;
  QuotedHeader quoted_;
  TimePoint last_used_{};
  std::uint16_t next_id_ = 0;  // IPv4 identification
  bool replied_ = false;
};

UdpFlows::UdpFlows(const UdpShared& shared, AgentUsage& usage, PacketOutput& output)
    : shared_(shared), usage_(usage), output_(output), errors_(shared.quotas.limits().icmp_errors_per_second) {}

UdpFlows::~UdpFlows() {
  while (!unreplied_.empty()) erase(unreplied_, unreplied_.begin());
  while (!replied_.empty()) erase(replied_, replied_.begin());
}

void UdpFlows::forward(wire::ServiceHandle handle, const Service& service, std::uint16_t backend_port,
                       const wire::ip::PacketView& packet, ServiceUse& use, TimePoint now) {
  const Key key{handle, packet.source(), packet.destination()};
  auto* flow = find(key);
  if (flow == nullptr) {
    if (!shared_.quotas.admits_new_flows()) {
      shared_.fates.add(PacketFate::offline);
      send_error(wire::ip::IcmpError::administratively_denied, packet, handle, now);
      return;
    }
    if (!shared_.quotas.take_udp_flow(usage_)) {
      shared_.fates.add(PacketFate::flow_limit);
      return;
    }
    flow = open(key, service, backend_port, use, now);
    if (flow == nullptr) {
      shared_.quotas.give_udp_flow(usage_);
      send_error(wire::ip::IcmpError::host_unreachable, packet, handle, now);
      return;
    }
  }
  touch(*flow, now, false);
  flow->forward(packet, now);
}

UdpFlows::Flow* UdpFlows::find(const Key& key) {
  if (last_ != nullptr && last_->key() == key) return last_;
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : last_ = &*found->second;
}

/// Null: counted why.
UdpFlows::Flow* UdpFlows::open(const Key& key, const Service& service, std::uint16_t backend_port, ServiceUse& use,
                               TimePoint now) {
  const auto* addresses = shared_.names.known(service.definition().backend_host, now);
  if (addresses == nullptr) {
    shared_.fates.add(PacketFate::backend_unknown);
    return nullptr;
  }
  unreplied_.emplace_back(*this, key, use, addresses->front().family());
  auto& flow = unreplied_.back();
  auto socket = shared_.backends.connect_udp({addresses->front(), backend_port}, flow);
  if (!socket) {
    unreplied_.pop_back();
    shared_.fates.add(socket.error().code == Errc::exhausted ? PacketFate::flow_limit
                                                             : PacketFate::backend_unreachable);
    log::debug("no socket for a UDP flow", {{"service", service.id().str()}, {"why", socket.error().text}});
    return nullptr;
  }
  flow.set_socket(std::move(*socket));
  flow.set_place(std::prev(unreplied_.end()));
  index_.emplace(key, flow.place());
  shared_.counts.flows.add();
  ++use.udp_flows;
  return last_ = &flow;
}

void UdpFlows::touch(Flow& flow, TimePoint now, bool replied) {
  auto& from = flow.replied() ? replied_ : unreplied_;
  flow.used(now, replied);
  auto& to = flow.replied() ? replied_ : unreplied_;
  if (&from == &to && &to.back() == &flow) return;
  to.splice(to.end(), from, flow.place());
}

void UdpFlows::erase(List& list, List::iterator flow) {
  if (last_ == &*flow) last_ = nullptr;
  index_.erase(flow->key());
  list.erase(flow);
  shared_.quotas.give_udp_flow(usage_);
  shared_.counts.flows.sub();
}

void UdpFlows::close(wire::ServiceHandle handle) {
  for (auto* list : {&unreplied_, &replied_}) {
    for (auto flow = list->begin(); flow != list->end();) {
      const auto next = std::next(flow);
      if (flow->key().handle == handle) erase(*list, flow);
      flow = next;
    }
  }
}

void UdpFlows::expire(TimePoint now) {
  while (!unreplied_.empty() && now - unreplied_.front().last_used() >= kIdle) erase(unreplied_, unreplied_.begin());
  while (!replied_.empty() && now - replied_.front().last_used() >= kIdleReplied) erase(replied_, replied_.begin());
}

void UdpFlows::send_error(wire::ip::IcmpError error, const wire::ip::PacketView& original, wire::ServiceHandle handle,
                          TimePoint now, std::size_t mtu) {
  if (!errors_.take(now)) {
    shared_.fates.add(PacketFate::error_limited);
    return;
  }
  const auto built = wire::ip::build_icmp_error(error, original, original.dst, static_cast<std::uint32_t>(mtu));
  if (!built) return;  // no error may be sent about such a packet
  const auto packet = shared_.arena.take(built->size());
  std::ranges::copy(*built, packet.begin());
  const bool sent = output_.send_packet(handle, packet);
  shared_.fates.add(sent ? PacketFate::error_sent : PacketFate::error_queue_full);
}

}  // namespace ztna::connector
