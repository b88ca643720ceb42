#include "intermediate/control_session.h"

#include <algorithm>
#include <variant>

#include "base/log.h"

namespace ztna::intermediate {

std::string_view to_string(SessionEnd end) {
  switch (end) {
    case SessionEnd::identity_refused: return "identity_refused";
    case SessionEnd::handshake_failed: return "handshake_failed";
    case SessionEnd::protocol_violation: return "protocol_violation";
    case SessionEnd::unsupported_version: return "unsupported_version";
    case SessionEnd::replaced: return "replaced";
    case SessionEnd::certificate_expired: return "certificate_expired";
    case SessionEnd::idle: return "idle";
    case SessionEnd::closed_by_client: return "closed_by_client";
    case SessionEnd::drained: return "drained";
    case SessionEnd::limit: return "limit";
    case SessionEnd::other: return "other";
    case SessionEnd::count_: break;
  }
  return "unknown";
}

Result<void> ControlSession::verify_peer(Bytes leaf_der) {
  auto identity = identity::Identity::from_leaf(leaf_der, owner_.wall_now(), identity::Purpose::client);
  if (identity && identity->role == identity::Role::intermediate)
    identity = expect_role(std::move(identity), identity::Role::agent);
  if (!identity) {
    end_ = SessionEnd::identity_refused;
    owner_.session_counters().identity_faults.add(identity.error().fault);
    return fail(Errc::denied, "{}", identity.error().text);
  }
  identity_ = std::move(*identity);
  return {};
}

void ControlSession::on_established() {
  established_ = true;
  owner_.handshake_over(source_);
  owner_.session_counters().active.add();
  log::debug("control connection established", {{"client", identity_ ? identity_->text() : "without certificate"},
                                                {"from", to_string(connection_->validated_path().remote)}});
}

void ControlSession::on_closed(const quic::CloseReason& reason) {
  using By = quic::CloseReason::By;
  closed_ = true;
  connection_ = nullptr;
  if (established_) {
    owner_.session_counters().active.sub();
  } else {
    owner_.handshake_over(source_);
  }
  if (end_ == SessionEnd::other) {
    if (!established_) end_ = SessionEnd::handshake_failed;
    if (established_ && reason.by == By::idle) end_ = SessionEnd::idle;
    if (established_ && reason.by == By::peer) end_ = SessionEnd::closed_by_client;
  }
  owner_.session_counters().ends.add(end_);
  const auto who = identity_ ? identity_->text() : std::string{"unknown client"};
  if (established_) {
    log::info("control connection ended", {{"client", who}, {"why", to_string(reason)}});
  } else {
    log::warn("control connection refused", {{"client", who}, {"why", to_string(reason)}});
  }
  (void)owner_.ask([this](Registry& registry) { return registry.client_down(ref_, owner_.now()); });
}

void ControlSession::on_stream_opened(quic::StreamId id) {
  if (closed_) return;
  if (stream_) {
    close(wire::CloseCode::protocol_violation, "a control connection has one stream");
    return;
  }
  stream_.emplace(*connection_, id);
}

void ControlSession::on_stream_data(quic::StreamId id, Bytes octets, bool fin) {
  if (closed_ || !stream_ || stream_->id() != id) return;
  const auto skipped = stream_->skipped_extensions().value();
  const auto result = stream_->receive(octets, fin, [this](const auto& message) { return take(message); });
  owner_.session_counters().skipped_messages.add(stream_->skipped_extensions().value() - skipped);
  if (!result) close(wire::CloseCode::protocol_violation, result.error().text);
}

void ControlSession::on_stream_reset(quic::StreamId, std::uint64_t) {
  close(wire::CloseCode::protocol_violation, "control stream was reset");
}

void ControlSession::on_path_changed(const quic::Path& path) {
  if (closed_ || !hello_seen_) return;
  (void)owner_.ask([&](Registry& registry) {
    registry.client_moved(ref_, path);
    return Actions{};
  });
  observe();
}

/// False: the connection is closed.
bool ControlSession::take(const wire::ControlMessage& message) {
  if (hello_seen_) {
    if (!within_rate(message)) {
      close(wire::CloseCode::limit, "too many requests");
      return false;
    }
    const auto rtt = connection_->stats().smoothed_rtt;
    const auto done =
        owner_.ask([&](Registry& registry) { return registry.message(ref_, message, owner_.now(), rtt); });
    if (!done) close(wire::CloseCode::protocol_violation, done.error().text);
    return !closed_;
  }
  const auto* hello = std::get_if<wire::Hello>(&message);
  if (hello == nullptr) {
    close(wire::CloseCode::protocol_violation, "first message is not Hello");
    return false;
  }
  if (hello->version != wire::kProtocolVersion) {
    close(wire::CloseCode::unsupported_version, "this Intermediate speaks protocol version 1");
    return false;
  }
  if (!identity_) {
    close(wire::CloseCode::denied, "no client certificate");
    return false;
  }
  hello_seen_ = true;
  wire::Hello answer;
  answer.software = owner_.software();
  answer.instance = owner_.instance();
  send(answer);
  if (const auto port = owner_.probe_port(); port != 0) send(wire::ProbePort{port});
  observe();
  log::info("client connected", {{"client", identity_->text()},
                                 {"services", identity_->services_text()},
                                 {"from", to_string(connection_->validated_path().remote)},
                                 {"software", identity::printable(hello->software, 64)}});
  (void)owner_.ask([&](Registry& registry) {
    return registry.client_up(ref_, *identity_, hello->instance, connection_->validated_path(), owner_.now());
  });
  return !closed_;
}

void ControlSession::observe() { send(wire::ObservedAddress{connection_->validated_path().remote}); }

void ControlSession::send(const wire::ControlMessage& message) {
  if (closed_ || !stream_) return;
  const auto before = connection_->unsent(stream_->id());
  if (before > kMaxUnsent + catalog_octets_) {
    close(wire::CloseCode::limit, "answers are not taken");
    return;
  }
  (void)stream_->send(message);  // a closed connection shows as on_closed
  if (!closed_ && std::holds_alternative<wire::Catalog>(message)) {
    catalog_octets_ = connection_->unsent(stream_->id()) - before;
  }
}

/// Closing a route is cheap and asks for nothing, and a Connector that stops closes all it has: it costs less.
bool ControlSession::within_rate(const wire::ControlMessage& message) {
  constexpr Duration kEach = Duration{1s} / kRequestsPerSecond;
  const auto now = owner_.now();
  const auto cost = std::holds_alternative<wire::RouteClosed>(message) ? kEach / 16 : kEach;
  const auto after = std::max(requests_paid_until_, now) + cost;
  if (after - now > kRequestBurst * kEach) return false;
  requests_paid_until_ = after;
  return true;
}

void ControlSession::close(wire::CloseCode code, std::string_view why) {
  if (closed_ || connection_ == nullptr) return;
  switch (code) {
    case wire::CloseCode::protocol_violation: end_ = SessionEnd::protocol_violation; break;
    case wire::CloseCode::unsupported_version: end_ = SessionEnd::unsupported_version; break;
    case wire::CloseCode::denied: end_ = SessionEnd::identity_refused; break;
    case wire::CloseCode::replaced: end_ = SessionEnd::replaced; break;
    case wire::CloseCode::certificate_expired: end_ = SessionEnd::certificate_expired; break;
    case wire::CloseCode::draining: end_ = SessionEnd::drained; break;
    case wire::CloseCode::limit: end_ = SessionEnd::limit; break;
    default: break;
  }
  connection_->close(static_cast<std::uint64_t>(code), why);
}

void ControlSession::tick() {
  if (closed_) return;
  if (established_ && !hello_seen_ && owner_.now() - begun_ > kHelloTimeout) {
    close(wire::CloseCode::protocol_violation, "no Hello within 5 s");
  } else if (identity_ && owner_.wall_now() > identity_->not_after) {
    close(wire::CloseCode::certificate_expired, "the client's certificate has expired");
  }
}

}  // namespace ztna::intermediate
