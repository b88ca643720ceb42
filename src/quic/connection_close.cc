// How a connection ends (RFC 9000 section 10).
#include <algorithm>

#include "quic/connection_impl.h"

namespace ztna::quic {

namespace {

constexpr std::size_t kMaxReason = 256;

/// A reason phrase is a stranger's text that ends up in logs.
std::string printable(const std::uint8_t* text, std::size_t size) {
  std::string out;
  for (std::size_t i = 0; i < std::min(size, kMaxReason); ++i) {
    out += text[i] >= 0x20 && text[i] < 0x7F ? static_cast<char>(text[i]) : '?';
  }
  return out;
}

}  // namespace

void ConnectionImpl::fail_with(int rv) {
  using By = CloseReason::By;
  switch (rv) {
    case NGTCP2_ERR_DRAINING:
      if (stateless_reset_) {
        enter_draining({By::stateless_reset, false, 0, "the peer has lost the connection"});
      } else {
        enter_draining(peers_reason());
      }
      return;
    case NGTCP2_ERR_IDLE_CLOSE: vanish({By::idle, false, 0, "idle timeout"}); return;
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT: vanish({By::failed, false, 0, "handshake timed out"}); return;
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION: vanish({By::failed, false, 0, "no common QUIC version"}); return;
    case NGTCP2_ERR_CLOSING:
    case NGTCP2_ERR_RETRY:
    case NGTCP2_ERR_DROP_CONN: vanish({By::failed, false, 0, "dropped"}); return;
    default: break;
  }
  std::uint64_t code = ngtcp2_err_infer_quic_transport_error_code(rv);
  std::string text = ngtcp2_strerror(rv);
  if (const auto& why = tls_->failure(); why) {
    code = NGTCP2_CRYPTO_ERROR | why->alert;
    text = why->text;
  }
  text.resize(std::min(text.size(), kMaxReason));
  enter_closing({By::failed, false, code, text}, false, code, text);
}

CloseReason ConnectionImpl::peers_reason() const {
  const auto* error = ngtcp2_conn_get_ccerr(conn_);
  CloseReason reason;
  reason.by = CloseReason::By::peer;
  reason.application = error->type == NGTCP2_CCERR_TYPE_APPLICATION;
  reason.code = error->error_code;
  reason.text = printable(error->reason, error->reasonlen);
  return reason;
}

void ConnectionImpl::close(std::uint64_t code, std::string_view text) {
  if (closed()) return;
  if (conn_ == nullptr) {  // inside Acceptor::accept
    vanish({CloseReason::By::local, true, code, std::string{text}});
    return;
  }
  const std::string cut{text.substr(0, kMaxReason)};
  enter_closing({CloseReason::By::local, true, code, cut}, true, code, cut);
}

void ConnectionImpl::enter_closing(const CloseReason& reason, bool application, std::uint64_t code, std::string text) {
  const bool was_handshake = phase_ == Phase::handshake;
  phase_ = Phase::closing;
  if (was_handshake) owner_.handshake_over(*this);
  close_application_ = application;
  close_code_ = code;
  close_text_ = std::move(text);
  close_unsent_ = true;
  end_ = kNever;  // until the packet leaves: close() is not told the time
  owner_.touched(*this);
  tell_closed(reason);
}

void ConnectionImpl::enter_draining(const CloseReason& reason) {
  const bool was_handshake = phase_ == Phase::handshake;
  phase_ = Phase::draining;
  if (was_handshake) owner_.handshake_over(*this);
  end_ = from_ts(now_ + 3 * ngtcp2_conn_get_pto(conn_));
  owner_.touched(*this);
  tell_closed(reason);
}

void ConnectionImpl::vanish(const CloseReason& reason) {
  const bool was_handshake = phase_ == Phase::handshake;
  phase_ = Phase::gone;
  if (was_handshake) owner_.handshake_over(*this);
  owner_.touched(*this);
  tell_closed(reason);
}

void ConnectionImpl::tell_closed(const CloseReason& reason) {
  auto* handler = handler_;
  handler_ = nullptr;
  early_.clear();
  if (datagrams_) count_dropped(datagrams_->clear());
  if (handler != nullptr) handler->on_closed(reason);
}

void ConnectionImpl::send_close(TimePoint now, PacketSink& sink, PacketBatch& batch) {
  if (!close_unsent_) return;
  close_unsent_ = false;
  const auto ts = advance(now);
  if (close_packet_.empty()) {
    ngtcp2_ccerr error;
    const auto* text = reinterpret_cast<const std::uint8_t*>(close_text_.data());
    if (close_application_) {
      ngtcp2_ccerr_set_application_error(&error, close_code_, text, close_text_.size());
    } else {
      ngtcp2_ccerr_set_transport_error(&error, close_code_, text, close_text_.size());
    }
    std::array<std::uint8_t, NGTCP2_MAX_UDP_PAYLOAD_SIZE> packet{};
    ngtcp2_path_storage_zero(&out_path_);
    const auto n =
        ngtcp2_conn_write_connection_close(conn_, &out_path_.path, nullptr, packet.data(), packet.size(), &error, ts);
    if (n <= 0) {  // nothing was exchanged yet, or no key: the peer will time out
      phase_ = Phase::gone;
      return;
    }
    close_packet_.assign(packet.begin(), packet.begin() + n);
    path_ = real_path(out_path_.path).value_or(path_);
    end_ = from_ts(ts + 3 * ngtcp2_conn_get_pto(conn_));  // RFC 9000 10.2
  }
  const auto space = batch.space(sink.headroom(path_), close_packet_.size(), sink);
  std::ranges::copy(close_packet_, space.begin());
  batch.add(path_, close_packet_.size(), sink);
  ++stats_.packets_sent;
  stats_.bytes_sent += close_packet_.size();
}

}  // namespace ztna::quic
