#include "quic/connection_impl.h"

namespace ztna::quic {

namespace {

std::size_t varint_size(std::size_t value) { return value < 64 ? 1 : value < 16384 ? 2 : 4; }

/// Largest payload of a DATAGRAM frame with length field that takes at most `frame` octets (RFC 9221 4).
std::size_t payload_of_frame(std::size_t frame) {
  for (const std::size_t length_size : {1U, 2U, 4U}) {
    if (frame < 1 + length_size) return 0;
    const auto payload = frame - 1 - length_size;
    if (varint_size(payload) <= length_size) return payload;
  }
  return 0;
}

}  // namespace

std::size_t ConnectionImpl::datagram_room(std::size_t packet_octets) const {
  const auto* params = ngtcp2_conn_get_remote_transport_params(conn_);
  if (params == nullptr || params->max_datagram_frame_size == 0) return 0;
  // Short header: flags, connection id, packet number (4 at most), and the AEAD's tag (RFC 9000 17.3, RFC 9001 5.3).
  const auto overhead = 1 + ngtcp2_conn_get_dcid(conn_)->datalen + 4 + 16;
  const auto frame = packet_octets > overhead ? packet_octets - overhead : 0;
  return payload_of_frame(static_cast<std::size_t>(std::min<std::uint64_t>(frame, params->max_datagram_frame_size)));
}

std::size_t ConnectionImpl::packet_limit() const {
  const auto* params = ngtcp2_conn_get_remote_transport_params(conn_);
  auto limit = ngtcp2_conn_get_path_max_tx_udp_payload_size(conn_);
  if (params != nullptr) limit = static_cast<std::size_t>(std::min<std::uint64_t>(limit, params->max_udp_payload_size));
  return limit;
}

std::size_t ConnectionImpl::max_datagram() const {
  if (closed() || conn_ == nullptr) return 0;
  return datagram_room(packet_limit());
}

Result<void> ConnectionImpl::send_datagram(Bytes head, Bytes body) {
  if (closed()) return fail(Errc::closed, "connection is closed");
  if (phase_ != Phase::established) return fail(Errc::closed, "connection is not established yet");
  if (head.size() > DatagramQueue::kMaxHead) return fail(Errc::too_large, "datagram head of {} octets", head.size());
  const auto largest = datagram_room(ngtcp2_conn_get_max_tx_udp_payload_size(conn_));
  if (head.size() + body.size() > largest || largest == 0) {
    return fail(Errc::too_large, "datagram of {} octets, at most {} are possible", head.size() + body.size(), largest);
  }
  if (!datagrams_->push(head, body)) return fail(Errc::exhausted, "datagram queue is full");
  owner_.touched(*this);
  return {};
}

}  // namespace ztna::quic
