// Routes, shared tunnels and what waits.
#include "agent/tunnels.h"

#include "tunnels_fixture.h"

namespace ztna::agent {
namespace {

using testing::at;
using testing::Conn;
using testing::id;
using testing::kWall;
using testing::TunnelsTest;

TEST_F(TunnelsTest, ConnectorThatMayNotOfferTheServiceIsRefused) {
  auto ca = identity::Authority::create({.name = "ca", .now = kWall});
  tunnels.send(id("web"), TunFate::carried_udp, packet);
  tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back()));
  auto& handler = endpoint.conns.back()->handler;
  EXPECT_FALSE(handler.verify_peer(issue(*ca, {"db"})));
  EXPECT_FALSE(handler.verify_peer(ByteVector{1, 2, 3}));
  const auto agent = ca->issue({.role = identity::Role::agent, .name = "a", .services = {"web"}, .now = kWall});
  EXPECT_FALSE(handler.verify_peer(agent->certificate.der));
  EXPECT_TRUE(handler.verify_peer(leaf));
}

TEST_F(TunnelsTest, DeniedRouteResetsFlowsAndRefusesPackets) {
  tunnels.send(id("web"), TunFate::carried_udp, packet);
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));
  const auto request = control.of<wire::RouteRequest>().back();
  tunnels.on_route_closed({request.tunnel, wire::RouteCloseReason::not_permitted});
  EXPECT_EQ(waited, std::vector<TunFate>{TunFate::refused});
  EXPECT_EQ(unreachable, (std::vector<std::pair<FlowId, bool>>{{FlowId{1}, true}}));
}

TEST_F(TunnelsTest, WaitingIsBoundedInOctetsAndTime) {
  const auto room = Waiting::kMaxOctets / (packet.size() + Waiting::kOverhead);
  for (std::size_t i = 0; i < room; ++i) {
    ASSERT_EQ(tunnels.send(id("web"), TunFate::carried_udp, packet), std::nullopt) << i;
  }
  EXPECT_EQ(tunnels.send(id("web"), TunFate::carried_udp, packet), TunFate::queue_full);
  EXPECT_EQ(tunnels.send(id("db"), TunFate::carried_udp, packet), std::nullopt) << "each service has its own room";
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));
  run_for(Waiting::kPacketWait);
  EXPECT_EQ(waited, std::vector<TunFate>(room + 1, TunFate::queue_timeout));
  EXPECT_TRUE(unreachable.empty());
  EXPECT_EQ(tunnels.send(id("web"), TunFate::carried_udp, packet), std::nullopt) << "there is room again";
  run_for(Waiting::kFlowWait - Waiting::kPacketWait);
  EXPECT_EQ(unreachable, (std::vector<std::pair<FlowId, bool>>{{FlowId{1}, false}}));
}

TEST_F(TunnelsTest, AllServicesTogetherHaveALimitAndGiveTheirRoomBack) {
  const auto largest = testing::udp(at("10.100.0.254", 1), at("10.100.0.5", 2), 60'000);
  const auto fill = [&](const std::string& service) {
    std::optional<TunFate> fate;
    while (!fate) fate = tunnels.send(id(service), TunFate::carried_udp, largest);
    return *fate;
  };
  int services = 0;
  while (fill(fmt::format("s{}", services)) == TunFate::queue_full) ASSERT_LT(++services, 100);
  EXPECT_GE(services, 16);
  EXPECT_EQ(tunnels.send(id("web"), TunFate::carried_udp, largest), TunFate::queue_full_all);
  tunnels.remove(id("s0"));
  EXPECT_EQ(tunnels.send(id("web"), TunFate::carried_udp, largest), std::nullopt);
}

TEST_F(TunnelsTest, RefusedRouteIsAskedForAgainWithGrowingPauses) {
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));
  std::vector<TimePoint> asked_at;
  while (unreachable.empty()) {
    const auto requests = control.of<wire::RouteRequest>();
    if (requests.size() > asked_at.size()) {
      asked_at.push_back(now);
      tunnels.on_route_closed({requests.back().tunnel, wire::RouteCloseReason::no_such_service});
    }
    run_for(10ms);
  }
  ASSERT_GE(asked_at.size(), 4U);
  EXPECT_NEAR(static_cast<double>((asked_at[1] - asked_at[0]).count()), 200e6, 20e6);
  EXPECT_NEAR(static_cast<double>((asked_at[2] - asked_at[1]).count()), 400e6, 20e6);
  EXPECT_NEAR(static_cast<double>((asked_at[3] - asked_at[2]).count()), 800e6, 20e6);
}

TEST_F(TunnelsTest, ServiceUpEndsThePause) {
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));
  for (int i = 0; i < 3; ++i) {
    tunnels.on_route_closed({control.of<wire::RouteRequest>().back().tunnel, wire::RouteCloseReason::peer_gone});
    run_for(800ms);
  }
  tunnels.on_route_closed({control.of<wire::RouteRequest>().back().tunnel, wire::RouteCloseReason::peer_gone});
  const auto before = control.of<wire::RouteRequest>().size();
  tunnels.service_up(id("web"));
  EXPECT_EQ(control.of<wire::RouteRequest>().size(), before + 1);
}

TEST_F(TunnelsTest, PacketsThatWaitedAreSentWhenTheServiceOpens) {
  auto& conn = bring_up();
  EXPECT_EQ(waited, std::vector<TunFate>{TunFate::carried_udp});
  ASSERT_EQ(conn.fake.datagrams.size(), 1U);
  EXPECT_EQ(tunnels.send(id("web"), TunFate::carried_udp, packet), TunFate::carried_udp);
  EXPECT_EQ(conn.fake.datagrams.size(), 2U);
}

TEST_F(TunnelsTest, TwoServicesOfOneConnectorShareATunnel) {
  auto& conn = bring_up();
  tunnels.send(id("db"), TunFate::carried_udp, packet);
  const auto request = control.of<wire::RouteRequest>().back();
  tunnels.on_route_opened(opened(request));
  EXPECT_EQ(endpoint.conns.size(), 1U);
  const auto closed = control.of<wire::RouteClosed>();
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_EQ(closed[0].tunnel, request.tunnel);
  ASSERT_EQ(asked(conn).size(), 2U);
  EXPECT_EQ(asked(conn)[1].service, "db");
  EXPECT_NE(asked(conn)[1].handle, asked(conn)[0].handle);
}

/// Each service is asked for by itself: that is where the Intermediate looks at policy and picks a Connector.
TEST_F(TunnelsTest, TwoServicesAskedForAtOnceShareATunnel) {
  tunnels.send(id("web"), TunFate::carried_udp, packet);
  tunnels.send(id("db"), TunFate::carried_udp, packet);
  const auto requests = control.of<wire::RouteRequest>();
  ASSERT_EQ(requests.size(), 2U);
  for (const auto& request : requests) tunnels.on_route_opened(opened(request));
  ASSERT_EQ(endpoint.conns.size(), 1U) << "the first is still shaking hands";
  const auto closed = control.of<wire::RouteClosed>();
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_EQ(closed[0].tunnel, requests[1].tunnel);
  auto& conn = *endpoint.conns.back();
  hello(conn, leaf);
  ASSERT_EQ(asked(conn).size(), 2U);
  for (const auto& open : asked(conn)) say(conn, wire::ServiceOpened{open.handle, wire::RegistrationStatus::ok});
  EXPECT_EQ(conn.fake.datagrams.size(), 2U);
  EXPECT_EQ(tunnels.size(), 1U);
}

TEST_F(TunnelsTest, NameFromTheIntermediateIsNotEnoughToShareATunnel) {
  tunnels.send(id("web"), TunFate::carried_udp, packet);
  tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back()));
  hello(*endpoint.conns.back(), other_leaf);  // permits web only
  tunnels.begin_flow(FlowId{1}, id("db"), at("10.100.0.6", 80));
  tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back()));
  EXPECT_EQ(unreachable, (std::vector<std::pair<FlowId, bool>>{{FlowId{1}, true}}));
  EXPECT_EQ(asked(*endpoint.conns.back()).size(), 1U);
}

TEST_F(TunnelsTest, NewRouteForTheSameTunnelAfterALostControlConnection) {
  auto& conn = bring_up();
  const auto first = control.of<wire::RouteRequest>().back();
  const auto before = conn.path();
  control.is_ready = false;
  tunnels.control_lost();
  control.is_ready = true;
  tunnels.control_ready();
  const auto second = control.of<wire::RouteRequest>().back();
  EXPECT_EQ(second.tunnel, first.tunnel);
  tunnels.on_route_opened(opened(second));
  ASSERT_EQ(conn.fake.migrations.size(), 1U);
  EXPECT_EQ(conn.fake.migrations[0].second, quic::Migration::immediate);
  EXPECT_NE(conn.path().local, before.local);
  EXPECT_EQ(hub.relay().size(), 2U);  // packets on the old one may still come
  run_for(TunnelClient::kOldRouteLife + 1s);
  EXPECT_EQ(hub.relay().size(), 1U);
}

TEST_F(TunnelsTest, MigrationThatFailsIsTriedAgain) {
  auto& conn = bring_up();
  conn.migrate_fails = true;
  tunnels.control_ready();
  tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back()));
  EXPECT_EQ(hub.relay().size(), 1U);
  conn.migrate_fails = false;
  run_for(300ms);
  tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back()));
  EXPECT_EQ(conn.fake.migrations.size(), 1U);
}

TEST_F(TunnelsTest, RestartedConnectorGetsANewTunnel) {
  auto& conn = bring_up();
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));  // not answered yet
  tunnels.control_ready();
  tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back(), "c1", 2));
  EXPECT_TRUE(conn.closed());
  EXPECT_EQ(tunnels.events().value(TunnelEvent::peer_restarted), 1U);
  run_for(1ms);
  EXPECT_EQ(hub.relay().size(), 0U);
  tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back(), "c1", 2));
  ASSERT_EQ(endpoint.conns.size(), 2U);
  auto& next = *endpoint.conns.back();
  hello(next, leaf);
  say(next, wire::ServiceOpened{asked(next).back().handle, wire::RegistrationStatus::ok});
  EXPECT_EQ(next.fake.streams.size(), 2U);  // the held connection is asked for again
  EXPECT_TRUE(unreachable.empty());
}

TEST_F(TunnelsTest, StreamsCarryTheHeaderAndResultsComeBack) {
  auto& conn = bring_up();
  tunnels.begin_flow(FlowId{5}, id("web"), at("10.100.0.5", 8080));
  const quic::StreamId stream{4};
  const auto header = wire::StreamHeader::parse(conn.fake.streams[stream].written);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->port, 8080);
  EXPECT_EQ(header->family, Family::v4);
  conn.handler.on_stream_data(stream, ByteVector{1}, true);
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results[0].second, wire::StreamResult::refused);
  tunnels.flush();
  EXPECT_EQ(tunnels.sessions(), 0U);
}

TEST_F(TunnelsTest, StreamLimitMakesFlowsWait) {
  auto& conn = bring_up();
  conn.streams_left = 0;
  tunnels.begin_flow(FlowId{5}, id("web"), at("10.100.0.5", 80));
  EXPECT_EQ(tunnels.sessions(), 0U);
  conn.streams_left = 1;
  conn.handler.on_streams_available();
  EXPECT_EQ(tunnels.sessions(), 1U);
}

TEST_F(TunnelsTest, FlowThatWaitsForAStreamHasItsTimeOnce) {
  auto& conn = bring_up();
  conn.streams_left = 0;
  tunnels.begin_flow(FlowId{5}, id("web"), at("10.100.0.5", 80));
  for (int i = 0; i < 6; ++i) {
    run_for(1s);
    conn.handler.on_streams_available();
  }
  EXPECT_EQ(unreachable, (std::vector<std::pair<FlowId, bool>>{{FlowId{5}, false}}));
}

/// A socket of a user that has said all it had to say.
struct EndedPort final : tunnel::TcpPort {
  tunnel::IoResult read(MutableBytes) override { return {tunnel::IoStatus::end_of_stream, 0}; }
  tunnel::IoResult write(std::span<const Bytes>) override { return {tunnel::IoStatus::ok, 0}; }
  void shutdown_write() override {}
  void abort() override {}
  void want(bool, bool) override {}
};

TEST_F(TunnelsTest, SessionIsUnfinishedUntilItsLastOctetsHaveArrived) {
  auto& conn = bring_up();
  tunnels.begin_flow(FlowId{5}, id("web"), at("10.100.0.5", 80));
  const quic::StreamId stream{4};
  conn.handler.on_stream_data(stream, ByteVector{0}, true);  // connected, and the backend has nothing to say
  auto* events = tunnels.attach(FlowId{5}, std::make_unique<EndedPort>());
  ASSERT_NE(events, nullptr);
  events->on_readable();
  tunnels.flush();
  ASSERT_TRUE(conn.fake.streams[stream].finished);
  EXPECT_EQ(tunnels.sessions(), 0U);
  EXPECT_EQ(tunnels.unfinished(), 1U) << "a drain waits for it";
  conn.handler.on_stream_closed(stream);
  EXPECT_EQ(tunnels.unfinished(), 0U);
}

TEST_F(TunnelsTest, UserThatGivesUpEndsTheStream) {
  auto& conn = bring_up();
  tunnels.begin_flow(FlowId{5}, id("web"), at("10.100.0.5", 80));
  tunnels.end_flow(FlowId{5});
  EXPECT_EQ(conn.fake.streams[quic::StreamId{4}].reset_code, 1U);
  tunnels.flush();
  EXPECT_EQ(tunnels.sessions(), 0U);
}

TEST_F(TunnelsTest, PacketsOfUnknownHandlesAreStrays) {
  auto& conn = bring_up();
  ByteVector datagram{0x2F, 2, 0, 99};
  datagram.insert(datagram.end(), packet.begin(), packet.end());
  conn.handler.on_datagram(datagram);
  EXPECT_EQ(strays, 1);
  datagram[3] = static_cast<std::uint8_t>(asked(conn)[0].handle.value);
  conn.handler.on_datagram(datagram);
  ASSERT_EQ(packets.size(), 1U);
  EXPECT_EQ(packets[0].first, id("web"));
}

TEST_F(TunnelsTest, ConnectorThatBreaksTheProtocolIsLeft) {
  auto& conn = bring_up();
  say(conn, wire::Hello{});
  EXPECT_EQ(conn.fake.closed_with->code, static_cast<std::uint64_t>(wire::CloseCode::protocol_violation));
  auto& next = bring_up();
  say(next, wire::OpenService{wire::ServiceHandle{1}, "web"});
  EXPECT_EQ(next.fake.closed_with->code, static_cast<std::uint64_t>(wire::CloseCode::protocol_violation));
  auto& third = bring_up();
  third.handler.on_stream_opened(quic::StreamId{1});
  EXPECT_TRUE(third.closed());
}

TEST_F(TunnelsTest, SilenceWhileTrafficWaitsIsSuspectAndThenRerouted) {
  auto& conn = bring_up();
  conn.seen.smoothed_rtt = 50ms;
  tunnels.send(id("web"), TunFate::carried_udp, packet);
  run_for(1s);
  EXPECT_EQ(control.suspicions, 0);  // nothing in flight
  conn.seen.bytes_in_flight = 1200;
  tunnels.send(id("web"), TunFate::carried_udp, packet);
  run_for(TunnelClient::kMinSilence + 10ms);
  EXPECT_EQ(control.suspicions, 1);
  run_for(Tunnels::kRerouteSilence);
  EXPECT_EQ(control.of<wire::RouteRequest>().size(), 2U);
  conn.seen.packets_received = 10;
  conn.seen.bytes_in_flight = 0;
  run_for(5s);
  const auto before = control.suspicions;
  run_for(5s);
  EXPECT_EQ(control.suspicions, before);
}

TEST_F(TunnelsTest, ADoubtfulPathShowsUsToTheIntermediateOnce) {
  auto& conn = bring_up();
  run_for(1s);
  EXPECT_EQ(control.shown, 0) << "nothing waits";
  conn.fake.seen.rtt = 30ms;
  conn.fake.seen.waiting_since = conn.fake.seen.heard = now;
  run_for(79ms);
  EXPECT_EQ(control.shown, 0);
  run_for(2ms);
  EXPECT_EQ(control.shown, 1);
  run_for(10s);
  EXPECT_EQ(control.shown, 1) << "one silence";
  conn.fake.seen.waiting_since = conn.fake.seen.heard = now;
  run_for(81ms);
  EXPECT_EQ(control.shown, 2);
}

TEST_F(TunnelsTest, SeenElsewhereARelayedTunnelWithAFullWindowBeginsAnew) {
  auto& conn = bring_up();
  conn.fake.seen.rtt = 30ms;
  conn.seen.congestion_window = conn.seen.bytes_in_flight = 12'000;
  tunnels.seen_elsewhere();
  EXPECT_TRUE(conn.fake.migrations.empty()) << "nothing waits";
  conn.fake.seen.waiting_since = conn.fake.seen.heard = now;
  conn.seen.bytes_in_flight = 10'800;
  run_for(81ms);
  tunnels.seen_elsewhere();
  EXPECT_TRUE(conn.fake.migrations.empty()) << "what comes after it can leave";
  conn.seen.bytes_in_flight = 10'801;
  tunnels.seen_elsewhere();
  ASSERT_EQ(conn.fake.migrations.size(), 1U);
  EXPECT_EQ(conn.fake.migrations[0].second, quic::Migration::immediate);
}

TEST_F(TunnelsTest, SeenElsewhereBeforeASilenceIsLateCountsWhenItIs) {
  auto& conn = bring_up();
  conn.fake.seen.rtt = 30ms;
  conn.seen.congestion_window = conn.seen.bytes_in_flight = 12'000;
  conn.fake.seen.waiting_since = conn.fake.seen.heard = now;
  run_for(20ms);
  tunnels.seen_elsewhere();
  EXPECT_TRUE(conn.fake.migrations.empty()) << "an acknowledgement is not late yet";
  run_for(61ms);
  EXPECT_EQ(conn.fake.migrations.size(), 1U);
  conn.fake.seen.waiting_since = conn.fake.seen.heard = now;
  run_for(1s);
  EXPECT_EQ(conn.fake.migrations.size(), 1U) << "a silence of later has another reason";
}

TEST_F(TunnelsTest, UnansweredRouteRequestIsSuspect) {
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));
  run_for(TunnelClient::kMinSilence - 1ms);
  EXPECT_EQ(control.suspicions, 0);
  run_for(2ms);
  EXPECT_EQ(control.suspicions, 1);
}

TEST_F(TunnelsTest, ServiceThatGoesAwayIsToldAtOnce) {
  tunnels.send(id("web"), TunFate::carried_udp, packet);
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));
  tunnels.service_down(id("web"), false);
  EXPECT_EQ(waited, std::vector<TunFate>{TunFate::service_down});
  EXPECT_EQ(unreachable, (std::vector<std::pair<FlowId, bool>>{{FlowId{1}, false}}));
}

TEST_F(TunnelsTest, RevokedConnectorIsLeft) {
  auto& conn = bring_up();
  tunnels.connector_revoked("somebody");
  EXPECT_FALSE(conn.closed());
  tunnels.connector_revoked("c1");
  EXPECT_EQ(conn.fake.closed_with->code, static_cast<std::uint64_t>(wire::CloseCode::revoked));
}

TEST_F(TunnelsTest, NothingIsAskedWithoutAControlConnection) {
  control.is_ready = false;
  tunnels.send(id("web"), TunFate::carried_udp, packet);
  EXPECT_TRUE(control.of<wire::RouteRequest>().empty());
  control.is_ready = true;
  tunnels.control_ready();
  EXPECT_EQ(control.of<wire::RouteRequest>().size(), 1U);
}

TEST_F(TunnelsTest, EndpointThatCannotConnectIsAFailureOfTheService) {
  endpoint.fails = true;
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));
  tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back()));
  EXPECT_EQ(tunnels.size(), 0U);
  EXPECT_EQ(hub.relay().size(), 1U);
  run_for(1ms);
  EXPECT_EQ(hub.relay().size(), 0U);
  EXPECT_EQ(tunnels.link(id("web"))->last_error, "no memory");
}

}  // namespace
}  // namespace ztna::agent
