#include <algorithm>

#include "quic/connection_impl.h"

namespace ztna::quic {

const ConnectionImpl::Stream* ConnectionImpl::find(StreamId id) const {
  const auto it = streams_.find(id.value);
  return it == streams_.end() ? nullptr : it->second.get();
}

ConnectionImpl::Stream* ConnectionImpl::find(StreamId id) {
  const auto it = streams_.find(id.value);
  return it == streams_.end() ? nullptr : it->second.get();
}

Result<StreamId> ConnectionImpl::open_stream() {
  if (closed()) return fail(Errc::closed, "connection is closed");
  if (phase_ != Phase::established) return fail(Errc::exhausted, "connection is not established yet");
  auto stream = std::make_unique<Stream>(unsent_total_);
  std::int64_t id = -1;
  const int rv = ngtcp2_conn_open_bidi_stream(conn_, &id, stream.get());
  if (rv == NGTCP2_ERR_STREAM_ID_BLOCKED) return fail(Errc::exhausted, "the peer allows no more streams now");
  if (rv != 0) return fail(Errc::internal, "open stream: {}", ngtcp2_strerror(rv));
  stream->id = StreamId{id};
  if (id == 0) control_ = stream.get();
  streams_.emplace(id, std::move(stream));
  return StreamId{id};
}

Result<ConnectionImpl::Stream*> ConnectionImpl::writable(StreamId id) {
  if (closed()) return fail(Errc::closed, "connection is closed");
  auto* stream = find(id);
  if (stream == nullptr || stream->send_over || stream->fin_wanted)
    return fail(Errc::not_found, "stream {} is over", id.value);
  return stream;
}

Result<void> ConnectionImpl::write(StreamId id, Chunk chunk) {
  auto stream = writable(id);
  if (!stream) return fail(stream.error());
  (*stream)->out.push(std::move(chunk));
  queued(**stream);
  return {};
}

Result<void> ConnectionImpl::write(StreamId id, Bytes data) {
  auto stream = writable(id);
  if (!stream) return fail(stream.error());
  (*stream)->out.append(data);
  queued(**stream);
  return {};
}

void ConnectionImpl::finish(StreamId id) {
  auto stream = writable(id);
  if (!stream) return;
  (*stream)->fin_wanted = true;
  queued(**stream);
}

void ConnectionImpl::reset(StreamId id, std::uint64_t code) {
  if (closed()) return;
  auto* stream = find(id);
  if (stream == nullptr) return;
  unready(*stream);
  stream->send_over = true;
  stream->out.drop_unsent();  // what was sent stays until the stream closes: ngtcp2's frames refer to it
  ngtcp2_conn_shutdown_stream_write(conn_, 0, id.value, code);
  owner_.touched(*this);
}

void ConnectionImpl::stop_sending(StreamId id, std::uint64_t code) {
  if (closed() || find(id) == nullptr) return;
  ngtcp2_conn_shutdown_stream_read(conn_, 0, id.value, code);
  owner_.touched(*this);
}

std::size_t ConnectionImpl::unsent(StreamId id) const {
  const auto* stream = find(id);
  return stream == nullptr ? 0 : stream->out.unsent();
}

void ConnectionImpl::notify_drained(StreamId id, std::size_t low_water) {
  auto* stream = find(id);
  if (stream == nullptr) return;
  stream->low_water = low_water;
  stream->above_low_water = stream->out.unsent() > low_water;
}

void ConnectionImpl::credit(StreamId id, std::size_t octets) {
  if (closed()) return;
  auto* stream = find(id);
  if (stream == nullptr) return;
  const auto n = std::min(octets, stream->uncredited);
  if (n == 0) return;
  stream->uncredited -= n;
  ngtcp2_conn_extend_max_stream_offset(conn_, id.value, n);
  owner_.touched(*this);
}

void ConnectionImpl::queued(Stream& stream) {
  if (stream.out.unsent() > stream.low_water) stream.above_low_water = true;
  if (stream.wants_to_send() && !stream.blocked) make_ready(stream);
  owner_.touched(*this);
}

void ConnectionImpl::make_ready(Stream& stream) {
  if (stream.blocked) {
    stream.blocked = false;
    std::erase(blocked_, &stream);
  }
  if (stream.ready || !stream.wants_to_send()) return;
  stream.ready = true;
  stream.turn = 0;
  ready_.push_back(&stream);
}

void ConnectionImpl::unready(Stream& stream) {
  if (stream.ready) std::erase(ready_, &stream);
  if (stream.blocked) std::erase(blocked_, &stream);
  stream.ready = stream.blocked = false;
}

void ConnectionImpl::note_drained(Stream& stream) {
  if (!stream.above_low_water || stream.out.unsent() > stream.low_water) return;
  stream.above_low_water = false;
  stream.low_water = kLowWater;
  defer([this, id = stream.id] { handler_->on_stream_drained(id); });
}

void ConnectionImpl::sending_stopped(Stream& stream) {
  unready(stream);
  stream.send_over = true;
  stream.out.drop_unsent();
}

ConnectionImpl::Stream* ConnectionImpl::next_stream() {
  constexpr unsigned kPacketsPerTurn =
      8;  // one GSO row is shared by several streams, and a small one waits about 10 KiB
  while (!ready_.empty()) {
    auto* stream = ready_.front();
    if (!stream->wants_to_send()) {
      unready(*stream);
      continue;
    }
    if (stream->turn >= kPacketsPerTurn && ready_.size() > 1) {
      stream->turn = 0;
      std::rotate(ready_.begin(), ready_.begin() + 1, ready_.end());
      continue;
    }
    return stream;
  }
  return nullptr;
}

void ConnectionImpl::retry_blocked() {
  // A stream whose peer wants no more data is found out by a write alone: give one blocked stream a try each time.
  if (!blocked_.empty()) make_ready(*blocked_.front());
}

}  // namespace ztna::quic
