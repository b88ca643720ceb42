// Tunnels over a fake Endpoint and a fake control connection: the Connector's end is played by the test.
#pragma once

#include <gtest/gtest.h>

#include <deque>

#include "agent/tunnels.h"
#include "identity/authority.h"
#include "packets.h"
#include "support/fake_connection.h"
#include "support/seeded_random.h"

namespace ztna::agent::testing {

inline constexpr WallTime kWall{std::chrono::seconds{1'800'000'000}};

/// Takes on_closed's duty over from the real connection.
class Conn final : public quic::Connection {
 public:
  explicit Conn(quic::ConnectionHandler& h) : handler(h) {}
  bool established() const override { return true; }
  bool closed() const override { return fake.closed(); }
  Bytes peer_certificate() const override { return {}; }
  const quic::Path& path() const override { return fake.path(); }
  quic::ConnectionStats stats() const override { return seen; }
  quic::Liveness liveness() const override { return fake.seen; }
  Result<quic::StreamId> open_stream() override {
    if (streams_left == 0) return fail(Errc::exhausted, "limit");
    --streams_left;
    return fake.open_stream();
  }
  Result<void> write(quic::StreamId s, Chunk c) override { return fake.write(s, std::move(c)); }
  Result<void> write(quic::StreamId s, Bytes d) override { return fake.write(s, d); }
  void finish(quic::StreamId s) override { fake.finish(s); }
  void reset(quic::StreamId s, std::uint64_t c) override { fake.reset(s, c); }
  void stop_sending(quic::StreamId s, std::uint64_t c) override { fake.stop_sending(s, c); }
  std::size_t unsent(quic::StreamId s) const override { return fake.unsent(s); }
  void credit(quic::StreamId s, std::size_t n) override { fake.credit(s, n); }
  std::size_t max_datagram() const override { return 1200; }
  Result<void> send_datagram(Bytes h, Bytes b) override { return fake.send_datagram(h, b); }
  Result<void> migrate(const quic::Path& to, quic::Migration how, TimePoint now) override {
    if (migrate_fails) return fail(Errc::exhausted, "no connection id");
    return fake.migrate(to, how, now);
  }
  Result<void> export_key(std::string_view, Bytes, MutableBytes) override { return {}; }
  void ping() override {}
  void close(std::uint64_t code, std::string_view text) override {
    if (closed()) return;
    fake.close(code, text);
    handler.on_closed(*fake.closed_with);
  }

  test::FakeConnection fake;
  quic::ConnectionHandler& handler;
  quic::ConnectionStats seen;
  std::size_t streams_left = 100;
  bool migrate_fails = false;
};

class FakeEndpoint final : public quic::Endpoint {
 public:
  quic::PacketFate receive(const quic::Path&, Bytes, TimePoint, quic::PacketSink&) override {
    return quic::PacketFate::malformed;
  }
  Result<quic::Connection*> connect(const quic::ConnectOptions&, const quic::Path& path,
                                    quic::ConnectionHandler& handler, TimePoint) override {
    if (fails) return fail(Errc::internal, "no memory");
    conns.push_back(std::make_unique<Conn>(handler));
    conns.back()->fake.current = path;
    return conns.back().get();
  }
  void flush(TimePoint, quic::PacketSink&) override {}
  TimePoint deadline() const override { return kNever; }
  void on_deadline(TimePoint) override {}
  std::size_t connections() const override { return conns.size(); }
  void set_max_connections(std::size_t) override {}
  const CounterSet<quic::PacketFate>& fates() const override { return fates_; }
  const Counter& retry_tokens_validated() const override { return counter_; }
  const Counter& retry_token_failures() const override { return counter_; }
  const Counter& datagrams_dropped() const override { return counter_; }
  std::deque<std::unique_ptr<Conn>> conns;
  bool fails = false;

 private:
  CounterSet<quic::PacketFate> fates_;
  Counter counter_;
};

struct NoUdp final : tunnel::UdpPort {
  void send(const SocketAddress&, Bytes, std::size_t) override {}
  bool writable() const override { return true; }
};

struct Control final : ControlPort {
  bool ready() const override { return is_ready; }
  bool send(const wire::ControlMessage& message) override {
    sent.push_back(message);
    return is_ready;
  }
  void suspect() override { ++suspicions; }
  void be_seen() override { ++shown; }
  SocketAddress intermediate() const override { return at("192.0.2.1", 4433); }
  Duration rtt() const override { return 20ms; }

  template <typename Message>
  std::vector<Message> of() const {
    std::vector<Message> all;
    for (const auto& m : sent) {
      if (const auto* found = std::get_if<Message>(&m)) all.push_back(*found);
    }
    return all;
  }
  bool is_ready = true;
  std::vector<wire::ControlMessage> sent;
  int suspicions = 0;
  int shown = 0;  // be_seen()
};

struct TunnelsTest : ::testing::Test, TunnelsOwner {
  void on_packet(const wire::ServiceId& service, Bytes octets) override {
    packets.emplace_back(service, ByteVector{octets.begin(), octets.end()});
  }
  void on_packet_without_service() override { ++strays; }
  void on_flow_result(FlowId flow, std::optional<wire::StreamResult> result) override {
    results.emplace_back(flow, result);
  }
  void on_flow_unreachable(FlowId flow, bool denied) override { unreachable.emplace_back(flow, denied); }
  void on_waiting_over(TunFate fate, Bytes) override { waited.push_back(fate); }

  void SetUp() override {
    auto ca = identity::Authority::create({.name = "ca", .now = kWall});
    ASSERT_TRUE(ca) << ca.error().text;
    leaf = issue(*ca, {"web", "db"});
    other_leaf = issue(*ca, {"web"});
    newer_leaf = issue(*ca, {"web", "db"}, kWall + std::chrono::hours{24 * 10});
  }
  static ByteVector issue(const identity::Authority& ca, std::vector<std::string> services) {
    return issue(ca, std::move(services), kWall);
  }
  static ByteVector issue(const identity::Authority& ca, std::vector<std::string> services, WallTime when) {
    auto leaf =
        ca.issue({.role = identity::Role::connector, .name = "c1", .services = std::move(services), .now = when});
    EXPECT_TRUE(leaf) << leaf.error().text;
    return leaf->certificate.der;
  }

  void run_for(Duration d) {
    const auto end = now + d;
    while (now < end) {
      now = std::min(end, std::max(now + 1ns, tunnels.deadline()));
      tunnels.on_deadline();
      tunnels.flush();
      tunnels.flushed();
    }
  }
  wire::RouteOpened opened(const wire::RouteRequest& request, std::string peer = "c1", std::uint8_t instance = 1) {
    return {request.tunnel,  wire::RouteId{++last_route}, wire::Role::connector, wire::InstanceId{{instance}},
            std::move(peer), id(request.service)};
  }
  template <typename Message>
  void say(Conn& conn, const Message& message) {
    const wire::TunnelMessage any{message};
    ByteVector frame;
    wire::append_frame(frame, any);
    conn.handler.on_stream_data(quic::StreamId{0}, frame, false);
  }
  void hello(Conn& conn, const ByteVector& certificate) {
    ASSERT_TRUE(conn.handler.verify_peer(certificate));
    conn.handler.on_established();
    say(conn, wire::Hello{});
  }
  /// What the Agent said on the tunnel's control stream, less Hello.
  std::vector<wire::OpenService> asked(Conn& conn) {
    std::vector<wire::OpenService> all;
    wire::Framer framer;
    (void)framer.push(conn.fake.streams[quic::StreamId{0}].written, [&](const wire::Frame& frame) -> Result<void> {
      const auto message = wire::parse_tunnel_message(frame.type, frame.body);
      if (const auto* open = std::get_if<wire::OpenService>(&*message)) all.push_back(*open);
      return {};
    });
    return all;
  }
  /// A packet opens the way to "web".
  Conn& bring_up() {
    tunnels.send(id("web"), TunFate::carried_udp, packet);
    tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back()));
    auto& conn = *endpoint.conns.back();
    hello(conn, leaf);
    say(conn, wire::ServiceOpened{asked(conn).back().handle, wire::RegistrationStatus::ok});
    return conn;
  }

  TimePoint now{100s};
  WallTime wall = kWall + std::chrono::seconds{60};
  test::SeededRandom random{7};
  FakeEndpoint endpoint;
  NoUdp udp;
  tunnel::Hub hub{endpoint, udp};
  CounterSet<tunnel::DatagramFate> datagram_fates;
  Control control;
  TunnelContext context{endpoint, hub, now, [this] { return wall; }, datagram_fates, "test", {}};
  Tunnels tunnels{context, random, control, *this};
  ByteVector leaf, other_leaf, newer_leaf;
  const ByteVector packet = testing::udp(at("10.100.0.254", 1), at("10.100.0.5", 2));
  std::uint64_t last_route = 0;

  std::vector<std::pair<wire::ServiceId, ByteVector>> packets;
  int strays = 0;
  std::vector<std::pair<FlowId, std::optional<wire::StreamResult>>> results;
  std::vector<std::pair<FlowId, bool>> unreachable;
  std::vector<TunFate> waited;
};

}  // namespace ztna::agent::testing
