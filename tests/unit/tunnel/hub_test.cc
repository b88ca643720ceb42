#include "tunnel/hub.h"

#include <gtest/gtest.h>

#include "wire/routed_datagram.h"

namespace ztna::tunnel {
namespace {

struct FakeEndpoint final : quic::Endpoint {
  std::vector<std::pair<quic::Path, ByteVector>> received;
  CounterSet<quic::PacketFate> fates_;
  Counter none_;
  quic::PacketFate receive(const quic::Path& path, Bytes packet, TimePoint, quic::PacketSink&) override {
    received.emplace_back(path, ByteVector{packet.begin(), packet.end()});
    return quic::PacketFate::to_connection;
  }
  Result<quic::Connection*> connect(const quic::ConnectOptions&, const quic::Path&, quic::ConnectionHandler&,
                                    TimePoint) override {
    return fail(Errc::internal, "not in this test");
  }
  void flush(TimePoint, quic::PacketSink&) override {}
  TimePoint deadline() const override { return kNever; }
  void on_deadline(TimePoint) override {}
  std::size_t connections() const override { return 0; }
  void set_max_connections(std::size_t) override {}
  const CounterSet<quic::PacketFate>& fates() const override { return fates_; }
  const Counter& retry_tokens_validated() const override { return none_; }
  const Counter& retry_token_failures() const override { return none_; }
  const Counter& datagrams_dropped() const override { return none_; }
};

struct FakeUdp final : UdpPort {
  struct Sent {
    SocketAddress to;
    ByteVector row;
    std::size_t segment;
  };
  std::vector<Sent> sent;
  void send(const SocketAddress& to, Bytes row, std::size_t segment) override {
    sent.push_back({to, {row.begin(), row.end()}, segment});
  }
  bool writable() const override { return true; }
};

struct FakeProbes final : ProbeHandler {
  std::vector<std::pair<SocketAddress, ByteVector>> received;
  void on_probe(SocketId, const SocketAddress& from, Bytes payload, TimePoint) override {
    received.emplace_back(from, ByteVector{payload.begin(), payload.end()});
  }
};

struct HubTest : testing::Test {
  FakeEndpoint endpoint;
  FakeUdp udp;
  Hub hub{endpoint, udp};
  const SocketAddress intermediate = *SocketAddress::parse("198.18.3.2:4433");
  const SocketAddress stranger = *SocketAddress::parse("198.18.9.9:4433");
  const wire::RouteId route{0x0102030405060708};
  TimePoint now{};

  static ByteVector routed(wire::RouteId id, std::string_view packet) {
    ByteVector d(wire::RelayDatagram::kHeaderSize);
    wire::write_relay_header(MutableBytes{d}.first<wire::RelayDatagram::kHeaderSize>(), id);
    d.insert(d.end(), packet.begin(), packet.end());
    return d;
  }
};

TEST_F(HubTest, DropsAndCountsWhatItMustNotTake) {
  hub.relay().open({route, intermediate});
  hub.receive(intermediate, {}, 0, now);
  hub.receive(intermediate, ByteVector{0x00, 1, 2}, 3, now);
  hub.receive(intermediate, ByteVector{0x2F, 8, 1}, 3, now);
  hub.receive(stranger, routed(route, "@quic"), 0, now);
  hub.receive(intermediate, routed(wire::RouteId{99}, "@quic"), 0, now);
  EXPECT_TRUE(endpoint.received.empty());
  EXPECT_TRUE(udp.sent.empty());
  EXPECT_EQ(hub.fates().value(UdpFate::junk), 2U);
  EXPECT_EQ(hub.fates().value(UdpFate::relay_malformed), 1U);
  EXPECT_EQ(hub.fates().value(UdpFate::relay_wrong_source), 1U);
  EXPECT_EQ(hub.fates().value(UdpFate::relay_unknown_route), 1U);
}

TEST_F(HubTest, StripsTheRelayHeaderAndNamesThePath) {
  const auto path = hub.relay().open({route, intermediate});
  hub.receive(*SocketAddress::parse("[::ffff:198.18.3.2]:4433"), routed(route, "@quic"), 0, now + 1s);
  ASSERT_EQ(endpoint.received.size(), 1U);
  EXPECT_EQ(endpoint.received[0].first, path);
  EXPECT_EQ(as_text(endpoint.received[0].second), "@quic");
  EXPECT_EQ(hub.last_relayed_in(), now + 1s);
}

TEST_F(HubTest, SortsARowThatMixesKinds) {
  hub.relay().open({route, intermediate});
  auto row = routed(route, "@relayed");
  const auto segment = row.size();
  ByteVector control(segment, 'C');  // 0x43: bit 0x40 set
  row.insert(row.end(), control.begin(), control.end());
  row.push_back('@');
  hub.receive(intermediate, row, segment, now);
  ASSERT_EQ(endpoint.received.size(), 3U);
  EXPECT_TRUE(RelayPaths::is_synthetic(endpoint.received[0].first.local));
  EXPECT_EQ(endpoint.received[1].first, Hub::direct_path(intermediate));
  EXPECT_EQ(endpoint.received[1].second, control);
  EXPECT_EQ(endpoint.received[2].second.size(), 1U);
}

TEST_F(HubTest, FramesEachSegmentForTheRelay) {
  const auto path = hub.relay().open({route, intermediate});
  ASSERT_EQ(hub.headroom(path), wire::RelayDatagram::kHeaderSize);
  ByteVector buffer(2 * 30 + 15, 'p');
  hub.send(path, buffer, 30);
  ASSERT_EQ(udp.sent.size(), 1U);
  EXPECT_EQ(udp.sent[0].to, intermediate);
  EXPECT_EQ(udp.sent[0].segment, 30U);
  for (const std::size_t at : {0U, 30U, 60U}) {
    const auto datagram = Bytes{udp.sent[0].row}.subspan(at, std::min<std::size_t>(30, 75 - at));
    const auto parsed = wire::RelayDatagram::parse(datagram);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->route, route);
  }
}

TEST_F(HubTest, SendsNothingOnAClosedRoute) {
  const auto path = hub.relay().open({route, intermediate});
  hub.relay().close(route);
  ByteVector buffer(30, 'p');
  hub.send(path, buffer, 30);
  EXPECT_TRUE(udp.sent.empty());
  EXPECT_EQ(hub.sent_to_closed_route().value(), 1U);
}

TEST_F(HubTest, EveryOpenedRouteIsAFreshPath) {
  const auto first = hub.relay().open({route, intermediate});
  const auto second = hub.relay().open({route, intermediate});  // the same id again
  EXPECT_NE(first.local.ip, second.local.ip);
  EXPECT_NE(first.remote.ip, second.remote.ip);
  EXPECT_EQ(hub.relay().leg(first), nullptr);
  EXPECT_EQ(hub.relay().size(), 1U);
}

TEST_F(HubTest, HandsProbesOnOneByOneAndNothingElse) {
  FakeProbes probes;
  hub.set_probe_handler(&probes);
  // A GRO row may mix kinds: probe, junk, QUIC, probe.
  const ByteVector row{0x1A, 1, 0x00, 2, 0x40, 3, 0x1A};
  hub.receive(stranger, row, 2, TimePoint{});
  ASSERT_EQ(probes.received.size(), 2U);
  EXPECT_EQ(probes.received[0], (std::pair<SocketAddress, ByteVector>{stranger, {0x1A, 1}}));
  EXPECT_EQ(probes.received[1], (std::pair<SocketAddress, ByteVector>{stranger, {0x1A}}));
  EXPECT_EQ(hub.fates().value(UdpFate::probe), 2U);
  EXPECT_EQ(hub.fates().value(UdpFate::junk), 1U);
  EXPECT_EQ(hub.fates().value(UdpFate::quic_direct), 1U);

  hub.set_probe_handler(nullptr);
  hub.receive(stranger, row, 2, TimePoint{});
  EXPECT_EQ(probes.received.size(), 2U);
  EXPECT_EQ(hub.fates().value(UdpFate::probe), 4U);
}

TEST_F(HubTest, RenewedPathIsTheRoutesAndTheOlderOneStillSends) {
  const auto first = hub.relay().open({route, intermediate});
  EXPECT_EQ(hub.relay().renew(wire::RouteId{99}), std::nullopt);
  const auto second = hub.relay().renew(route);
  ASSERT_TRUE(second);
  EXPECT_NE(second->local.ip, first.local.ip);
  EXPECT_NE(second->remote.ip, first.remote.ip);
  hub.receive(intermediate, routed(route, "@quic"), 0, now);
  ASSERT_EQ(endpoint.received.size(), 1U);
  EXPECT_EQ(endpoint.received[0].first, *second);
  ByteVector buffer(30, 'p');
  hub.send(first, buffer, 30);
  hub.send(*second, buffer, 30);
  EXPECT_EQ(udp.sent.size(), 2U);
  const auto third = hub.relay().renew(route);
  hub.send(first, buffer, 30);
  EXPECT_EQ(udp.sent.size(), 2U) << "one older path is kept, not all";
  EXPECT_EQ(hub.sent_to_closed_route().value(), 1U);
  hub.relay().close(route);
  for (const auto& path : {*second, *third}) EXPECT_EQ(hub.relay().leg(path), nullptr);
  EXPECT_EQ(hub.relay().size(), 0U);
}

TEST_F(HubTest, RenewalThatWasNotTakenLeavesThePathAsItWas) {
  const auto first = hub.relay().open({route, intermediate});
  const auto second = *hub.relay().renew(route);
  hub.relay().take_back(route);
  EXPECT_EQ(*hub.relay().path(route), first);
  EXPECT_EQ(hub.relay().leg(second), nullptr);
  EXPECT_NE(hub.relay().leg(first), nullptr);
  hub.relay().take_back(route);  // nothing to take back
  EXPECT_EQ(*hub.relay().path(route), first);
}

TEST_F(HubTest, DirectPathsHaveAnotherLocalNameForEachMigration) {
  const auto over_relay = hub.relay().open({route, intermediate});
  const auto first = Hub::direct_path(stranger, over_relay);
  EXPECT_EQ(first, Hub::direct_path(stranger));
  const auto second = Hub::direct_path(stranger, first);
  EXPECT_EQ(second.remote, first.remote);
  EXPECT_NE(second.local, first.local);
  EXPECT_FALSE(RelayPaths::is_synthetic(second.local));
  auto last = first;
  last.local.port = 65'535;
  EXPECT_NE(Hub::direct_path(stranger, last).local, last.local);
  ByteVector buffer(30, 'p');
  hub.send(second, buffer, 30);
  ASSERT_EQ(udp.sent.size(), 1U);
  EXPECT_EQ(udp.sent[0].to, stranger);
}

}  // namespace
}  // namespace ztna::tunnel
