// One QUIC connection (RFC 9000, 9001, 9002, 9221) over ngtcp2: packets and `now` in, packets and a deadline out.
//
// Owned by a quic::Endpoint. No call blocks, none reads a clock, none sends by itself: whatever a call wants to send
// leaves with the next Endpoint::flush().
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/chunk.h"
#include "base/result.h"
#include "base/time.h"
#include "quic/types.h"

namespace ztna::quic {

class Connection;

/// What a connection tells its user. Called from inside Endpoint::receive, on_deadline and flush. A handler may call
/// the connection's methods, also close(), but must not destroy handler or endpoint. Not called any more after
/// on_closed.
class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;

  /// During the handshake (and again on resumption), after chain, times and extended key usage were checked: says
  /// whether this leaf (DER, borrowed for the call) may go on. The error's text goes to the peer as the reason phrase.
  virtual Result<void> verify_peer(Bytes leaf_der) = 0;

  /// Both sides authenticated each other: handshake confirmed (RFC 9001 4.1.2). Nothing may be trusted before it.
  virtual void on_established() = 0;
  /// Over. Exactly once, also for a handshake that failed.
  virtual void on_closed(const CloseReason& reason) = 0;

  /// The peer opened a bidirectional stream.
  virtual void on_stream_opened(StreamId) {}
  /// Octets in order, borrowed for the call. `fin`: the last ones. Call Connection::credit as they are consumed.
  virtual void on_stream_data(StreamId, Bytes, bool /*fin*/) {}
  /// What was buffered to send fell to or below Connection::kLowWater, or what notify_drained() said, after it had been
  /// above.
  virtual void on_stream_drained(StreamId) {}
  virtual void on_stream_reset(StreamId, std::uint64_t /*code*/) {}  // RESET_STREAM from the peer
  virtual void on_stop_sending(StreamId, std::uint64_t /*code*/) {}  // STOP_SENDING from the peer
  /// Both directions are over; the id is not used again.
  virtual void on_stream_closed(StreamId) {}
  /// The peer lets us open more streams than before.
  virtual void on_streams_available() {}

  /// One DATAGRAM frame's payload, borrowed for the call.
  virtual void on_datagram(Bytes) {}

  /// migrate(..., validate_first) ended: `ok`, and the connection uses the path; or it stays where it was.
  virtual void on_path_validated(const Path&, bool /*ok*/) {}
  /// Packets now go to another path: our migration, or (server) the peer's, once QUIC has validated it (RFC 9000 8.2).
  virtual void on_path_changed(const Path&) {}

  /// Client only: a NEW_TOKEN for the next connection to the same server; copy it.
  virtual void on_new_token(Bytes) {}
  /// Client only: a TLS session for resumption; copy it. Opaque to the user.
  virtual void on_session(Bytes) {}
};

struct TransportOptions {
  Duration idle_timeout = 30s;  // 0: never
  Duration keep_alive = 0s;     // 0: off
  Duration handshake_timeout = 10s;
  Duration initial_rtt = 333ms;                  // RFC 9002 6.2.2
  std::uint64_t stream_window = 8U << 20U;       // octets a peer may send on one stream unasked
  std::uint64_t connection_window = 64U << 20U;  // credited on receipt; memory is bounded by stream windows
  std::uint64_t max_peer_streams = 1024;         // bidirectional streams the peer may have open
  std::size_t max_udp_payload = 1452;            // largest that PMTUD tries, without headroom
  bool datagrams = true;
  std::size_t datagram_queue_bytes = 4U << 20U;  // what waits for the congestion window; beyond it new ones are dropped
};

enum class Migration : std::uint8_t {
  validate_first,  // to upgrade: PATH_RESPONSE first, then switch
  immediate,       // to fall back: switch at once
};

class Connection {
 public:
  static constexpr std::size_t kLowWater = 256 * 1024;

  virtual ~Connection() = default;

  virtual bool established() const = 0;
  virtual bool closed() const = 0;  // on_closed was called, or close()
  /// Leaf certificate of the peer, DER; empty before the handshake. Borrowed from the connection.
  virtual Bytes peer_certificate() const = 0;
  /// Where packets go now; on a server perhaps not validated yet: anybody with the keys can name any source address.
  virtual const Path& path() const = 0;
  /// The last path that the peer has proved to be on. For decisions that send others' traffic there.
  virtual const Path& validated_path() const { return path(); }
  virtual ConnectionStats stats() const = 0;
  /// Whether the current path carries packets, for who may choose another one.
  virtual Liveness liveness() const { return {}; }

  // -- streams ---------------------------------------------------------------------------------------------------
  /// Opens a bidirectional stream. Errors: exhausted (the peer's limit; on_streams_available comes), closed.
  virtual Result<StreamId> open_stream() = 0;
  /// Queues octets; the chunk is freed when the peer has acknowledged them. Errors: not_found (stream is over), closed.
  virtual Result<void> write(StreamId, Chunk chunk) = 0;
  /// The same, copying `data` (for small messages; appended to the last chunk where it fits).
  virtual Result<void> write(StreamId, Bytes data) = 0;
  /// FIN after what is queued.
  virtual void finish(StreamId) = 0;
  virtual void reset(StreamId, std::uint64_t code) = 0;         // RESET_STREAM; queued octets are dropped
  virtual void stop_sending(StreamId, std::uint64_t code) = 0;  // STOP_SENDING
  /// Octets queued and not yet put into a packet: stop reading the source above a limit of your own.
  virtual std::size_t unsent(StreamId) const = 0;
  /// The sum of it over all streams.
  virtual std::size_t unsent_total() const { return 0; }
  /// The next on_stream_drained of a stream that has more than `low_water` octets unsent now comes there instead of at
  /// kLowWater; afterwards kLowWater holds again.
  virtual void notify_drained(StreamId, std::size_t /*low_water*/) {}
  /// `octets` of on_stream_data were consumed: lets the peer send as many more on this stream.
  virtual void credit(StreamId, std::size_t octets) = 0;

  // -- datagrams -------------------------------------------------------------------------------------------------
  /// Largest DATAGRAM payload that fits one packet on the current path now. Falls to that of 1200-octet packets at a
  /// migration.
  virtual std::size_t max_datagram() const = 0;
  /// Queues one DATAGRAM frame with payload head + body. `body` is borrowed until the next Endpoint::flush() returns
  /// (what does not leave then is copied); `head` is copied at once (at most 16 octets). Several small ones share a
  /// packet. Errors: too_large (over the peer's limit), exhausted (queue full; dropped, count it), closed.
  virtual Result<void> send_datagram(Bytes head, Bytes body) = 0;

  // -- paths -----------------------------------------------------------------------------------------------------
  /// Client only (RFC 9000 section 9). `to` must have another local address than the current path.
  /// Errors: invalid_argument (same path, not confirmed, server), exhausted (no unused connection id).
  virtual Result<void> migrate(const Path& to, Migration how, TimePoint now) = 0;

  // -- rest ------------------------------------------------------------------------------------------------------
  /// RFC 5705 exporter, for probe keys. Error: crypto (before the handshake is done).
  virtual Result<void> export_key(std::string_view label, Bytes context, MutableBytes out) = 0;
  /// Sends an ack-eliciting PING with the next flush, to learn of a NAT rebinding.
  virtual void ping() = 0;
  /// CONNECTION_CLOSE of application type; `text` is cut at 256 octets. on_closed(By::local) follows before this
  /// returns.
  virtual void close(std::uint64_t code, std::string_view text) = 0;
};

}  // namespace ztna::quic
