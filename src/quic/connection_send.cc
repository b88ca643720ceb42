// Packets out: what goes into each, and how many leave at once.
#include <algorithm>
#include <utility>

#include "quic/connection_impl.h"

namespace ztna::quic {

namespace {

constexpr unsigned kDatagramPacketsInARow =
    16;                             // then one packet for the streams that wait: datagrams do not starve them
constexpr std::size_t kSmall = 96;  // octets of room that are worth trying another frame

ngtcp2_vec view(Bytes data) { return {const_cast<std::uint8_t*>(data.data()), data.size()}; }

}  // namespace

bool ConnectionImpl::send(TimePoint now, PacketSink& sink, PacketBatch& batch) {
  if (phase_ == Phase::closing) send_close(now, sink, batch);
  if (closed()) return false;
  advance(now);
  count_dropped(datagrams_->expire(now));
  retry_blocked();
  const auto largest = ngtcp2_conn_get_max_tx_udp_payload_size(conn_);
  const auto quantum = send_quantum();
  packet_room_ = packet_limit();
  datagram_room_ = datagram_room(packet_room_);
  std::size_t sent = 0;
  bool more = false;
  bool waits = false;  // a packet left on the current path that will be acknowledged if the path is alive
  auto in_flight = octets_in_flight();
  while (sink.writable()) {
    if (sent >= quantum) {
      more = true;
      break;
    }
    const auto out = batch.space(sink.headroom(path_), largest, sink);
    in_library_ = true;
    auto n = write_packet(out);
    if (n == 0 && ping_wanted_) n = write_ping(out);
    in_library_ = false;
    if (n < 0) {
      after_library(static_cast<int>(n));
      break;
    }
    if (n == 0) break;
    const auto size = static_cast<std::size_t>(n);
    if (const auto to = real_path(out_path_.path); to) batch.add(*to, size, sink);
    sent += size;
    ++stats_.packets_sent;
    stats_.bytes_sent += size;
    if (const auto stretch = watch_.sent(size, from_ts(now_)); stretch) follow(*stretch);
    const auto before = std::exchange(in_flight, octets_in_flight());
    const bool mtu_probe = size > packet_room_;
    waits = waits || (in_flight > before && !mtu_probe && ngtcp2_path_eq(&out_path_.path, &path_raw_.path) != 0);
  }
  if (!closed()) {
    ngtcp2_conn_update_pkt_tx_time(conn_, now_);
    watch_.in_flight(octets_in_flight(), waits, from_ts(now_));
  }
  after_library(0);
  if (phase_ == Phase::closing) send_close(now, sink, batch);
  if (closed()) return false;
  // Pacing that lags behind lets the next quantum leave at once.
  return more && ngtcp2_conn_get_expiry(conn_) <= now_;
}

void ConnectionImpl::follow(const PathWatch::Stretch& stretch) {
  if (auto* stream = find(StreamId{stretch.stream}); stream != nullptr && stream->large_end == 0)
    stream->large_end = stretch.end;
}

std::size_t ConnectionImpl::send_quantum() const {
  // ngtcp2's CUBIC says 10 packets whatever the rate. What leaves within a millisecond at the paced rate may go as one
  // row: timers are no finer, and rows (GSO) are the greatest lever on speed.
  constexpr std::size_t kLargest = 64U * 1024;
  ngtcp2_conn_info info{};
  ngtcp2_conn_get_conn_info(conn_, &info);
  const auto least = ngtcp2_conn_get_send_quantum(conn_);
  const auto rtt = std::max<std::uint64_t>(info.smoothed_rtt, 1);
  const auto in_a_millisecond = std::min<std::uint64_t>(info.cwnd, kLargest << 10U) * 1'250'000 / rtt;
  return std::clamp<std::size_t>(static_cast<std::size_t>(in_a_millisecond), least, std::max(least, kLargest));
}

void ConnectionImpl::end_flush() {
  if (closed()) {  // ngtcp2 is not called any more
    ready_.clear();
    blocked_.clear();
    streams_.clear();
    return;
  }
  datagrams_->own();
}

ngtcp2_ssize ConnectionImpl::write_packet(MutableBytes out) {
  ngtcp2_path_storage_zero(&out_path_);
  if (phase_ == Phase::established) {
    if (control_ != nullptr && control_->ready) {
      if (const auto step = write_stream(*control_, out); step.done) return step.n;
    }
    const bool streams_turn = datagram_packets_ >= kDatagramPacketsInARow && !ready_.empty();
    if (!streams_turn && !datagrams_->empty()) {
      ++datagram_packets_;
      if (const auto step = write_datagrams(out); step.done) return step.n;
    }
    datagram_packets_ = 0;
    while (auto* stream = next_stream()) {
      if (const auto step = write_stream(*stream, out); step.done) return step.n;
    }
  }
  return ngtcp2_conn_writev_stream(conn_, &out_path_.path, nullptr, out.data(), out.size(), nullptr,
                                   NGTCP2_WRITE_STREAM_FLAG_NONE, -1, nullptr, 0, now_);
}

ConnectionImpl::Step ConnectionImpl::write_datagrams(MutableBytes out) {
  while (auto* item = datagrams_->next(datagram_room_, from_ts(now_))) {
    const auto size = item->size();
    const auto* second = datagrams_->peek_second(datagram_room_);
    const bool room = size + kSmall < datagram_room_;
    const bool more = room && (second != nullptr ? size + second->size() + 8 < datagram_room_ : !ready_.empty());
    std::array<ngtcp2_vec, 2> parts;  // ngtcp2 asserts that none is empty
    std::size_t count = 0;
    for (const auto part : {item->head_view(), item->body()}) {
      if (!part.empty()) parts[count++] = view(part);
    }
    int accepted = 0;
    const auto n = ngtcp2_conn_writev_datagram(conn_, &out_path_.path, nullptr, out.data(), out.size(), &accepted,
                                               more ? NGTCP2_WRITE_DATAGRAM_FLAG_MORE : NGTCP2_WRITE_DATAGRAM_FLAG_NONE,
                                               watch_.packet_id(), parts.data(), count, now_);
    if (accepted != 0) {
      datagrams_->pop();
      watch_.carries_datagram();
      ping_wanted_ = false;
    }
    if (n != NGTCP2_ERR_WRITE_MORE) return {true, n};
  }
  return {};
}

ConnectionImpl::Step ConnectionImpl::write_stream(Stream& stream, MutableBytes out) {
  while (stream.ready && stream.wants_to_send()) {
    std::array<Bytes, 4> parts;
    std::array<ngtcp2_vec, 4> vectors;
    const auto count = stream.out.peek(parts);
    std::size_t offered = 0;
    for (std::size_t i = 0; i < count; ++i) {
      vectors[i] = view(parts[i]);
      offered += parts[i].size();
    }
    const bool fin = stream.fin_wanted && offered == stream.out.unsent();
    const bool more = offered + kSmall < packet_room_ && (ready_.size() > 1 || !datagrams_->empty());
    std::uint32_t flags = fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : NGTCP2_WRITE_STREAM_FLAG_NONE;
    if (more) flags |= NGTCP2_WRITE_STREAM_FLAG_MORE;
    ngtcp2_ssize taken = -1;
    const auto n = ngtcp2_conn_writev_stream(conn_, &out_path_.path, nullptr, out.data(), out.size(), &taken, flags,
                                             stream.id.value, vectors.data(), count, now_);
    if (taken >= 0) {
      stream.out.mark_sent(static_cast<std::size_t>(taken));
      if (taken > 0) watch_.carries_stream(stream.id.value, stream.out.sent());
      if (fin && static_cast<std::size_t>(taken) == offered) stream.fin_sent = true;
      ++stream.turn;
      ping_wanted_ = false;
      note_drained(stream);
    }
    switch (n) {
      case NGTCP2_ERR_WRITE_MORE: break;
      case NGTCP2_ERR_STREAM_DATA_BLOCKED:
        unready(stream);
        stream.blocked = true;
        blocked_.push_back(&stream);
        return {};
      case NGTCP2_ERR_STREAM_SHUT_WR:
      case NGTCP2_ERR_STREAM_NOT_FOUND: sending_stopped(stream); return {};
      default:
        if (!stream.wants_to_send()) unready(stream);
        return {true, n};
    }
  }
  unready(stream);
  return {};
}

ngtcp2_ssize ConnectionImpl::write_ping(MutableBytes out) {
  // ngtcp2 has no call for a PING; its keep-alive sends one, so let that be due right now.
  ngtcp2_conn_set_keep_alive_timeout(conn_, 1);
  now_ += 2;
  const auto n = ngtcp2_conn_writev_stream(conn_, &out_path_.path, nullptr, out.data(), out.size(), nullptr,
                                           NGTCP2_WRITE_STREAM_FLAG_NONE, -1, nullptr, 0, now_);
  ngtcp2_conn_set_keep_alive_timeout(conn_, static_cast<std::uint64_t>(transport_.keep_alive.count()));
  if (n > 0) ping_wanted_ = false;
  return n;
}

}  // namespace ztna::quic
