#include "tunnel/tcp_bridge.h"

#include <algorithm>
#include <array>
#include <utility>

#include "wire/stream_header.h"

namespace ztna::tunnel {
namespace {

constexpr int kReadsPerTurn = 16;  // 512 KiB: then other sockets get a turn
constexpr std::size_t kCopyBelow =
    4 * 1024;  // a smaller read shares a chunk with its neighbours instead of pinning one
constexpr std::size_t kBlocksPerWrite = 64;
constexpr auto kTcpReset = static_cast<std::uint64_t>(wire::StreamResetCode::tcp_reset);

}  // namespace

TcpBridge::TcpBridge(quic::Connection& connection, quic::StreamId stream, std::unique_ptr<TcpPort> port)
    : connection_(connection), stream_(stream), port_(std::move(port)) {
  update_interest();
}

void TcpBridge::on_readable() {
  Chunk chunk;
  for (int turn = 0; turn < kReadsPerTurn && !done_ && !read_ended_; ++turn) {
    if (connection_.unsent(stream_) >= kMaxUnsent) {
      blocked_on_stream_ = true;
      break;
    }
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

void TcpBridge::on_writable() {
  blocked_on_socket_ = false;
  flush();
}

void TcpBridge::on_stream_data(Bytes octets, bool fin) {
  if (done_) return;
  while (!octets.empty()) {
    if (pending_.empty() || pending_.back().space().empty()) pending_.push_back(Chunk::allocate());
    const auto space = pending_.back().space();
    const auto n = std::min(space.size(), octets.size());
    std::copy_n(octets.begin(), n, space.begin());
    pending_.back().grow(n);
    octets = octets.subspan(n);
  }
  stream_ended_ = stream_ended_ || fin;
}

void TcpBridge::on_stream_drained() {
  if (done_ || !blocked_on_stream_) return;
  blocked_on_stream_ = false;
  update_interest();
}

void TcpBridge::on_stream_reset() { fail(); }

void TcpBridge::on_stop_sending() { fail(); }

void TcpBridge::on_connection_closed() {
  if (done_) return;
  port_->abort();
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
      fail();
      return;
    }
    to_socket_ += wrote.octets;
    connection_.credit(stream_, wrote.octets);
    for (std::size_t left = wrote.octets; left > 0;) {
      const auto n = std::min(left, pending_.front().size());
      pending_.front().consume(n);
      if (pending_.front().size() == 0) pending_.pop_front();
      left -= n;
    }
    blocked_on_socket_ = wrote.octets < offered;
  }
  if (!done_ && pending_.empty() && stream_ended_ && !write_shut_) {
    port_->shutdown_write();
    write_shut_ = true;
  }
  check_done();
  update_interest();
}

void TcpBridge::fail() {
  if (done_) return;
  port_->abort();
  connection_.reset(stream_, kTcpReset);
  connection_.stop_sending(stream_, kTcpReset);
  pending_.clear();
  done_ = was_reset_ = true;
}

void TcpBridge::update_interest() {
  if (done_) return;
  port_->want(!read_ended_ && !blocked_on_stream_, blocked_on_socket_);
}

void TcpBridge::check_done() {
  if (read_ended_ && write_shut_) done_ = true;
}

}  // namespace ztna::tunnel
