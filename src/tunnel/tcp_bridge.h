// One TCP connection on one QUIC stream (docs/protocol.md 4.2): moves octets both ways with backpressure, half-close
// and resets. The same class serves the Agent (user's side) and the Connector (backend's side).
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>

#include "base/chunk.h"
#include "quic/connection.h"
#include "tunnel/ports.h"

namespace ztna::tunnel {

class TcpBridge {
 public:
  /// Stop reading the socket while this much is unsent on the stream.
  static constexpr std::size_t kMaxUnsent = 1024 * 1024;
  /// What the streams of one tunnel share beside a floor that each has for itself: so users who do not read pin at most
  /// kTunnelUnsent and twice kMinUnsent a stream, and the others go on.
  static constexpr std::size_t kTunnelUnsent = 16 * 1024 * 1024;
  static constexpr std::size_t kMinUnsent = 32 * 1024;
  /// How much a stream may have unsent before its socket is read again, when all of its tunnel have `total`. What is
  /// free is offered to each: a few stalled streams leave as much as each of them took.
  static constexpr std::size_t unsent_limit(std::size_t total) {
    return std::clamp(kTunnelUnsent - std::min(total, kTunnelUnsent), kMinUnsent, kMaxUnsent);
  }
  /// The socket's peer answered early and went away: this much of what the stream still brings is thrown away for the
  /// sake of the answer; then both sides are reset.
  static constexpr std::size_t kMaxDiscarded = 16 * 1024 * 1024;

  /// Takes over a connected socket. The stream is open and past its header. `connection` must outlive the bridge.
  TcpBridge(quic::Connection& connection, quic::StreamId stream, std::unique_ptr<TcpPort> port);

  // From the socket.
  void on_readable();
  void on_writable();
  // From the stream; same meaning as in quic::ConnectionHandler.
  void on_stream_data(Bytes octets, bool fin);
  void on_stream_drained();
  void on_stream_reset();
  void on_stop_sending();
  /// The connection is gone: RST to the socket's peer.
  void on_connection_closed();
  /// Writes what on_stream_data collected, with few system calls. Call once after each batch of inputs.
  void flush();

  /// Both directions are over (or it was reset): destroy the bridge.
  bool done() const { return done_; }
  /// It ended by a reset on either side.
  bool was_reset() const { return was_reset_; }
  /// Octets from the stream that wait for the socket, and for which no credit was given.
  std::size_t pending_octets() const { return pending_octets_; }
  std::uint64_t octets_to_stream() const { return to_stream_; }
  std::uint64_t octets_to_socket() const { return to_socket_; }

 private:
  void fail();  // reset both sides
  void on_write_failed();
  void discard(std::size_t octets);
  /// Enough is unsent for now; on_stream_drained() comes.
  bool stream_is_full();
  void update_interest();
  void check_done();

  quic::Connection& connection_;
  quic::StreamId stream_;
  std::unique_ptr<TcpPort> port_;
  std::deque<Chunk> pending_;  // to the socket
  std::size_t pending_octets_ = 0;
  std::size_t discarded_ = 0;
  std::uint64_t to_stream_ = 0;
  std::uint64_t to_socket_ = 0;
  bool read_ended_ = false;    // socket: end of stream seen, FIN queued
  bool stream_ended_ = false;  // stream: FIN seen
  bool write_shut_ = false;    // socket: FIN sent
  bool blocked_on_socket_ = false;
  bool blocked_on_stream_ = false;
  bool discards_ = false;  // the socket is gone, its last octets and FIN are on the stream
  bool done_ = false;
  bool was_reset_ = false;
};

}  // namespace ztna::tunnel
