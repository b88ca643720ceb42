#include "agent/tcp_session.h"

#include <utility>

namespace ztna::agent {

void TcpSession::attach(std::unique_ptr<tunnel::TcpPort> port) {
  if (state_ != State::connected) {
    port->abort();
    return;
  }
  state_ = State::bridged;
  bridge_ = std::make_unique<tunnel::TcpBridge>(connection_, stream_, std::move(port));
  if (!early_.empty() || early_fin_) bridge_->on_stream_data(std::exchange(early_, {}), early_fin_);
  owner_.on_session_touched(*this);
}

void TcpSession::abandon() {
  if (state_ == State::over) return;
  if (bridge_ != nullptr) {
    bridge_->on_connection_closed();  // RST to the socket
  }
  break_stream(wire::StreamResetCode::tcp_reset);
}

void TcpSession::break_stream(wire::StreamResetCode code) {
  connection_.reset(stream_, static_cast<std::uint64_t>(code));
  connection_.stop_sending(stream_, static_cast<std::uint64_t>(code));
  state_ = State::over;
  owner_.on_session_touched(*this);
}

void TcpSession::flush() {
  if (state_ != State::bridged) return;
  bridge_->flush();
  if (bridge_->done()) state_ = State::over;
}

void TcpSession::on_stream_data(Bytes octets, bool fin) {
  switch (state_) {
    case State::asking: return take_result(octets, fin);
    case State::connected:
      early_.insert(early_.end(), octets.begin(), octets.end());
      early_fin_ = early_fin_ || fin;
      return;
    case State::bridged:
      bridge_->on_stream_data(octets, fin);
      owner_.on_session_touched(*this);
      return;
    case State::over: connection_.credit(stream_, octets.size()); return;
  }
}

void TcpSession::take_result(Bytes octets, bool fin) {
  if (octets.empty()) {
    if (fin) stream_ended();
    return;
  }
  connection_.credit(stream_, 1);
  const auto result = wire::parse_stream_result(octets[0]);
  if (!result) {
    break_stream(wire::StreamResetCode::local_failure);
    owner_.on_session_result(*this, std::nullopt);
    return;
  }
  if (*result == wire::StreamResult::connected) {
    state_ = State::connected;
    const auto rest = octets.subspan(1);
    early_.assign(rest.begin(), rest.end());
    early_fin_ = fin;
  } else {
    connection_.finish(stream_);
    state_ = State::over;
    owner_.on_session_touched(*this);
  }
  owner_.on_session_result(*this, *result);
}

void TcpSession::stream_ended() {
  const bool was_asking = state_ == State::asking;
  break_stream(wire::StreamResetCode::local_failure);
  if (was_asking) owner_.on_session_result(*this, std::nullopt);
}

void TcpSession::on_stream_drained() {
  if (bridge_ == nullptr) return;
  bridge_->on_stream_drained();
  owner_.on_session_touched(*this);
}

void TcpSession::on_stream_reset() {
  if (state_ == State::bridged) {
    bridge_->on_stream_reset();
    owner_.on_session_touched(*this);
  } else if (state_ != State::over) {
    stream_ended();  // between result and accept(): attach() aborts the socket
  }
}

void TcpSession::on_stop_sending() {
  if (state_ == State::bridged) {
    bridge_->on_stop_sending();
    owner_.on_session_touched(*this);
  } else if (state_ != State::over) {
    stream_ended();
  }
}

void TcpSession::on_connection_closed() {
  if (bridge_ != nullptr) bridge_->on_connection_closed();
  state_ = State::over;
}

void TcpSession::on_readable() {
  if (state_ != State::bridged) return;
  bridge_->on_readable();
  owner_.on_session_touched(*this);
}

void TcpSession::on_writable() {
  if (state_ != State::bridged) return;
  bridge_->on_writable();
  owner_.on_session_touched(*this);
}

}  // namespace ztna::agent
