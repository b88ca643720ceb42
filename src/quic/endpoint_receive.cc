// Which connection a packet belongs to, and what becomes of the others (RFC 9000 5.2).
#include <ngtcp2/ngtcp2_crypto.h>

#include "quic/endpoint_impl.h"

namespace ztna::quic {

namespace {

constexpr Duration kRetryTokenLife = 10s;  // a client answers a Retry within a round trip
constexpr Duration kNewTokenLife = 24h;
constexpr std::uint8_t kLongHeader = 0x80;
constexpr std::uint8_t kFixedBit = 0x40;
constexpr std::uint8_t kInitialType = 0x00;  // bits 0x30 of a version 1 long header (RFC 9000 17.2)

}  // namespace

PacketFate EndpointImpl::receive(const Path& path, Bytes packet, TimePoint now, PacketSink& out) {
  const auto fate = sort(path, packet, now, out);
  fates_.add(fate);
  return fate;
}

bool EndpointImpl::foreign(const Cid& dcid) const {
  return options_.workers > 1 && dcid.octets().size() == kCidLength &&
         dcid.octets()[0] % options_.workers != options_.worker;
}

bool EndpointImpl::welcome(const Path& path, TimePoint now) {
  return acceptor_ == nullptr || acceptor_->admit(path, false, now) != Acceptor::Admit::ignore;
}

PacketFate EndpointImpl::sort(const Path& path, Bytes packet, TimePoint now, PacketSink& out) {
  if (packet.empty()) return PacketFate::malformed;
  const bool long_header = (packet[0] & kLongHeader) != 0;
  ngtcp2_version_cid ids{};
  const int rv = ngtcp2_pkt_decode_version_cid(&ids, packet.data(), packet.size(), kCidLength);
  if (rv != 0 && rv != NGTCP2_ERR_VERSION_NEGOTIATION) return PacketFate::malformed;
  const bool version_negotiation = long_header && rv == 0 && ids.version == 0;
  if ((packet[0] & kFixedBit) == 0 && !version_negotiation) return PacketFate::malformed;
  if (ids.dcidlen > Cid::kMax && rv == 0) return PacketFate::malformed;

  const Cid dcid{Bytes{ids.dcid, ids.dcidlen}};
  if (ids.dcidlen <= Cid::kMax) {
    if (const auto it = by_cid_.find(dcid); it != by_cid_.end()) {
      it->second->receive(path, packet, now, true);
      return PacketFate::to_connection;
    }
  }
  if (!long_header) return unknown_short(path, packet, dcid, now, out);
  if (version_negotiation) return PacketFate::unknown_connection;
  if (rv == NGTCP2_ERR_VERSION_NEGOTIATION || ids.version != NGTCP2_PROTO_VER_V1) {
    if (acceptor_ == nullptr) return PacketFate::unknown_connection;
    if (packet.size() < NGTCP2_MAX_UDP_PAYLOAD_SIZE) return PacketFate::malformed;
    if (!welcome(path, now)) return PacketFate::not_welcome;
    if (!negotiations_.take(now, 1000, 1000)) return PacketFate::unknown_connection;
    return send_version_negotiation(path, {ids.dcid, ids.dcidlen}, {ids.scid, ids.scidlen}, out)
               ? PacketFate::version_negotiation_sent
               : PacketFate::malformed;
  }
  if ((packet[0] & 0x30U) != kInitialType) {
    // Handshake packets carry an id that we gave out; 0-RTT ones a made-up id, and we take none.
    const bool zero_rtt = (packet[0] & 0x30U) == 0x10;
    return foreign(dcid) && !zero_rtt ? PacketFate::foreign_worker : PacketFate::unknown_connection;
  }
  if (acceptor_ == nullptr) return PacketFate::unknown_connection;
  return initial(path, packet, now, out);
}

PacketFate EndpointImpl::unknown_short(const Path& path, Bytes packet, const Cid& dcid, TimePoint now,
                                       PacketSink& out) {
  // A stateless reset ends with a token and begins with what looks like any connection id (RFC 9000 10.3).
  if (packet.size() >= NGTCP2_MIN_STATELESS_RESET_RANDLEN + NGTCP2_STATELESS_RESET_TOKENLEN &&
      !by_peer_token_.empty()) {
    ResetToken token{};
    std::copy_n(packet.end() - token.size(), token.size(), token.begin());
    if (const auto it = by_peer_token_.find(token); it != by_peer_token_.end()) {
      it->second->receive(path, packet, now, false);
      return PacketFate::to_connection;
    }
  }
  if (foreign(dcid)) return PacketFate::foreign_worker;
  if (!options_.send_stateless_reset) return PacketFate::unknown_connection;
  if (!welcome(path, now)) return PacketFate::not_welcome;
  return send_reset(path, dcid, packet.size(), now, out) ? PacketFate::stateless_reset_sent
                                                         : PacketFate::unknown_connection;
}

PacketFate EndpointImpl::initial(const Path& path, Bytes packet, TimePoint now, PacketSink& out) {
  ngtcp2_pkt_hd header{};
  if (ngtcp2_accept(&header, packet.data(), packet.size()) != 0) return PacketFate::malformed;
  // The client chose the id (8 octets at least, RFC 9000 7.2), unless it is that of our Retry.
  if (header.dcid.datalen < NGTCP2_MIN_INITIAL_DCIDLEN) return PacketFate::malformed;
  const auto token = check_token(path, header, now);
  const auto verdict = acceptor_->admit(path, token.validated, now);
  if (verdict == Acceptor::Admit::ignore) return PacketFate::not_welcome;
  if (token.retry) (token.validated ? retry_tokens_validated_ : retry_token_failures_).add();
  if (token.forged) {
    send_refusal(path, header, NGTCP2_INVALID_TOKEN, "invalid Retry token", out);  // RFC 9000 8.1.3
    return PacketFate::bad_token;
  }
  const bool crowded = handshakes_ >= options_.max_handshakes;
  if (!token.validated && (verdict == Acceptor::Admit::retry || crowded)) {
    return send_retry(path, header, now, out) ? PacketFate::retry_sent : PacketFate::malformed;
  }
  if (crowded || connections_.size() >= options_.max_connections) {
    send_refusal(path, header, NGTCP2_CONNECTION_REFUSED, "too many connections", out);
    return PacketFate::not_welcome;
  }
  return accept(path, packet, header, token, now, out);
}

EndpointImpl::Token EndpointImpl::check_token(const Path& path, const ngtcp2_pkt_hd& header, TimePoint now) {
  Token result;
  if (header.tokenlen == 0) return result;
  ngtcp2_path_storage storage;
  to_storage(path, storage);
  const auto& remote = storage.path.remote;
  const auto& secret = options_.token_secret;
  if (header.token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2) {
    result.retry = true;
    ngtcp2_cid original;
    const int rv = ngtcp2_crypto_verify_retry_token2(
        &original, header.token, header.tokenlen, secret.data(), secret.size(), header.version, remote.addr,
        remote.addrlen, &header.dcid, static_cast<std::uint64_t>(Duration{kRetryTokenLife}.count()), to_ts(now));
    result.validated = rv == 0;
    result.forged = rv != 0;
    if (rv == 0) result.original_dcid = from_ngtcp2(original);
  } else if (header.token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_REGULAR) {
    // One that does not hold counts as none (RFC 9000 8.1.3): the address may have changed honestly.
    result.validated = ngtcp2_crypto_verify_regular_token(
                           header.token, header.tokenlen, secret.data(), secret.size(), remote.addr, remote.addrlen,
                           static_cast<std::uint64_t>(Duration{kNewTokenLife}.count()), to_ts(now)) == 0;
  }
  return result;
}

PacketFate EndpointImpl::accept(const Path& path, Bytes packet, const ngtcp2_pkt_hd& header, const Token& token,
                                TimePoint now, PacketSink& out) {
  auto& connection = adopt(std::make_unique<ConnectionImpl>(static_cast<ConnectionOwner&>(*this), true, path));
  auto accepted = acceptor_->accept(connection, path, now);
  const auto refuse = [&](std::string_view why) {
    drop(connection);
    send_refusal(path, header, NGTCP2_CONNECTION_REFUSED, why, out);
    return PacketFate::not_welcome;
  };
  if (!accepted) return refuse(accepted.error().text);
  if (connection.closed()) return refuse("refused");
  auto tls = std::dynamic_pointer_cast<const TlsContextImpl>(accepted->tls);
  if (!tls || tls->side() != Side::server || accepted->handler == nullptr) return refuse("internal error");

  ConnectionImpl::Start start;
  start.tls = std::move(tls);
  start.transport = accepted->transport;
  start.now = now;
  start.version = header.version;
  start.client_scid = from_ngtcp2(header.scid);
  start.client_dcid = from_ngtcp2(header.dcid);
  start.original_dcid = token.original_dcid;
  start.token_from_retry = token.retry;
  if (token.validated) start.token = {header.token, header.tokenlen};
  if (auto ok = connection.start(start, *accepted->handler); !ok) {
    accepted->handler->on_closed({CloseReason::By::failed, false, NGTCP2_INTERNAL_ERROR, ok.error().text});
    return refuse("internal error");
  }
  connection.receive(path, packet, now, true);
  return PacketFate::accepted;
}

}  // namespace ztna::quic
