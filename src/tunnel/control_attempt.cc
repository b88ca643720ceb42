#include "tunnel/control_attempt.h"

#include <variant>

namespace ztna::tunnel {
namespace {

std::uint64_t number(wire::CloseCode code) { return static_cast<std::uint64_t>(code); }

}  // namespace

Result<void> ControlAttempt::send(const wire::ControlMessage& message) {
  if (closed_ || !stream_) return fail(Errc::closed, "control connection is not up");
  return stream_->send(message);
}

void ControlAttempt::drop(wire::CloseCode code, std::string_view why) {
  if (!closed_ && connection_ != nullptr) connection_->close(number(code), why);
  closed_ = true;
}

Result<void> ControlAttempt::verify_peer(Bytes leaf_der) { return client_.owner_.verify_intermediate(leaf_der); }

void ControlAttempt::on_established() {
  client_.won(*this);
  const auto stream = connection_->open_stream();
  if (!stream) {
    connection_->close(number(wire::CloseCode::protocol_violation), "no stream for control messages");
    return;
  }
  stream_.emplace(*connection_, *stream);
  wire::Hello hello;
  hello.version = wire::kProtocolVersion;
  hello.software = client_.options_.software;
  hello.instance = client_.options_.instance;
  (void)stream_->send(wire::ControlMessage{hello});  // a failure shows as on_closed
}

void ControlAttempt::on_closed(const quic::CloseReason& reason) {
  closed_ = true;
  connection_ = nullptr;  // stream_ stays: this may be called from inside its receive()
  client_.attempt_closed(*this, reason);
}

void ControlAttempt::on_stream_data(quic::StreamId id, Bytes octets, bool fin) {
  if (closed_ || !stream_ || id != stream_->id()) return;
  auto* connection = connection_;
  const auto result = stream_->receive(octets, fin, [this](const auto& message) { return take(message); });
  if (!result && !closed_) connection->close(number(wire::CloseCode::protocol_violation), result.error().text);
}

void ControlAttempt::on_stream_reset(quic::StreamId, std::uint64_t) {
  if (!closed_) connection_->close(number(wire::CloseCode::protocol_violation), "control stream was reset");
}

/// False: the connection is closed, stop reading messages.
bool ControlAttempt::take(const wire::ControlMessage& message) {
  if (!hello_seen_) {
    const auto* hello = std::get_if<wire::Hello>(&message);
    if (hello == nullptr) {
      connection_->close(number(wire::CloseCode::protocol_violation), "first message is not Hello");
      return false;
    }
    if (hello->version != wire::kProtocolVersion) {
      connection_->close(number(wire::CloseCode::unsupported_version), "protocol version not supported");
      return false;
    }
    hello_seen_ = true;
    client_.attempt_ready(*this);
    return !closed_;
  }
  if (const auto* probe = std::get_if<wire::ProbePort>(&message)) {
    client_.probe_port_ = probe->port;
    return true;
  }
  if (const auto* observed = std::get_if<wire::ObservedAddress>(&message)) {
    (observed->address.ip.is_v4() ? client_.observed_v4_ : client_.observed_v6_) = observed->address;
  }
  const bool sensible = client_.owner_.on_control_message(message);
  if (closed_) return false;
  if (!sensible) {
    connection_->close(number(wire::CloseCode::protocol_violation), "message makes no sense here");
    return false;
  }
  return true;
}

}  // namespace ztna::tunnel
