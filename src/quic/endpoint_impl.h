// quic::Endpoint. endpoint_impl.cc: connections and their deadlines; endpoint_receive.cc: packets in;
// endpoint_stateless.cc: answers that need no connection.
#pragma once

#include <unordered_map>
#include <vector>

#include "base/source_buckets.h"
#include "quic/connection_impl.h"
#include "quic/endpoint.h"

namespace ztna::quic {

class EndpointImpl final : public Endpoint, private ConnectionOwner {
 public:
  EndpointImpl(EndpointOptions options, Random& random, Acceptor* acceptor);
  ~EndpointImpl() override;

  PacketFate receive(const Path& path, Bytes packet, TimePoint now, PacketSink& out) override;
  Result<Connection*> connect(const ConnectOptions& options, const Path& path, ConnectionHandler& handler,
                              TimePoint now) override;
  void flush(TimePoint now, PacketSink& out) override;
  TimePoint deadline() const override;
  void on_deadline(TimePoint now) override;
  std::size_t connections() const override { return connections_.size(); }
  void set_max_connections(std::size_t limit) override { options_.max_connections = limit; }
  const CounterSet<PacketFate>& fates() const override { return fates_; }
  const Counter& retry_tokens_validated() const override { return retry_tokens_validated_; }
  const Counter& retry_token_failures() const override { return retry_token_failures_; }
  const Counter& datagrams_dropped() const override { return datagrams_dropped_; }

 private:
  /// A token bucket, so that a flood of junk cannot make us send as much.
  struct Budget {
    double left = 0;
    TimePoint last{};
    bool take(TimePoint now, double per_second, double burst);
  };
  /// What an Initial's token is worth.
  struct Token {
    bool validated = false;
    bool forged = false;  // a Retry token that does not hold
    bool retry = false;
    std::optional<Cid> original_dcid;
  };
  struct TokenHash {
    std::uint64_t key;
    std::size_t operator()(const ResetToken& token) const;
  };

  // endpoint_receive.cc
  PacketFate sort(const Path& path, Bytes packet, TimePoint now, PacketSink& out);
  PacketFate unknown_short(const Path& path, Bytes packet, const Cid& dcid, TimePoint now, PacketSink& out);
  PacketFate initial(const Path& path, Bytes packet, TimePoint now, PacketSink& out);
  PacketFate accept(const Path& path, Bytes packet, const ngtcp2_pkt_hd& header, const Token& token, TimePoint now,
                    PacketSink& out);
  Token check_token(const Path& path, const ngtcp2_pkt_hd& header, TimePoint now);
  bool foreign(const Cid& dcid) const;
  bool welcome(const Path& path, TimePoint now);

  // endpoint_stateless.cc
  bool send_version_negotiation(const Path& path, Bytes dcid, Bytes scid, PacketSink& out);
  bool send_retry(const Path& path, const ngtcp2_pkt_hd& header, TimePoint now, PacketSink& out);
  bool send_reset(const Path& path, const Cid& dcid, std::size_t trigger, TimePoint now, PacketSink& out);
  void send_refusal(const Path& path, const ngtcp2_pkt_hd& header, std::uint64_t code, std::string_view text,
                    PacketSink& out);
  void send_one(const Path& path, Bytes packet, PacketSink& out);

  // ConnectionOwner
  Random& random() override { return random_; }
  Cid new_cid(ConnectionImpl& connection) override;
  void add_cid(const Cid& cid, ConnectionImpl& connection) override;
  void remove_cid(const Cid& cid, ConnectionImpl& connection) override;
  ResetToken reset_token(const Cid& cid) override;
  void add_peer_token(const ResetToken& token, ConnectionImpl& connection) override;
  void remove_peer_token(const ResetToken& token, ConnectionImpl& connection) override;
  ByteVector new_token(const SocketAddress& remote, TimePoint now) override;
  void touched(ConnectionImpl& connection) override;
  void handshake_over(ConnectionImpl& connection) override;
  void datagrams_dropped(std::size_t count) override { datagrams_dropped_.add(count); }

  Cid random_cid();
  ConnectionImpl& adopt(std::unique_ptr<ConnectionImpl> connection);
  void drop(ConnectionImpl& connection);

  EndpointOptions options_;
  Random& random_;
  Acceptor* acceptor_;
  CounterSet<PacketFate> fates_;
  Counter retry_tokens_validated_;
  Counter retry_token_failures_;
  Counter datagrams_dropped_;

  std::unordered_map<ConnectionImpl*, std::unique_ptr<ConnectionImpl>> connections_;
  std::unordered_map<Cid, ConnectionImpl*> by_cid_;
  std::unordered_map<ResetToken, ConnectionImpl*, TokenHash> by_peer_token_;
  DeadlineHeap<ConnectionImpl> deadlines_;
  std::vector<ConnectionImpl*> dirty_;
  std::vector<ConnectionImpl*> turn_;      // of the flush under way
  std::vector<ConnectionImpl*> flushing_;  // all that the flush under way has seen
  std::size_t handshakes_ = 0;
  bool unfinished_ = false;  // the last flush stopped at its own limit
  TimePoint last_flush_{};
  PacketBatch batch_;
  SourceBuckets resets_by_source_;
  Budget resets_;
  Budget negotiations_;
};

}  // namespace ztna::quic
