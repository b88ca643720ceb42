#include "connector/agent_tunnel.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/log.h"
#include "connector/icmp_echo.h"
#include "tunnel/path_sample.h"
#include "tunnel/relay_paths.h"

namespace ztna::connector {
namespace {

/// The Agent's first stream (docs/protocol.md 4): RFC 9000 2.1 gives a client's first bidirectional stream the id 0.
constexpr quic::StreamId kControlStream{0};

PacketFate fate_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::wrong_protocol: return PacketFate::wrong_protocol;
    case Refusal::wrong_port: return PacketFate::wrong_port;
    case Refusal::wrong_service_ip: return PacketFate::wrong_service_ip;
  }
  return PacketFate::wrong_protocol;
}

double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

AgentTunnel::AgentTunnel(const TunnelShared& shared, TunnelOwner& owner, const wire::TunnelId& id,
                         wire::InstanceId instance, WallTime own_end, quic::Connection& connection)
    : shared_(shared),
      owner_(owner),
      id_(id),
      agent_instance_(instance),
      own_end_(own_end),
      connection_(&connection),
      begun_(shared.now) {}

AgentTunnel::~AgentTunnel() { close(wire::CloseCode::no_error, ""); }

void AgentTunnel::close(wire::CloseCode code, std::string_view why) {
  if (connection_ != nullptr) connection_->close(static_cast<std::uint64_t>(code), why);
}

Result<void> AgentTunnel::verify_peer(Bytes leaf_der) {
  auto identity = identity::expect_role(
      identity::Identity::from_leaf(leaf_der, shared_.wall_time(), identity::Purpose::client), identity::Role::agent);
  if (!identity) {
    identity_refused_ = true;
    shared_.refused_agents.add(identity.error().fault);
    log::warn("agent refused", {{"tunnel", wire::to_string(id_)},
                                {"reason", to_string(identity.error().fault)},
                                {"why", identity.error().text}});
    return fail(identity.error().code, "{}", identity.error().text);
  }
  identity_ = std::move(*identity);
  agent_uri_ = identity_.uri();
  return {};
}

void AgentTunnel::on_established() {
  owner_.on_tunnel_verified(*this);
  usage_ = shared_.quotas.acquire(agent_uri_);
  if (usage_ == nullptr) {
    log::warn("agent has too many tunnels", {{"agent", agent_uri_}});
    close(wire::CloseCode::limit, "too many tunnels of one agent");
    return;
  }
  channel_.emplace(*connection_, shared_.datagram_fates);
  udp_.emplace(shared_.udp, *usage_, static_cast<PacketOutput&>(*this));
  tcp_.emplace(shared_.tcp, *usage_, *connection_, static_cast<ServiceLookup&>(*this));
  established_ = was_established_ = true;
  shared_.counts.established.add();
  shared_.counts.active.add();
  relayed_ = tunnel::RelayPaths::is_synthetic(connection_->path().local);
  log::info("tunnel established", {{"agent", identity_.name},
                                   {"tunnel", wire::to_string(id_)},
                                   {"path", path_kind()},
                                   {"may_use", identity_.services_text()}});
}

void AgentTunnel::on_closed(const quic::CloseReason& reason) {
  connection_ = nullptr;
  shared_.counts.ends.add(identity_refused_ ? TunnelEnd::identity_refused : end_of(reason, established_));
  if (tcp_) tcp_->on_connection_closed();
  if (!established_) {
    log::warn("tunnel failed", {{"tunnel", wire::to_string(id_)}, {"why", to_string(reason)}});
  } else {
    for (const auto& [handle, opened] : services_) log_access(opened, "allowed", "tunnel closed");
    shared_.counts.active.sub();
    log::info("tunnel closed", {{"agent", identity_.name},
                                {"tunnel", wire::to_string(id_)},
                                {"why", to_string(reason)},
                                {"seconds", seconds(shared_.now - begun_)}});
  }
  established_ = false;
  udp_.reset();
  tcp_.reset();
  channel_.reset();
  services_.clear();
  if (std::exchange(usage_, nullptr) != nullptr) shared_.quotas.release(agent_uri_);
  owner_.on_tunnel_closed(*this);
}

void AgentTunnel::on_stream_opened(quic::StreamId id) {
  if (!established_) return;
  if (id == kControlStream) {
    control_.emplace(*connection_, id);
  } else {
    tcp_->on_stream_opened(id);
  }
}

void AgentTunnel::on_stream_data(quic::StreamId id, Bytes octets, bool fin) {
  if (!established_) return;
  if (id != kControlStream) {
    tcp_->on_stream_data(id, octets, fin);
    if (!std::exchange(dirty_, true)) owner_.on_tunnel_dirty(*this);
    return;
  }
  const auto taken = control_->receive(octets, fin, [this](const auto& message) { return take(message); });
  if (!taken) close(wire::CloseCode::protocol_violation, taken.error().text);
}

void AgentTunnel::on_stream_drained(quic::StreamId id) {
  if (established_ && id != kControlStream) tcp_->on_stream_drained(id);
}

void AgentTunnel::on_stream_reset(quic::StreamId id, std::uint64_t) {
  if (!established_) return;
  if (id == kControlStream) {
    close(wire::CloseCode::protocol_violation, "tunnel control stream was reset");
  } else {
    tcp_->on_stream_reset(id);
  }
}

void AgentTunnel::on_stop_sending(quic::StreamId id, std::uint64_t) {
  if (!established_) return;
  if (id == kControlStream) {
    close(wire::CloseCode::protocol_violation, "tunnel control stream was stopped");
  } else {
    tcp_->on_stop_sending(id);
  }
}

void AgentTunnel::on_stream_closed(quic::StreamId id) {
  if (established_ && id != kControlStream) tcp_->on_stream_closed(id);
}

void AgentTunnel::on_path_changed(const quic::Path& path) {
  relayed_ = tunnel::RelayPaths::is_synthetic(path.local);
  for (auto& [handle, opened] : services_) note_path(opened);
  log::debug("tunnel moved", {{"agent", identity_.name}, {"tunnel", wire::to_string(id_)}, {"path", path_kind()}});
  owner_.on_tunnel_path_changed(*this, path);
}

/// False: closed, stop reading.
bool AgentTunnel::take(const wire::TunnelMessage& message) {
  if (const auto* hello = std::get_if<wire::Hello>(&message)) return take_hello(*hello);
  if (!hello_seen_) {
    close(wire::CloseCode::protocol_violation, "first message is not Hello");
    return false;
  }
  if (!requests_.take(shared_.now)) {
    close(wire::CloseCode::limit, "too many requests");
    return false;
  }
  if (const auto* request = std::get_if<wire::OpenService>(&message)) {
    if (!used_handles_.insert(request->handle).second) {
      close(wire::CloseCode::protocol_violation, "service handle used twice");
      return false;
    }
    open_service(*request);
    return connection_ != nullptr;
  }
  if (const auto* end = std::get_if<wire::CloseService>(&message)) {
    close_service(end->handle, "closed by the agent");
    return connection_ != nullptr;
  }
  close(wire::CloseCode::protocol_violation, "message makes no sense here");
  return false;
}

bool AgentTunnel::take_hello(const wire::Hello& hello) {
  if (hello_seen_) {
    close(wire::CloseCode::protocol_violation, "second Hello");
    return false;
  }
  if (hello.version != wire::kProtocolVersion) {
    close(wire::CloseCode::unsupported_version, "protocol version not supported");
    return false;
  }
  hello_seen_ = true;
  agent_instance_ = hello.instance;
  wire::Hello answer;
  answer.software = shared_.software;
  answer.instance = shared_.instance;
  (void)control_->send(answer);  // a failure shows as on_closed
  return true;
}

wire::RegistrationStatus AgentTunnel::open_status(const wire::OpenService& request, Service*& service) const {
  using Status = wire::RegistrationStatus;
  const auto id = wire::ServiceId::parse(request.service);
  if (!id) return Status::bad_service_id;
  if (!identity_.permits(*id)) return Status::not_permitted;
  if (shared_.draining) return Status::draining;
  if (services_.size() >= kMaxServices) return Status::limit;
  service = shared_.services.find(*id);
  return service == nullptr ? Status::no_such_service : Status::ok;
}

void AgentTunnel::open_service(const wire::OpenService& request) {
  Service* service = nullptr;
  const auto status = open_status(request, service);
  if (status == wire::RegistrationStatus::ok) {
    auto& opened =
        services_.emplace(request.handle, Opened{service, service->id().str(), shared_.now, {}}).first->second;
    note_path(opened);
    log::info("service opened", {{"agent", identity_.name}, {"service", service->id().str()}});
  } else {
    shared_.counts.services_denied.add();
    log_access({nullptr, identity::printable(request.service), shared_.now, {}}, "denied", wire::to_string(status));
  }
  (void)control_->send(wire::ServiceOpened{request.handle, status});
}

void AgentTunnel::close_service(wire::ServiceHandle handle, std::string_view why) {
  const auto found = services_.find(handle);
  if (found == services_.end()) return;  // crossed with ours, or denied before
  udp_->close(handle);
  tcp_->close(handle);
  log_access(found->second, "allowed", why);
  services_.erase(found);
}

void AgentTunnel::withdraw(const Service& service) {
  if (!established_) return;
  for (auto it = services_.begin(); it != services_.end();) {
    const auto here = it++;
    if (here->second.service != &service) continue;
    const auto handle = here->first;
    close_service(handle, "withdrawn");
    if (control_) (void)control_->send(wire::CloseService{handle, wire::ServiceCloseReason::no_such_service});
  }
}

ServiceLookup::Found AgentTunnel::find_service(wire::ServiceHandle handle) {
  const auto found = services_.find(handle);
  if (found == services_.end()) return {};
  return {found->second.service, &found->second.use};
}

void AgentTunnel::on_datagram(Bytes payload) {
  if (!established_) return;
  const auto received = channel_->receive(payload, shared_.now);
  if (!received) return;  // counted by the channel
  const auto found = services_.find(received->service);
  if (found == services_.end()) {
    shared_.fates.add(PacketFate::unknown_handle);
    return;
  }
  if (const auto fate = take_packet(received->service, found->second, received->packet)) {
    shared_.fates.add(*fate);
    if (*fate != PacketFate::echo_answered) ++found->second.use.refused;
  }
}

std::optional<PacketFate> AgentTunnel::take_packet(wire::ServiceHandle handle, Opened& opened, Bytes octets) {
  const auto packet = wire::ip::parse_ip_packet(octets);
  if (!packet) return connector::fate_of(packet.error());
  if (packet->fragment.is_fragment()) return PacketFate::fragment;
  if (const auto sums = wire::ip::verify_checksums(*packet); !sums) return connector::fate_of(sums.error());
  if (packet->hop_limit == 0) return PacketFate::hop_limit;
  if (!is_agents_source(packet->src)) return PacketFate::not_agents_source;
  switch (packet->protocol) {
    case wire::ip::Protocol::udp: {
      const auto port = decide(*opened.service, Transport::udp, packet->destination());
      if (!port) return fate_of(port.error());
      udp_->forward(handle, *opened.service, *port, *packet, opened.use, shared_.now);
      return std::nullopt;
    }
    case wire::ip::Protocol::icmp:
    case wire::ip::Protocol::icmpv6: return take_echo(handle, opened, *packet);
    default: return PacketFate::wrong_protocol;  // TCP comes on streams
  }
}

std::optional<PacketFate> AgentTunnel::take_echo(wire::ServiceHandle handle, Opened& opened,
                                                 const wire::ip::PacketView& packet) {
  if (!packet.is_echo_request()) return PacketFate::wrong_protocol;
  if (!opened.service->takes_address(packet.dst)) return PacketFate::wrong_service_ip;
  if (!opened.service->registered()) return PacketFate::not_registered;
  const auto reply = answer_echo(packet, shared_.udp.arena);
  if (reply.empty()) return PacketFate::wrong_protocol;
  if (!send_packet(handle, reply)) return PacketFate::reply_queue_full;
  ++opened.use.echoes;
  return PacketFate::echo_answered;
}

/// The first good packet of each family says what the tunnel's address is; Agents may share addresses, so only
/// constancy counts.
bool AgentTunnel::is_agents_source(const IpAddress& source) {
  auto& known = source.is_v4() ? source_v4_ : source_v6_;
  if (known) return *known == source;
  if (source.is_unspecified() || source.is_multicast() || source.is_loopback()) return false;
  known = source;
  return true;
}

bool AgentTunnel::send_packet(wire::ServiceHandle handle, Bytes packet) {
  if (!channel_) return false;
  const auto fate = channel_->send(handle, packet);
  return fate == tunnel::DatagramFate::sent || fate == tunnel::DatagramFate::sent_split;
}

TimePoint AgentTunnel::doubtful_from() const {
  return established() ? doubt_.deadline(tunnel::path_sample(*connection_)) : kNever;
}

bool AgentTunnel::take_doubt() { return established() && doubt_.take(tunnel::path_sample(*connection_), shared_.now); }

void AgentTunnel::flush() {
  dirty_ = false;
  if (tcp_) tcp_->flush();
}

void AgentTunnel::tick() {
  if (connection_ == nullptr) return;
  if (!established_) return;  // the connection's own handshake timeout
  if (!hello_seen_ && shared_.now - begun_ >= kHelloTimeout) {
    close(wire::CloseCode::protocol_violation, "no Hello");
    return;
  }
  if (shared_.wall_time() - kAfterExpiry > std::min(identity_.not_after, own_end_)) {
    close(wire::CloseCode::certificate_expired, "certificate has expired");
    return;
  }
  udp_->expire(shared_.now);
  channel_->expire(shared_.now);
}

std::string_view AgentTunnel::path_kind() const { return relayed_ ? "relay" : "direct"; }

void AgentTunnel::log_access(const Opened& opened, std::string_view verdict, std::string_view why) const {
  log::info("access", {{"agent", identity_.name},
                       {"service", opened.name},
                       {"verdict", verdict},
                       {"why", why},
                       {"path", opened.was_relayed && opened.was_direct ? "both" : path_kind()},
                       {"octets_to_backend", opened.use.octets_to_backend},
                       {"octets_to_agent", opened.use.octets_to_agent},
                       {"tcp_connections", opened.use.tcp_connections},
                       {"udp_flows", opened.use.udp_flows},
                       {"echoes", opened.use.echoes},
                       {"refused", opened.use.refused},
                       {"seconds", seconds(shared_.now - opened.since)}});
}

}  // namespace ztna::connector
