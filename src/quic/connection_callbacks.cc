// What ngtcp2 calls from inside read_pkt, handle_expiry and the write functions. Nothing here sends, migrates or
// deletes.
#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>

#include "quic/connection_impl.h"
#include "quic/frame_scan.h"

namespace ztna::quic {

namespace {

/// What is learned by decrypting the packet that is being read on this thread; ngtcp2 gives the callback no connection.
struct Reading {
  std::vector<StopSending>* stop_requests;
  bool* authentic;
};
thread_local Reading* reading = nullptr;

int decrypt(std::uint8_t* out, const ngtcp2_crypto_aead* aead, const ngtcp2_crypto_aead_ctx* context,
            const std::uint8_t* in, std::size_t size, const std::uint8_t* nonce, std::size_t nonce_size,
            const std::uint8_t* header, std::size_t header_size) {
  const int rv = ngtcp2_crypto_decrypt_cb(out, aead, context, in, size, nonce, nonce_size, header, header_size);
  const bool one_rtt = header_size > 0 && (header[0] & 0x80U) == 0;
  if (rv == 0 && one_rtt && reading != nullptr && size > aead->max_overhead) {
    *reading->authentic = true;
    find_stop_sending({out, size - aead->max_overhead}, *reading->stop_requests);
  }
  return rv;
}

ConnectionImpl& self(void* user_data) { return *static_cast<ConnectionImpl*>(user_data); }

}  // namespace

const ngtcp2_callbacks& ConnectionImpl::callbacks() {
  static const ngtcp2_callbacks kCallbacks = [] {
    ngtcp2_callbacks c{};
    c.client_initial = ngtcp2_crypto_client_initial_cb;
    c.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
    c.recv_retry = ngtcp2_crypto_recv_retry_cb;
    c.encrypt = ngtcp2_crypto_encrypt_cb;
    c.decrypt = decrypt;
    c.hp_mask = ngtcp2_crypto_hp_mask_cb;
    c.update_key = ngtcp2_crypto_update_key_cb;
    c.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
    c.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
    c.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
    c.rand = [](std::uint8_t* out, std::size_t size, const ngtcp2_rand_ctx* context) {
      static_cast<Random*>(context->native_handle)->fill({out, size});
    };
    c.get_path_challenge_data = [](ngtcp2_conn*, std::uint8_t* data, void* user) {
      self(user).owner_.random().fill({data, NGTCP2_PATH_CHALLENGE_DATALEN});
      return 0;
    };
    c.recv_crypto_data = [](ngtcp2_conn*, ngtcp2_encryption_level level, std::uint64_t, const std::uint8_t* data,
                            std::size_t size, void* user) {
      auto& c0 = self(user);
      const int rv = c0.tls_->receive(level, {data, size});
      if (rv == 0 && level == NGTCP2_ENCRYPTION_LEVEL_1RTT && !c0.server_) {
        if (auto session = c0.tls_->take_session(); !session.empty()) {
          c0.defer([&c0, session = std::move(session)] { c0.handler_->on_session(session); });
        }
      }
      return rv;
    };
    c.handshake_completed = [](ngtcp2_conn*, void* user) { return self(user).on_handshake_completed(); };
    c.handshake_confirmed = [](ngtcp2_conn*, void* user) {
      self(user).confirmed_ = true;
      return 0;
    };
    c.get_new_connection_id = [](ngtcp2_conn*, ngtcp2_cid* cid, std::uint8_t* token, std::size_t, void* user) {
      auto& c0 = self(user);
      const auto id = c0.owner_.new_cid(c0);
      c0.cids_.push_back(id);
      *cid = to_ngtcp2(id);
      std::ranges::copy(c0.owner_.reset_token(id), token);
      return 0;
    };
    c.remove_connection_id = [](ngtcp2_conn*, const ngtcp2_cid* cid, void* user) {
      auto& c0 = self(user);
      const auto id = from_ngtcp2(*cid);
      c0.owner_.remove_cid(id, c0);
      std::erase(c0.cids_, id);
      return 0;
    };
    c.dcid_status = [](ngtcp2_conn*, ngtcp2_connection_id_status_type type, std::uint64_t, const ngtcp2_cid*,
                       const std::uint8_t* token, void* user) {
      if (token != nullptr) self(user).on_dcid_status(type == NGTCP2_CONNECTION_ID_STATUS_TYPE_ACTIVATE, token);
      return 0;
    };
    c.recv_stateless_reset = [](ngtcp2_conn*, const ngtcp2_pkt_stateless_reset*, void* user) {
      self(user).stateless_reset_ = true;
      return 0;
    };
    c.recv_new_token = [](ngtcp2_conn*, const std::uint8_t* token, std::size_t size, void* user) {
      auto& c0 = self(user);
      c0.defer([&c0, copy = ByteVector(token, token + size)] { c0.handler_->on_new_token(copy); });
      return 0;
    };
    c.stream_open = [](ngtcp2_conn*, std::int64_t id, void* user) { return self(user).on_stream_open(id); };
    c.recv_stream_data = [](ngtcp2_conn*, std::uint32_t flags, std::int64_t id, std::uint64_t, const std::uint8_t* data,
                            std::size_t size, void* user, void*) {
      return self(user).on_stream_data(flags, id, {data, size});
    };
    c.acked_stream_data_offset = [](ngtcp2_conn*, std::int64_t, std::uint64_t offset, std::uint64_t size, void* user,
                                    void* stream) {
      if (stream != nullptr) self(user).on_stream_acknowledged(*static_cast<Stream*>(stream), offset + size);
      return 0;
    };
    c.ack_datagram = [](ngtcp2_conn*, std::uint64_t id, void* user) {
      self(user).watch_.datagram_acknowledged(id);
      return 0;
    };
    c.lost_datagram = [](ngtcp2_conn*, std::uint64_t id, void* user) {
      self(user).watch_.datagram_lost(id);
      return 0;
    };
    c.stream_close = [](ngtcp2_conn*, std::uint32_t, std::int64_t id, std::uint64_t, void* user, void*) {
      return self(user).on_stream_close(id);
    };
    c.stream_reset = [](ngtcp2_conn*, std::int64_t id, std::uint64_t, std::uint64_t code, void* user, void*) {
      auto& c0 = self(user);
      c0.tell(0, [&c0, id, code] { c0.handler_->on_stream_reset(StreamId{id}, code); });
      return 0;
    };
    c.extend_max_stream_data = [](ngtcp2_conn*, std::int64_t, std::uint64_t, void* user, void* stream) {
      auto* s = static_cast<Stream*>(stream);
      if (s != nullptr && s->blocked) self(user).make_ready(*s);
      return 0;
    };
    c.extend_max_local_streams_bidi = [](ngtcp2_conn*, std::uint64_t, void* user) {
      auto& c0 = self(user);
      if (c0.phase_ == Phase::established) c0.defer([&c0] { c0.handler_->on_streams_available(); });
      return 0;
    };
    c.recv_datagram = [](ngtcp2_conn*, std::uint32_t, const std::uint8_t* data, std::size_t size, void* user) {
      return self(user).on_datagram({data, size});
    };
    c.path_validation = [](ngtcp2_conn*, std::uint32_t, const ngtcp2_path* path, const ngtcp2_path*,
                           ngtcp2_path_validation_result result,
                           void* user) { return self(user).on_path_validation(*path, result); };
    return c;
  }();
  return kCallbacks;
}

int ConnectionImpl::read_packet(const ngtcp2_path& path, Bytes packet) {
  stop_requests_.clear();
  authentic_ = false;
  const auto in_flight = octets_in_flight();
  Reading now_reading{&stop_requests_, &authentic_};
  reading = &now_reading;
  in_library_ = true;
  const int rv = ngtcp2_conn_read_pkt(conn_, &path, nullptr, packet.data(), packet.size(), now_);
  in_library_ = false;
  reading = nullptr;
  if (authentic_ && !closed()) {
    const auto left = octets_in_flight();
    // An acknowledgement may come by another path than what it acknowledges; what else comes there says nothing of this
    // one.
    if (left < in_flight || ngtcp2_path_eq(&path, ngtcp2_conn_get_path(conn_)) != 0) {
      watch_.heard(from_ts(now_), left < in_flight, left);
    }
  }
  for (const auto& request : stop_requests_) {
    if (auto* stream = find(StreamId{request.stream}); stream != nullptr && !stream->stopped) {
      stream->stopped = true;
      sending_stopped(*stream);
      tell(64, [this, request] { handler_->on_stop_sending(StreamId{request.stream}, request.code); });
    }
  }
  return rv;
}

int ConnectionImpl::on_handshake_completed() {
  if (!tls_->finish()) return NGTCP2_ERR_CALLBACK_FAILURE;
  if (!server_) return 0;
  confirmed_ = true;  // RFC 9001 4.1.2: a server's handshake is confirmed when it is complete
  tls_->send_ticket();
  const auto token = owner_.new_token(path_.remote, from_ts(now_));
  if (!token.empty()) return ngtcp2_conn_submit_new_token(conn_, token.data(), token.size());
  return 0;
}

int ConnectionImpl::on_stream_open(std::int64_t id) {
  auto stream = std::make_unique<Stream>(unsent_total_);
  stream->id = StreamId{id};
  if (id == 0) control_ = stream.get();
  ngtcp2_conn_set_stream_user_data(conn_, id, stream.get());
  streams_.emplace(id, std::move(stream));
  tell(64, [this, id] { handler_->on_stream_opened(StreamId{id}); });
  return 0;
}

int ConnectionImpl::on_stream_data(std::uint32_t flags, std::int64_t id, Bytes data) {
  ngtcp2_conn_extend_max_offset(conn_, data.size());
  watch_.payload(from_ts(now_));
  auto* stream = find(StreamId{id});
  if (stream == nullptr || handler_ == nullptr) return 0;
  stream->uncredited += data.size();
  const bool fin = (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0;
  if (phase_ == Phase::established) {
    handler_->on_stream_data(StreamId{id}, data, fin);
  } else {
    tell(data.size() + 64, [this, id, fin, copy = ByteVector(data.begin(), data.end())] {
      handler_->on_stream_data(StreamId{id}, copy, fin);
    });
  }
  return 0;
}

int ConnectionImpl::on_stream_close(std::int64_t id) {
  const auto it = streams_.find(id);
  if (it == streams_.end()) return 0;
  lost_packets_of_closed_streams_ += ngtcp2_conn_get_stream_loss_count(conn_, id);
  unready(*it->second);
  if (control_ == it->second.get()) control_ = nullptr;
  streams_.erase(it);
  if (ngtcp2_conn_is_local_stream(conn_, id) == 0) ngtcp2_conn_extend_max_streams_bidi(conn_, 1);
  tell(64, [this, id] { handler_->on_stream_closed(StreamId{id}); });
  return 0;
}

int ConnectionImpl::on_datagram(Bytes data) {
  watch_.payload(from_ts(now_));
  if (handler_ == nullptr) return 0;
  if (phase_ == Phase::established) {
    handler_->on_datagram(data);
  } else {
    tell(data.size() + 64, [this, copy = ByteVector(data.begin(), data.end())] { handler_->on_datagram(copy); });
  }
  return 0;
}

void ConnectionImpl::on_stream_acknowledged(Stream& stream, std::uint64_t end) {
  stream.out.acknowledge(end);
  if (stream.large_end == 0 || end < stream.large_end) return;
  stream.large_end = 0;
  watch_.stretch_acknowledged();
}

int ConnectionImpl::on_path_validation(const ngtcp2_path& raw, int result) {
  if (server_) {
    if (result != NGTCP2_PATH_VALIDATION_RESULT_SUCCESS) return 0;
    if (const auto real = real_path(raw)) {
      // Whether it is the current one is known when ngtcp2 has returned.
      defer([this, path = *real] {
        check_path();
        if (path == path_) tell_proved(path);
      });
    }
    return 0;
  }
  const auto path = from_ngtcp2(raw);
  if (!validating_ || *validating_ != path) return 0;
  validating_.reset();
  const bool ok = result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS;
  defer([this, path, ok] { handler_->on_path_validated(path, ok); });
  return 0;
}

void ConnectionImpl::on_dcid_status(bool active, const std::uint8_t* octets) {
  ResetToken token{};
  std::copy_n(octets, token.size(), token.begin());
  if (active) {
    peer_tokens_.push_back(token);
    owner_.add_peer_token(token, *this);
  } else {
    owner_.remove_peer_token(token, *this);
    std::erase(peer_tokens_, token);
  }
}

}  // namespace ztna::quic
