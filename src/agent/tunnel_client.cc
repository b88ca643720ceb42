#include "agent/tunnel_client.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "wire/stream_header.h"
#include "wire/tunnel_datagram.h"

namespace ztna::agent {
namespace {

constexpr std::size_t kLargestPacket = 1452 - 10;  // leaves room for the relay's header (docs/architecture.md)

std::uint64_t code_of(wire::CloseCode code) { return static_cast<std::uint64_t>(code); }

}  // namespace

TunnelClient::TunnelClient(TunnelContext& context, TunnelClientOwner& owner, const wire::TunnelId& id,
                           const wire::RouteOpened& route, const wire::ServiceId& service)
    : context_(context),
      owner_(owner),
      id_(id),
      peer_name_(route.peer_name),
      peer_instance_(route.peer_instance),
      first_service_(service) {}

TunnelClient::~TunnelClient() {
  if (route_) context_.hub.relay().close(*route_);
  if (old_route_) context_.hub.relay().close(*old_route_);
}

Result<void> TunnelClient::dial(const tunnel::RelayLeg& leg, std::shared_ptr<const quic::TlsContext> tls,
                                Duration rtt_hint) {
  route_ = leg.route;
  const auto path = context_.hub.relay().open(leg);
  quic::ConnectOptions options;
  options.tls = std::move(tls);
  options.check_name = false;  // the certificate names services, not hosts: verify_peer()
  options.transport.idle_timeout = kIdleTimeout;
  options.transport.initial_rtt = rtt_hint;
  options.transport.max_peer_streams = 0;
  options.transport.max_udp_payload = kLargestPacket;
  auto connection = context_.endpoint.connect(options, path, *this, context_.now);
  if (!connection) {
    closed_ = true;
    return fail(connection.error());
  }
  connection_ = *connection;
  datagrams_.emplace(*connection_, context_.datagram_fates);
  return {};
}

void TunnelClient::close(wire::CloseCode code, std::string_view why) {
  if (connection_ != nullptr) connection_->close(code_of(code), why);
}

bool TunnelClient::relayed() const {
  return connection_ == nullptr || tunnel::RelayPaths::is_synthetic(connection_->path().local);
}

Result<void> TunnelClient::verify_peer(Bytes leaf_der) {
  auto identity =
      identity::expect_role(identity::Identity::from_leaf(leaf_der, context_.wall_time(), identity::Purpose::server),
                            identity::Role::connector);
  if (!identity) return fail(static_cast<const Error&>(identity.error()));
  if (!identity->permits(first_service_)) {
    return fail(Errc::denied, "{} may not offer service {}", identity->text(), first_service_.str());
  }
  connector_ = identity->name;
  identity_ = std::move(*identity);
  return {};
}

void TunnelClient::on_established() {
  const auto stream = connection_->open_stream();
  if (!stream) return close(wire::CloseCode::protocol_violation, "no stream for the control stream");
  control_.emplace(*connection_, *stream);
  wire::Hello hello;
  hello.software = context_.software;
  hello.instance = context_.instance;
  if (!control_->send(hello)) return close(wire::CloseCode::internal, "cannot say Hello");
  hello_due_ = context_.now + kHelloTimeout;
  last_used_ = context_.now;
  begin_rotation();
}

void TunnelClient::on_closed(const quic::CloseReason& reason) {
  closed_ = true;
  connection_ = nullptr;
  std::vector<FlowId> asking;
  for (auto& [id, session] : sessions_) {
    if (session->asking()) asking.push_back(session->flow());
    session->on_connection_closed();
    on_session_touched(*session);
  }
  owner_.on_tunnel_closed(*this, reason, std::move(asking));
}

void TunnelClient::on_stream_opened(quic::StreamId) {
  close(wire::CloseCode::protocol_violation, "an Agent takes no streams");
}

void TunnelClient::on_stream_data(quic::StreamId id, Bytes octets, bool fin) {
  if (control_ && id == control_->id()) {
    const auto taken = control_->receive(octets, fin, [this](const wire::TunnelMessage& m) { return take(m); });
    if (!taken) close(wire::CloseCode::protocol_violation, taken.error().text);
    return;
  }
  note_heard();
  if (auto* s = session(id)) {
    s->on_stream_data(octets, fin);
  } else if (connection_ != nullptr) {
    connection_->credit(id, octets.size());
  }
}

bool TunnelClient::take(const wire::TunnelMessage& message) {
  if (const auto* hello = std::get_if<wire::Hello>(&message)) {
    if (hello->version != wire::kProtocolVersion) {
      close(wire::CloseCode::unsupported_version, "this Agent speaks version 1");
      return false;
    }
    if (hello_seen_) {
      close(wire::CloseCode::protocol_violation, "a second Hello");
      return false;
    }
    hello_seen_ = true;
    hello_due_ = kNever;
    owner_.on_tunnel_ready(*this);
    return !closed_;
  }
  if (!hello_seen_) {
    close(wire::CloseCode::protocol_violation, "a message before Hello");
    return false;
  }
  if (const auto* opened = std::get_if<wire::ServiceOpened>(&message)) {
    owner_.on_service_opened(*this, opened->handle, opened->status);
  } else if (const auto* gone = std::get_if<wire::CloseService>(&message)) {
    owner_.on_service_closed(*this, gone->handle, gone->reason);
  } else {
    close(wire::CloseCode::protocol_violation, "a message that an Agent never gets");
    return false;
  }
  return !closed_;
}

void TunnelClient::on_stream_drained(quic::StreamId id) {
  if (auto* s = session(id)) s->on_stream_drained();
}

void TunnelClient::on_stream_reset(quic::StreamId id, std::uint64_t) {
  if (control_ && id == control_->id()) return close(wire::CloseCode::protocol_violation, "control stream was reset");
  if (auto* s = session(id)) s->on_stream_reset();
}

void TunnelClient::on_stop_sending(quic::StreamId id, std::uint64_t) {
  if (control_ && id == control_->id()) return close(wire::CloseCode::protocol_violation, "control stream was stopped");
  if (auto* s = session(id)) s->on_stop_sending();
}

void TunnelClient::on_stream_closed(quic::StreamId id) {
  finishing_.erase(id);
  if (auto* s = session(id)) s->stream_closed = true;
}

void TunnelClient::on_datagram(Bytes payload) {
  if (!datagrams_) return;
  note_heard();
  if (!payload.empty() && payload[0] == wire::kSplitPartType) {
    last_part_ = context_.now;
    if (next_expiry_ == kNever) next_expiry_ = context_.now + tunnel::DatagramChannel::kJoinTimeout;
  }
  if (const auto packet = datagrams_->receive(payload, context_.now)) {
    owner_.on_tunnel_packet(*this, packet->service, packet->packet);
  }
}

TcpSession* TunnelClient::session(quic::StreamId id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second.get();
}

Result<wire::ServiceHandle> TunnelClient::open_service(const wire::ServiceId& service) {
  if (last_handle_ == 65'535) return fail(Errc::exhausted, "tunnel has used all service handles");
  if (!ready()) return fail(Errc::closed, "tunnel is not ready");
  const wire::ServiceHandle handle{++last_handle_};
  if (auto sent = control_->send(wire::OpenService{handle, service.str()}); !sent) return fail(sent.error());
  return handle;
}

void TunnelClient::close_service(wire::ServiceHandle handle) {
  if (ready()) (void)control_->send(wire::CloseService{handle, wire::ServiceCloseReason::asked_for});
}

tunnel::DatagramFate TunnelClient::send_packet(wire::ServiceHandle handle, Bytes packet) {
  if (connection_ == nullptr || !datagrams_) return tunnel::DatagramFate::send_failed;
  note_use();
  watch();
  return datagrams_->send(handle, packet);
}

Result<TcpSession*> TunnelClient::open_stream(FlowId flow, wire::ServiceHandle handle, const SocketAddress& dialled) {
  if (!ready()) return fail(Errc::closed, "tunnel is not ready");
  const auto stream = connection_->open_stream();
  if (!stream) return fail(stream.error());
  const auto header = wire::StreamHeader{handle, dialled.ip.family(), dialled.port}.encode();
  if (auto written = connection_->write(*stream, Bytes{header}); !written) return fail(written.error());
  auto session = std::make_unique<TcpSession>(*connection_, *stream, flow, *this);
  auto* raw = session.get();
  sessions_.emplace(*stream, std::move(session));
  note_use();
  watch();
  return raw;
}

void TunnelClient::on_session_result(TcpSession& session, std::optional<wire::StreamResult> result) {
  owner_.on_tcp_result(*this, session.flow(), result);
}

void TunnelClient::on_session_touched(TcpSession& session) {
  if (session.touched) return;
  session.touched = true;
  touched_.push_back(&session);
}

void TunnelClient::flush() {
  if (touched_.empty()) return;
  for (std::size_t i = 0; i < touched_.size(); ++i) {  // flush() may touch more
    auto& session = *touched_[i];
    session.flush();
    session.touched = false;
    if (!session.over()) continue;
    const auto flow = session.flow();
    if (connection_ != nullptr && session.ended_in_order() && !session.stream_closed)
      finishing_.insert(session.stream());
    sessions_.erase(session.stream());
    owner_.on_tcp_over(*this, flow);
  }
  touched_.clear();
  note_use();
  watch();
}

TimePoint TunnelClient::deadline() const {
  if (!touched_.empty()) return TimePoint{};  // touched inside Endpoint::flush()
  if (closed_) return kNever;
  const auto doubtful = ready() ? doubt_.deadline(tunnel::path_sample(*connection_)) : kNever;
  return std::min({hello_due_, next_expiry_, look_at_, ask_at_, renew_at_, old_route_ends_, rotation_due(), doubtful});
}

void TunnelClient::on_deadline() {
  const auto now = context_.now;
  if (closed_) return;
  if (now >= hello_due_) return close(wire::CloseCode::protocol_violation, "no Hello in time");
  if (now >= next_expiry_) {
    datagrams_->expire(now);
    const auto next = last_part_ + tunnel::DatagramChannel::kJoinTimeout;
    next_expiry_ = next > now ? next : kNever;
  }
  if (now >= old_route_ends_) {
    if (old_route_) context_.hub.relay().close(*old_route_);
    old_route_.reset();
    old_route_ends_ = kNever;
  }
  if (now >= rotation_due()) rotate();
  if (!closed_ && now >= renew_at_) renew_silent_relay();
  if (!closed_ && now >= ask_at_) ask();
  if (!closed_ && now >= look_at_) look();
}

}  // namespace ztna::agent
