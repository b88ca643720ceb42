#include "tunnel/tcp_bridge.h"

#include <algorithm>
#include <array>
#include <utility>

#include "wire/stream_header.h"

namespace ztna::tunnel {
namespace {

constexpr int kReadsPerTurn = 16;    // 512 KiB: then other sockets get a turn
constexpr int kReadsAtTheEnd = 256;  // 8 MiB: more than a receive queue usually holds
constexpr std::size_t kCopyBelow =
    Chunk::kCapacity / 2;  // a smaller read shares a chunk instead of pinning one, half empty
constexpr std::size_t kBlocksPerWrite = 64;
constexpr auto kTcpReset = static_cast<std::uint64_t>(wire::StreamResetCode::tcp_reset);

}  // namespace

TcpBridge::TcpBridge(quic::Connection& connection, quic::StreamId stream, std::unique_ptr<TcpPort> port)
    : connection_(connection), stream_(stream), port_(std::move(port)) {
  update_interest();
}

void TcpBridge::on_readable() {
  Chunk chunk;
  for (int turn = 0; turn < kReadsPerTurn && !done_ && !read_ended_ && !discards_; ++turn) {
    if (stream_is_full()) break;
    if (!chunk) chunk = Chunk::allocate();
    const auto space = chunk.space();
    const auto got = port_->read(space);
    if (got.status == IoStatus::would_block) break;
    if (got.status == IoStatus::end_of_stream) {
      read_ended_ = true;
      connection_.finish(stream_);
      break;
    }
    if (got.status != IoStatus::ok) {
      fail();
      return;
    }
    to_stream_ += got.octets;
    const bool drained = got.octets < space.size();
    Result<void> written;
    if (got.octets < kCopyBelow) {
      written = connection_.write(stream_, Bytes{space.first(got.octets)});
    } else {
      chunk.grow(got.octets);
      written = connection_.write(stream_, std::exchange(chunk, Chunk{}));
    }
    if (!written) {
      fail();
      return;
    }
    if (drained) break;
  }
  check_done();
  update_interest();
}

bool TcpBridge::stream_is_full() {
  const auto limit = unsent_limit(connection_.unsent_total());
  if (connection_.unsent(stream_) < limit) return false;
  blocked_on_stream_ = true;
  connection_.notify_drained(stream_, std::min(quic::Connection::kLowWater, limit / 2));
  return true;
}

void TcpBridge::on_writable() {
  blocked_on_socket_ = false;
  flush();
}

void TcpBridge::on_stream_data(Bytes octets, bool fin) {
  if (done_) return;
  stream_ended_ = stream_ended_ || fin;
  if (discards_) {
    discard(octets.size());
    return;
  }
  pending_octets_ += octets.size();
  while (!octets.empty()) {
    if (pending_.empty() || pending_.back().space().empty()) pending_.push_back(Chunk::allocate());
    const auto space = pending_.back().space();
    const auto n = std::min(space.size(), octets.size());
    std::copy_n(octets.begin(), n, space.begin());
    pending_.back().grow(n);
    octets = octets.subspan(n);
  }
}

void TcpBridge::on_stream_drained() {
  if (done_ || !blocked_on_stream_) return;
  blocked_on_stream_ = false;
  update_interest();
}

void TcpBridge::on_stream_reset() {
  flush();  // what came before the reset, as the socket takes it at once: TCP hands it over too
  fail();
}

void TcpBridge::on_stop_sending() { fail(); }

void TcpBridge::on_connection_closed() {
  if (done_) return;
  if (!discards_) port_->abort();
  pending_.clear();
  pending_octets_ = 0;
  done_ = was_reset_ = true;
}

void TcpBridge::flush() {
  std::array<Bytes, kBlocksPerWrite> blocks;
  while (!done_ && !pending_.empty() && !blocked_on_socket_) {
    std::size_t count = 0;
    std::size_t offered = 0;
    for (auto it = pending_.begin(); it != pending_.end() && count < blocks.size(); ++it) {
      blocks[count++] = it->data();
      offered += it->size();
    }
    const auto wrote = port_->write(std::span{blocks}.first(count));
    if (wrote.status == IoStatus::would_block) {
      blocked_on_socket_ = true;
      break;
    }
    if (wrote.status != IoStatus::ok) {
      on_write_failed();
      return;
    }
    to_socket_ += wrote.octets;
    pending_octets_ -= wrote.octets;
    connection_.credit(stream_, wrote.octets);
    for (std::size_t left = wrote.octets; left > 0;) {
      const auto n = std::min(left, pending_.front().size());
      pending_.front().consume(n);
      if (pending_.front().size() == 0) pending_.pop_front();
      left -= n;
    }
    blocked_on_socket_ = wrote.octets < offered;
  }
  if (!done_ && !discards_ && pending_.empty() && stream_ended_ && !write_shut_) {
    port_->shutdown_write();
    write_shut_ = true;
  }
  check_done();
  update_interest();
}

/// The socket takes no more octets. Its peer may have answered before it had read everything (an early 413 of HTTP) and
/// closed: the answer is in the receive queue, and belongs to the other end. After a failed write the kernel reports a
/// reset as end of stream, so an end without an octet before it counts as a reset.
void TcpBridge::on_write_failed() {
  bool answered = false;
  for (int turn = 0; turn < kReadsAtTheEnd && !read_ended_; ++turn) {
    if (connection_.unsent_total() >= kTunnelUnsent && connection_.unsent(stream_) >= kMinUnsent)
      break;  // the bound first
    auto chunk = Chunk::allocate();
    const auto got = port_->read(chunk.space());
    if (got.status == IoStatus::end_of_stream && answered) {
      read_ended_ = true;
      connection_.finish(stream_);
    }
    if (got.status != IoStatus::ok) break;
    answered = true;
    to_stream_ += got.octets;
    chunk.grow(got.octets);
    if (!connection_.write(stream_, std::move(chunk))) break;
  }
  if (!read_ended_) {
    fail();
    return;
  }
  discards_ = true;
  port_->abort();  // both directions of the socket are over
  pending_.clear();
  discard(std::exchange(pending_octets_, 0));
}

/// STOP_SENDING instead would have the other end reset its socket, and the answer could be lost there.
void TcpBridge::discard(std::size_t octets) {
  discarded_ += octets;
  connection_.credit(stream_, octets);
  if (stream_ended_) {
    write_shut_ = true;
    check_done();
  } else if (discarded_ > kMaxDiscarded) {
    fail();
  }
}

void TcpBridge::fail() {
  if (done_) return;
  if (!discards_) port_->abort();
  connection_.reset(stream_, kTcpReset);
  connection_.stop_sending(stream_, kTcpReset);
  pending_.clear();
  pending_octets_ = 0;
  done_ = was_reset_ = true;
}

void TcpBridge::update_interest() {
  if (done_ || discards_) return;
  port_->want(!read_ended_ && !blocked_on_stream_, blocked_on_socket_);
}

void TcpBridge::check_done() {
  if (read_ended_ && write_shut_) done_ = true;
}

}  // namespace ztna::tunnel
