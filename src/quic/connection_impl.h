// quic::Connection over ngtcp2. By file: connection_impl.cc begin, packets in, timers; connection_close.cc the end;
// connection_callbacks.cc what ngtcp2 calls; connection_streams.cc, connection_datagrams.cc, connection_paths.cc the
// user's calls; connection_send.cc packets out.
#pragma once

#include <ngtcp2/ngtcp2.h>

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "quic/connection.h"
#include "quic/connection_owner.h"
#include "quic/datagram_queue.h"
#include "quic/deadline_heap.h"
#include "quic/frame_scan.h"
#include "quic/packet_batch.h"
#include "quic/path_aliases.h"
#include "quic/path_watch.h"
#include "quic/send_buffer.h"
#include "quic/sockaddr.h"
#include "quic/tls_session.h"

namespace ztna::quic {

class ConnectionImpl final : public Connection {
 public:
  /// RFC 9000 10.2: what is left of a connection's life.
  enum class Phase : std::uint8_t {
    handshake,
    established,
    closing,   // we closed: a packet that arrives is answered with the CONNECTION_CLOSE again
    draining,  // the peer closed: silence
    gone,      // to be deleted by the endpoint
  };

  struct Start {
    std::shared_ptr<const TlsContextImpl> tls;
    TransportOptions transport;
    TimePoint now;
    // Client:
    std::string server_name;
    bool check_name = false;
    Bytes session;
    // Both: client: to send; server: what the Initial brought and was found valid.
    Bytes token;
    // Server:
    std::uint32_t version = 0;
    Cid client_scid;
    Cid client_dcid;                   // of this Initial
    std::optional<Cid> original_dcid;  // before our Retry
    bool token_from_retry = false;
  };

  ConnectionImpl(ConnectionOwner& owner, bool server, const Path& path);
  ConnectionImpl(const ConnectionImpl&) = delete;
  ConnectionImpl& operator=(const ConnectionImpl&) = delete;
  ~ConnectionImpl() override;

  /// Error: crypto, internal; the connection is of no use then.
  Result<void> start(const Start& start, ConnectionHandler& handler);

  // -- for the endpoint --
  /// `addressed`: found by its connection id, else by the stateless reset token at its end.
  void receive(const Path& path, Bytes packet, TimePoint now, bool addressed);
  void on_deadline(TimePoint now);
  /// At most one send quantum (RFC 9002 7.7). True: more could leave at once.
  bool send(TimePoint now, PacketSink& sink, PacketBatch& batch);
  /// After the last send() of a flush.
  void end_flush();
  TimePoint deadline() const;
  Phase phase() const { return phase_; }
  bool handshaking() const { return phase_ == Phase::handshake; }
  /// Every id of ours that is routed to it.
  const std::vector<Cid>& cids() const { return cids_; }
  const std::vector<ResetToken>& peer_tokens() const { return peer_tokens_; }
  std::size_t heap_slot = kNoSlot;
  bool dirty = false;     // the endpoint's: has to be flushed
  bool flushing = false;  // the endpoint's: is being flushed

  // -- Connection --
  bool established() const override { return phase_ == Phase::established; }
  bool closed() const override { return phase_ > Phase::established; }
  Bytes peer_certificate() const override { return tls_ ? tls_->leaf() : Bytes{}; }
  const Path& path() const override { return path_; }
  const Path& validated_path() const override { return server_ ? proved_.front() : path_; }
  ConnectionStats stats() const override;
  Liveness liveness() const override;
  Result<StreamId> open_stream() override;
  Result<void> write(StreamId id, Chunk chunk) override;
  Result<void> write(StreamId id, Bytes data) override;
  void finish(StreamId id) override;
  void reset(StreamId id, std::uint64_t code) override;
  void stop_sending(StreamId id, std::uint64_t code) override;
  std::size_t unsent(StreamId id) const override;
  std::size_t unsent_total() const override { return unsent_total_; }
  void notify_drained(StreamId id, std::size_t low_water) override;
  void credit(StreamId id, std::size_t octets) override;
  std::size_t max_datagram() const override;
  Result<void> send_datagram(Bytes head, Bytes body) override;
  Result<void> migrate(const Path& to, Migration how, TimePoint now) override;
  Result<void> export_key(std::string_view label, Bytes context, MutableBytes out) override;
  void ping() override;
  void close(std::uint64_t code, std::string_view text) override;

 private:
  struct Stream {
    explicit Stream(std::size_t& unsent_total) : out(unsent_total) {}
    StreamId id;
    SendBuffer out;
    std::size_t low_water = kLowWater;
    bool fin_wanted = false;
    bool fin_sent = false;
    bool send_over = false;  // reset, or the peer asked to stop
    bool stopped = false;    // on_stop_sending was told
    bool above_low_water = false;
    bool ready = false;           // in ready_
    bool blocked = false;         // by the peer's stream window; in blocked_
    std::uint64_t large_end = 0;  // once acknowledged up to here, a large packet has arrived; 0: none is followed
    std::size_t uncredited = 0;   // octets given to the handler and not credited yet
    unsigned turn = 0;            // packets of this turn so far

    bool wants_to_send() const { return !send_over && (out.unsent() > 0 || (fin_wanted && !fin_sent)); }
  };

  // connection_impl.cc
  Result<void> create_conn(const Start& start);
  std::uint64_t advance(TimePoint now);
  void after_library(int rv);
  void run_deferred();
  void confirm();
  void defer(std::function<void()> event);
  void count_dropped(std::size_t datagrams);
  /// As ngtcp2 knows the path that a packet came on.
  Path known_path(const Path& came_on) const;
  /// For the handler: at once, or after on_established when the connection is not confirmed yet. `octets` bounds what
  /// is kept.
  template <typename Call>
  void tell(std::size_t octets, Call call);

  // connection_close.cc
  void fail_with(int rv);
  void enter_closing(const CloseReason& reason, bool application, std::uint64_t code, std::string text);
  void enter_draining(const CloseReason& reason);
  void vanish(const CloseReason& reason);
  void tell_closed(const CloseReason& reason);
  CloseReason peers_reason() const;
  void send_close(TimePoint now, PacketSink& sink, PacketBatch& batch);

  // connection_callbacks.cc
  static const ngtcp2_callbacks& callbacks();
  int read_packet(const ngtcp2_path& path, Bytes packet);
  int on_handshake_completed();
  int on_stream_open(std::int64_t id);
  int on_stream_data(std::uint32_t flags, std::int64_t id, Bytes data);
  int on_stream_close(std::int64_t id);
  int on_datagram(Bytes data);
  void on_stream_acknowledged(Stream& stream, std::uint64_t end);
  int on_path_validation(const ngtcp2_path& path, int result);
  void on_dcid_status(bool active, const std::uint8_t* token);

  // connection_streams.cc
  Stream* find(StreamId id);
  const Stream* find(StreamId id) const;
  Result<Stream*> writable(StreamId id);
  void queued(Stream& stream);
  void make_ready(Stream& stream);
  void unready(Stream& stream);
  void note_drained(Stream& stream);
  void sending_stopped(Stream& stream);
  Stream* next_stream();
  void retry_blocked();

  // connection_send.cc
  /// What became of an attempt to put something into the packet: `done`: write_packet returns `n`.
  struct Step {
    bool done = false;
    ngtcp2_ssize n = 0;
  };
  ngtcp2_ssize write_packet(MutableBytes out);
  Step write_datagrams(MutableBytes out);
  Step write_stream(Stream& stream, MutableBytes out);
  ngtcp2_ssize write_ping(MutableBytes out);
  void follow(const PathWatch::Stretch& stretch);
  std::size_t send_quantum() const;
  std::size_t packet_limit() const;
  std::size_t datagram_room(std::size_t packet_octets) const;

  // connection_paths.cc
  Result<void> migrate_now(const Path& to, Migration how);
  void check_path();
  void begin_path();
  std::uint64_t octets_in_flight() const;
  void tell_proved(const Path& path);
  /// Where a packet for ngtcp2's `shown` path really goes; nullopt: nowhere any more.
  std::optional<Path> real_path(const ngtcp2_path& shown) const;
  bool in_flight_is_late() const;

  ConnectionOwner& owner_;
  bool server_;
  Phase phase_ = Phase::handshake;
  ngtcp2_conn* conn_ = nullptr;
  std::unique_ptr<TlsSession> tls_;
  ConnectionHandler* handler_ = nullptr;  // null after on_closed
  TransportOptions transport_;
  std::uint64_t now_ = 0;    // never goes back: ngtcp2 asserts it
  bool in_library_ = false;  // inside an ngtcp2 call: callbacks must not send, migrate or close
  bool confirmed_ = false;   // ngtcp2 says so; established() after the deferred on_established
  bool stateless_reset_ = false;
  bool authentic_ = false;  // the packet being read could be decrypted
  bool ping_wanted_ = false;

  Path path_;
  ngtcp2_path_storage path_raw_{};  // ngtcp2's current path, that is, path_ as `aliases_` shows it
  PathAliases aliases_;             // server only
  std::vector<Path> proved_;        // server: validated paths, the latest told first; at most kMaxProved
  std::optional<Path> validating_;  // of migrate(validate_first)

  std::vector<Cid> cids_;
  std::vector<ResetToken> peer_tokens_;

  std::size_t unsent_total_ = 0;  // of streams_, which count it
  std::unordered_map<std::int64_t, std::unique_ptr<Stream>> streams_;
  Stream* control_ = nullptr;  // id 0
  std::vector<Stream*> ready_;
  std::vector<Stream*> blocked_;
  std::uint64_t lost_packets_of_closed_streams_ = 0;

  std::optional<DatagramQueue> datagrams_;
  unsigned datagram_packets_ = 0;  // in a row, while streams waited

  std::vector<StopSending> stop_requests_;  // of the packet being read
  std::vector<std::function<void()>> deferred_;
  std::vector<std::function<void()>> early_;  // until on_established
  std::size_t early_octets_ = 0;

  // The packet in the making (ngtcp2's *_WRITE_MORE).
  ngtcp2_path_storage out_path_{};
  std::size_t packet_room_ = 0;
  std::size_t datagram_room_ = 0;

  // Closing (RFC 9000 10.2.1)
  bool close_unsent_ = false;
  bool close_application_ = false;
  std::uint64_t close_code_ = 0;
  std::string close_text_;
  ByteVector close_packet_;
  std::uint64_t close_packets_in_ = 0;
  TimePoint end_{};  // of closing and draining

  ConnectionStats stats_;
  PathWatch watch_;
};

template <typename Call>
void ConnectionImpl::tell(std::size_t octets, Call call) {
  if (handler_ == nullptr) return;
  if (phase_ == Phase::established) {
    call();
    return;
  }
  early_octets_ += octets;
  early_.push_back(std::move(call));
}

}  // namespace ztna::quic
