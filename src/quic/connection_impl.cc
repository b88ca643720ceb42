#include "quic/connection_impl.h"

#include <algorithm>

namespace ztna::quic {

namespace {

// Payload sizes that PMTUD tries below the largest one: room for the relay header, then for PPPoE, VPNs and the IPv6
// minimum.
constexpr std::array<std::uint16_t, 8> kProbes{8972, 4000, 1442, 1420, 1400, 1350, 1300, 1250};
constexpr std::uint64_t kConnectionIds = 8;  // fewer run out within a few quick migrations
constexpr std::size_t kMaxEarlyOctets = 1U << 20U;

void fill_random(std::uint8_t* out, std::size_t size, const ngtcp2_rand_ctx* context) {
  static_cast<Random*>(context->native_handle)->fill({out, size});
}

}  // namespace

ConnectionImpl::ConnectionImpl(ConnectionOwner& owner, bool server, const Path& path)
    : owner_(owner), server_(server), path_(path), proved_{path} {
  to_storage(path_, path_raw_);
  ngtcp2_path_storage_zero(&out_path_);
}

ConnectionImpl::~ConnectionImpl() {
  tls_.reset();
  if (conn_ != nullptr) ngtcp2_conn_del(conn_);
}

Result<void> ConnectionImpl::start(const Start& start, ConnectionHandler& handler) {
  handler_ = &handler;
  transport_ = start.transport;
  datagrams_.emplace(transport_.datagram_queue_bytes);
  now_ = to_ts(start.now);

  TlsSession::Settings tls;
  tls.context = start.tls;
  tls.server_name = start.server_name;
  tls.check_name = start.check_name;
  tls.session = start.session;
  tls.verify_leaf = [this](Bytes leaf) -> Result<void> {
    if (handler_ == nullptr) return fail(Errc::closed, "closed");
    return handler_->verify_peer(leaf);
  };
  auto session = TlsSession::create(std::move(tls));
  if (!session) return fail(session.error());
  tls_ = std::move(*session);
  if (auto ok = create_conn(start); !ok) return ok;
  tls_->attach(conn_);
  if (transport_.keep_alive > 0s) {
    ngtcp2_conn_set_keep_alive_timeout(conn_, static_cast<std::uint64_t>(transport_.keep_alive.count()));
  }
  watch_.begin(start.now);
  owner_.touched(*this);
  return {};
}

Result<void> ConnectionImpl::create_conn(const Start& start) {
  ngtcp2_settings settings;
  ngtcp2_settings_default(&settings);
  settings.initial_ts = now_;
  settings.initial_rtt = static_cast<std::uint64_t>(transport_.initial_rtt.count());
  settings.handshake_timeout = static_cast<std::uint64_t>(transport_.handshake_timeout.count());
  settings.rand_ctx.native_handle = &owner_.random();
  settings.max_tx_udp_payload_size =
      std::clamp<std::size_t>(transport_.max_udp_payload, NGTCP2_MAX_UDP_PAYLOAD_SIZE, 65'000);
  std::vector<std::uint16_t> probes;
  if (settings.max_tx_udp_payload_size > NGTCP2_MAX_UDP_PAYLOAD_SIZE) {
    probes.push_back(static_cast<std::uint16_t>(settings.max_tx_udp_payload_size));
    for (const auto p : kProbes) {
      if (p < probes.front()) probes.push_back(p);
    }
    settings.pmtud_probes = probes.data();
    settings.pmtud_probeslen = probes.size();
  }
  settings.token = start.token.data();
  settings.tokenlen = start.token.size();
  if (!start.token.empty()) {
    settings.token_type = server_ && start.token_from_retry ? NGTCP2_TOKEN_TYPE_RETRY : NGTCP2_TOKEN_TYPE_NEW_TOKEN;
  }

  ngtcp2_transport_params params;
  ngtcp2_transport_params_default(&params);
  params.initial_max_stream_data_bidi_local = transport_.stream_window;
  params.initial_max_stream_data_bidi_remote = transport_.stream_window;
  params.initial_max_data = transport_.connection_window;
  params.initial_max_streams_bidi = transport_.max_peer_streams;
  params.initial_max_streams_uni = 0;
  params.max_idle_timeout = static_cast<std::uint64_t>(transport_.idle_timeout.count());
  params.active_connection_id_limit = kConnectionIds;
  params.max_datagram_frame_size = transport_.datagrams ? 65535 : 0;

  const auto scid = owner_.new_cid(*this);
  cids_.push_back(scid);
  const auto our_id = to_ngtcp2(scid);
  const auto& hooks = callbacks();
  int rv = 0;
  if (server_) {
    params.original_dcid = to_ngtcp2(start.original_dcid.value_or(start.client_dcid));
    params.original_dcid_present = 1;
    if (start.original_dcid) {
      params.retry_scid = to_ngtcp2(start.client_dcid);
      params.retry_scid_present = 1;
    }
    const auto token = owner_.reset_token(scid);
    std::ranges::copy(token, params.stateless_reset_token);
    params.stateless_reset_token_present = 1;
    const auto peer_id = to_ngtcp2(start.client_scid);
    // Until the client has learned our id, its packets carry the one that it made up.
    owner_.add_cid(start.client_dcid, *this);
    cids_.push_back(start.client_dcid);
    rv = ngtcp2_conn_server_new(&conn_, &peer_id, &our_id, &path_raw_.path, start.version, &hooks, &settings, &params,
                                nullptr, this);
  } else {
    ngtcp2_cid made_up;
    made_up.datalen = 18;
    fill_random(made_up.data, made_up.datalen, &settings.rand_ctx);
    rv = ngtcp2_conn_client_new(&conn_, &made_up, &our_id, &path_raw_.path, NGTCP2_PROTO_VER_V1, &hooks, &settings,
                                &params, nullptr, this);
  }
  if (rv != 0) return fail(Errc::internal, "QUIC connection: {}", ngtcp2_strerror(rv));
  return {};
}

std::uint64_t ConnectionImpl::advance(TimePoint now) {
  now_ = std::max(now_, to_ts(now));
  return now_;
}

void ConnectionImpl::receive(const Path& path, Bytes packet, TimePoint now, bool addressed) {
  if (phase_ == Phase::closing) {
    // RFC 9000 10.2.1: answered ever more rarely.
    ++close_packets_in_;
    if ((close_packets_in_ & (close_packets_in_ - 1)) == 0) {
      close_unsent_ = true;
      owner_.touched(*this);
    }
    return;
  }
  if (closed() || packet.empty()) return;
  advance(now);
  ++stats_.packets_received;
  stats_.bytes_received += packet.size();

  if (server_ && addressed && (packet[0] & 0x80U) == 0 && packet.size() > kCidLength) {
    const Cid id{packet.subspan(1, kCidLength)};
    const auto* known = aliases_.find(path, id);
    const auto& entry = known != nullptr ? *known : aliases_.add(path, id, in_flight_is_late());
    const int rv = read_packet(entry.shown.path, packet);
    if (authentic_) aliases_.keep(*ngtcp2_conn_get_path(conn_));
    after_library(rv);
  } else if (const auto known = known_path(path); known == path_) {
    after_library(read_packet(path_raw_.path, packet));
  } else {
    ngtcp2_path_storage storage;
    to_storage(known, storage);
    after_library(read_packet(storage.path, packet));
  }
  owner_.touched(*this);
}

void ConnectionImpl::after_library(int rv) {
  if (rv != 0 && !closed()) fail_with(rv);
  if (!closed()) check_path();
  run_deferred();
  if (!closed() && early_octets_ > kMaxEarlyOctets) {
    enter_closing(
        {CloseReason::By::failed, false, NGTCP2_INTERNAL_ERROR, "too much data before the handshake was confirmed"},
        false, NGTCP2_INTERNAL_ERROR, "too much data before the handshake was confirmed");
  }
}

void ConnectionImpl::count_dropped(std::size_t datagrams) {
  if (datagrams == 0) return;
  stats_.datagrams_dropped += datagrams;
  owner_.datagrams_dropped(datagrams);
}

/// A client's local address is only a name, which each migration changes (ngtcp2 wants another one); who brings the
/// packet need not know it. So it is the remote address that tells a client's paths apart.
Path ConnectionImpl::known_path(const Path& came_on) const {
  if (server_) return came_on;
  if (came_on.remote == path_.remote) return path_;
  if (validating_ && came_on.remote == validating_->remote) return *validating_;
  return came_on;
}

void ConnectionImpl::defer(std::function<void()> event) { deferred_.push_back(std::move(event)); }

void ConnectionImpl::run_deferred() {
  if (confirmed_ && phase_ == Phase::handshake) confirm();
  while (!deferred_.empty() && !closed()) {
    auto events = std::move(deferred_);
    deferred_.clear();
    for (auto& event : events) {
      if (closed()) break;
      event();
    }
  }
  if (closed()) deferred_.clear();
}

void ConnectionImpl::confirm() {
  phase_ = Phase::established;
  owner_.handshake_over(*this);
  handler_->on_established();
  auto events = std::move(early_);
  early_ = {};
  early_octets_ = 0;
  for (auto& event : events) {
    if (closed()) break;
    event();
  }
}

TimePoint ConnectionImpl::deadline() const {
  switch (phase_) {
    case Phase::closing:
    case Phase::draining: return end_;
    case Phase::gone: return kNever;
    default: return std::min(from_ts(ngtcp2_conn_get_expiry(conn_)), datagrams_->deadline());
  }
}

void ConnectionImpl::on_deadline(TimePoint now) {
  if (phase_ == Phase::closing || phase_ == Phase::draining) {
    if (now >= end_) phase_ = Phase::gone;
    return;
  }
  if (phase_ == Phase::gone) return;
  const auto ts = advance(now);
  count_dropped(datagrams_->expire(now));
  if (ngtcp2_conn_get_expiry(conn_) > ts) return;
  in_library_ = true;
  const int rv = ngtcp2_conn_handle_expiry(conn_, ts);
  in_library_ = false;
  after_library(rv);
}

ConnectionStats ConnectionImpl::stats() const {
  auto out = stats_;
  if (conn_ == nullptr) return out;
  ngtcp2_conn_info info{};
  ngtcp2_conn_get_conn_info(conn_, &info);
  const auto duration = [](std::uint64_t d) {
    return d == UINT64_MAX ? Duration{} : Duration{static_cast<std::int64_t>(d)};
  };
  out.smoothed_rtt = duration(info.smoothed_rtt);
  out.min_rtt = duration(info.min_rtt);
  out.latest_rtt = duration(info.latest_rtt);
  out.congestion_window = info.cwnd;
  out.bytes_in_flight = info.bytes_in_flight;
  out.max_udp_payload = ngtcp2_conn_get_path_max_tx_udp_payload_size(conn_);
  out.packets_lost = lost_packets_of_closed_streams_;
  for (const auto& [id, stream] : streams_) out.packets_lost += ngtcp2_conn_get_stream_loss_count(conn_, id);
  out.data_packets_sent = watch_.data_packets_sent();
  out.datagram_packets_lost = watch_.datagram_packets_lost();
  return out;
}

Result<void> ConnectionImpl::export_key(std::string_view label, Bytes context, MutableBytes out) {
  if (phase_ != Phase::established) return fail(Errc::crypto, "no exporter before the handshake is confirmed");
  return tls_->export_key(label, context, out);
}

}  // namespace ztna::quic
