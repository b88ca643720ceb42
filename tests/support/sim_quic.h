// A QUIC endpoint on the simulated network, and a handler that records what it is told.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "quic/endpoint.h"
#include "support/sim_network.h"
#include "support/test_pki.h"

namespace ztna::test {

/// One host: an Endpoint whose packets travel over a SimNetwork. Several local addresses may be bound.
class SimEndpoint final : public quic::PacketSink {
 public:
  SimEndpoint(SimNetwork& network, quic::EndpointOptions options, quic::Acceptor* acceptor, std::uint64_t seed);

  quic::Endpoint& operator*() { return *endpoint_; }
  quic::Endpoint* operator->() { return endpoint_.get(); }
  void bind(const SocketAddress& address);
  /// Forgets every connection without a word, as a crashed process does.
  void restart(quic::EndpointOptions options, quic::Acceptor* acceptor);
  void flush();
  TimePoint deadline() const { return endpoint_->deadline(); }
  void on_deadline();

  std::size_t headroom(const quic::Path&) const override { return headroom_octets; }
  void send(const quic::Path& path, MutableBytes buffer, std::size_t segment) override;
  bool writable() const override { return may_write; }

  std::size_t headroom_octets = 0;
  bool may_write = true;
  std::uint64_t packets_sent = 0;
  std::uint64_t batches_sent = 0;
  std::size_t largest_sent = 0;
  std::map<quic::PacketFate, std::uint64_t> fates;
  /// What the quic layer is told in place of the real path; for tests that play the tunnel layer.
  std::function<quic::Path(const SimPacket&)> path_of;
  std::function<SimPacket(const quic::Path&, ByteVector)> packet_for;

 private:
  SimNetwork& network_;
  SeededRandom random_;
  std::unique_ptr<quic::Endpoint> endpoint_;
};

/// Runs network and endpoints in virtual time.
class SimWorld {
 public:
  explicit SimWorld(std::uint64_t seed) : network(seed), seed_(seed) {}
  SimNetwork network;

  SimEndpoint& add(quic::EndpointOptions options, quic::Acceptor* acceptor);
  TimePoint now() const { return network.now(); }
  void run_for(Duration duration) {
    run_until([] { return false; }, duration);
  }
  /// False when `limit` of virtual time passed before `done`.
  bool run_until(const std::function<bool()>& done, Duration limit);

 private:
  std::uint64_t seed_;
  std::vector<std::unique_ptr<SimEndpoint>> endpoints_;
};

struct RecordingHandler : quic::ConnectionHandler {
  Result<void> verify_peer(Bytes leaf) override {
    ++verified;
    leaf_seen.assign(leaf.begin(), leaf.end());
    if (!refuse_with.empty()) return fail(Errc::denied, "{}", refuse_with);
    return {};
  }
  void on_established() override {
    established = true;
    if (when_established) when_established();
  }
  void on_closed(const quic::CloseReason& reason) override {
    ++times_closed;
    closed = reason;
  }
  void on_stream_opened(quic::StreamId id) override { opened.push_back(id); }
  void on_stream_data(quic::StreamId id, Bytes data, bool fin) override {
    auto& s = streams[id.value];
    s.octets += data.size();
    if (keep_data) s.data.insert(s.data.end(), data.begin(), data.end());
    s.fin = s.fin || fin;
    if (connection != nullptr && auto_credit) connection->credit(id, data.size());
    if (when_data) when_data(id, data, fin);
  }
  void on_stream_drained(quic::StreamId id) override {
    ++drained;
    if (when_drained) when_drained(id);
  }
  void on_stream_reset(quic::StreamId id, std::uint64_t code) override { streams[id.value].reset = code; }
  void on_stop_sending(quic::StreamId id, std::uint64_t code) override { streams[id.value].stopped = code; }
  void on_stream_closed(quic::StreamId id) override { streams[id.value].closed = true; }
  void on_streams_available() override { ++streams_available; }
  void on_datagram(Bytes data) override {
    ++datagrams;
    if (keep_data) datagram_list.emplace_back(data.begin(), data.end());
    if (when_datagram) when_datagram(data);
  }
  void on_path_validated(const quic::Path& path, bool ok) override { validated.emplace_back(path, ok); }
  void on_path_changed(const quic::Path& path) override { paths.push_back(path); }
  void on_new_token(Bytes token) override { new_token.assign(token.begin(), token.end()); }
  void on_session(Bytes data) override { session.assign(data.begin(), data.end()); }

  struct StreamRecord {
    std::uint64_t octets = 0;
    ByteVector data;
    bool fin = false;
    bool closed = false;
    std::optional<std::uint64_t> reset;
    std::optional<std::uint64_t> stopped;
  };
  quic::Connection* connection = nullptr;
  std::string refuse_with;
  bool keep_data = true;
  bool auto_credit = true;
  int verified = 0;
  ByteVector leaf_seen;
  bool established = false;
  int times_closed = 0;
  std::optional<quic::CloseReason> closed;
  std::vector<quic::StreamId> opened;
  std::map<std::int64_t, StreamRecord> streams;
  int drained = 0;
  int streams_available = 0;
  std::uint64_t datagrams = 0;
  std::vector<ByteVector> datagram_list;
  std::vector<std::pair<quic::Path, bool>> validated;
  std::vector<quic::Path> paths;
  ByteVector new_token;
  ByteVector session;
  std::function<void()> when_established;
  std::function<void(quic::StreamId, Bytes, bool)> when_data;
  std::function<void(quic::StreamId)> when_drained;
  std::function<void(Bytes)> when_datagram;
};

struct RecordingAcceptor : quic::Acceptor {
  Admit admit(const quic::Path&, bool validated, TimePoint) override {
    ++asked;
    if (validated) ++asked_validated;
    return verdict;
  }
  Result<Accepted> accept(quic::Connection& connection, const quic::Path&, TimePoint) override {
    if (!refuse_with.empty()) return fail(Errc::denied, "{}", refuse_with);
    auto handler = std::make_unique<RecordingHandler>();
    handler->connection = &connection;
    if (prepare) prepare(*handler);
    handlers.push_back(std::move(handler));
    return Accepted{tls, transport, handlers.back().get()};
  }
  RecordingHandler& last() { return *handlers.back(); }

  Admit verdict = Admit::accept;
  std::string refuse_with;
  int asked = 0;
  int asked_validated = 0;
  std::shared_ptr<const quic::TlsContext> tls;
  quic::TransportOptions transport;
  std::function<void(RecordingHandler&)> prepare;
  std::vector<std::unique_ptr<RecordingHandler>> handlers;
};

}  // namespace ztna::test
