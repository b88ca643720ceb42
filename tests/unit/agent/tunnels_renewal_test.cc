// A tunnel's connection ids, and tunnels that take over from others when a certificate was renewed.
#include <gtest/gtest.h>

#include "tunnels_fixture.h"

namespace ztna::agent {
namespace {

using testing::at;
using testing::Conn;
using testing::id;

struct TunnelsRenewal : testing::TunnelsTest {
  static TunnelTls own(std::uint8_t number, WallTime ends = WallTime::max()) { return {nullptr, {number}, ends}; }
  void use(Conn& conn, Duration every, Duration time, std::uint64_t in_flight = 0) {
    conn.seen.bytes_in_flight = in_flight;
    for (Duration passed{}; passed < time; passed += every) {
      tunnels.send(id("web"), TunFate::carried_udp, packet);
      conn.seen.packets_received += 1;
      run_for(every);
    }
  }
  wire::ServiceHandle handle_of(Conn& conn) { return asked(conn).back().handle; }
  void accept(Conn& conn, wire::RegistrationStatus status = wire::RegistrationStatus::ok) {
    say(conn, wire::ServiceOpened{handle_of(conn), status});
  }
  /// Answers the last RouteRequest; the Connector's end of the tunnel that is dialled.
  Conn& dialled() {
    tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back()));
    return *endpoint.conns.back();
  }
  std::size_t requests() const { return control.of<wire::RouteRequest>().size(); }
};

TEST_F(TunnelsRenewal, IdThatNothingUsesStays) {
  auto& conn = bring_up();
  run_for(TunnelClient::kRotateAfter);
  EXPECT_EQ(conn.fake.migrations.size(), 1U) << "the packet that opened it";
  run_for(1h);
  EXPECT_EQ(conn.fake.migrations.size(), 1U) << "else an idle tunnel would never end";
}

TEST_F(TunnelsRenewal, IdChangesAfterFiveMinutesWhenItIsQuiet) {
  auto& conn = bring_up();
  const auto before = conn.path();
  use(conn, 1s, TunnelClient::kRotateAfter - 1s);
  EXPECT_TRUE(conn.fake.migrations.empty());
  use(conn, 1s, 30s);
  EXPECT_TRUE(conn.fake.migrations.empty()) << "never quiet";
  run_for(TunnelClient::kQuiet);
  ASSERT_EQ(conn.fake.migrations.size(), 1U);
  EXPECT_EQ(conn.fake.migrations[0].second, quic::Migration::immediate);
  EXPECT_NE(conn.path().local, before.local);
  EXPECT_NE(hub.relay().leg(before), nullptr) << "what is on its way there still leaves";
  EXPECT_EQ(hub.relay().size(), 1U) << "the same route";
  EXPECT_EQ(requests(), 1U);
  use(conn, 10s, TunnelClient::kRotateAfter + 10s);
  EXPECT_EQ(conn.fake.migrations.size(), 2U);
}

TEST_F(TunnelsRenewal, WhatIsInFlightPutsItOffButNotForEver) {
  auto& conn = bring_up();
  use(conn, 10s, TunnelClient::kLatestRotation - 10s, 1200);
  EXPECT_TRUE(conn.fake.migrations.empty());
  use(conn, 1s, 11s, 1200);
  EXPECT_EQ(conn.fake.migrations.size(), 1U);
}

TEST_F(TunnelsRenewal, NewRouteIsANewIdToo) {
  auto& conn = bring_up();
  use(conn, 10s, TunnelClient::kRotateAfter - 20s);
  tunnels.control_ready();
  dialled();
  ASSERT_EQ(conn.fake.migrations.size(), 1U);
  use(conn, 10s, TunnelClient::kRotateAfter - 20s);
  EXPECT_EQ(conn.fake.migrations.size(), 1U);
  use(conn, 10s, 40s);
  EXPECT_EQ(conn.fake.migrations.size(), 2U);
}

TEST_F(TunnelsRenewal, IdThatCannotChangeHarmsNothingAndIsTriedAgain) {
  auto& conn = bring_up();
  const auto before = conn.path();
  conn.migrate_fails = true;
  use(conn, 10s, TunnelClient::kRotateAfter + 10s);
  EXPECT_EQ(*hub.relay().path(wire::RouteId{last_route}), before) << "packets that arrive are still the path's";
  conn.migrate_fails = false;
  use(conn, 5s, TunnelClient::kRotateAgain + 5s);
  EXPECT_EQ(conn.fake.migrations.size(), 1U);
}

TEST_F(TunnelsRenewal, DirectPathGetsAnotherLocalName) {
  auto& conn = bring_up();
  conn.fake.current = tunnel::Hub::direct_path(at("203.0.113.7", 4434));
  const auto before = conn.path();
  use(conn, 10s, TunnelClient::kRotateAfter + 10s);
  ASSERT_EQ(conn.fake.migrations.size(), 1U);
  EXPECT_EQ(conn.path().remote, before.remote);
  EXPECT_NE(conn.path().local, before.local);
}

// -- renewed certificates --------------------------------------------------------------------------------------------

TEST_F(TunnelsRenewal, ReloadOfTheSameCertificateOpensNothing) {
  tunnels.set_tls(own(1));
  bring_up();
  tunnels.set_tls(own(1));
  run_for(1min);
  EXPECT_EQ(requests(), 1U);
}

TEST_F(TunnelsRenewal, NewFlowsTakeTheNewTunnelAndOldOnesStay) {
  tunnels.set_tls(own(1));
  auto& old = bring_up();
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));
  old.handler.on_stream_data(quic::StreamId{4}, ByteVector{0}, false);
  tunnels.set_tls(own(2));
  run_for(1ms);
  ASSERT_EQ(requests(), 2U);
  const auto request = control.of<wire::RouteRequest>().back();
  EXPECT_EQ(request.connector, "c1");
  EXPECT_NE(request.tunnel, control.of<wire::RouteRequest>().front().tunnel);
  auto& next = dialled();
  ASSERT_EQ(endpoint.conns.size(), 2U);
  hello(next, leaf);
  ASSERT_EQ(asked(next).size(), 1U);
  EXPECT_EQ(asked(next)[0].service, "web");
  // Until the service is open there, the old tunnel serves.
  const auto carried = old.fake.datagrams.size();
  EXPECT_EQ(tunnels.send(id("web"), TunFate::carried_udp, packet), TunFate::carried_udp);
  EXPECT_EQ(old.fake.datagrams.size(), carried + 1);
  accept(next);
  EXPECT_EQ(tunnels.send(id("web"), TunFate::carried_udp, packet), TunFate::carried_udp);
  EXPECT_EQ(next.fake.datagrams.size(), 1U);
  tunnels.begin_flow(FlowId{2}, id("web"), at("10.100.0.5", 80));
  EXPECT_TRUE(next.fake.streams.contains(quic::StreamId{4}));
  EXPECT_EQ(tunnels.events().value(TunnelEvent::renewed), 1U);

  // An answer on the old tunnel is still the service's.
  ByteVector datagram{0x2F, 2, 0, static_cast<std::uint8_t>(handle_of(old).value)};
  datagram.insert(datagram.end(), packet.begin(), packet.end());
  old.handler.on_datagram(datagram);
  ASSERT_EQ(packets.size(), 1U);
  EXPECT_EQ(packets[0].first, id("web"));
  EXPECT_EQ(strays, 0);

  run_for(10min);
  EXPECT_FALSE(old.closed()) << "its TCP connection lives";
  EXPECT_FALSE(old.fake.streams[quic::StreamId{4}].reset_code);
  tunnels.end_flow(FlowId{1});
  tunnels.flush();
  run_for(1ms);
  EXPECT_TRUE(old.closed());
  EXPECT_FALSE(next.closed());
  EXPECT_EQ(tunnels.size(), 1U);
  EXPECT_TRUE(unreachable.empty());
  EXPECT_EQ(control.of<wire::RouteClosed>().back().tunnel, control.of<wire::RouteRequest>().front().tunnel);
}

TEST_F(TunnelsRenewal, OldTunnelWithoutConnectionsLingersForAnswersAndEnds) {
  tunnels.set_tls(own(1));
  auto& old = bring_up();
  tunnels.set_tls(own(2));
  run_for(1ms);
  auto& next = dialled();
  hello(next, leaf);
  accept(next);
  run_for(Tunnels::kLinger - 1ms);
  EXPECT_FALSE(old.closed());
  run_for(2ms);
  EXPECT_TRUE(old.closed());
  run_for(1h);
  EXPECT_EQ(requests(), 2U);
  EXPECT_FALSE(next.closed());
}

TEST_F(TunnelsRenewal, EveryServiceMovesAndNewOnesJoinTheNewTunnel) {
  tunnels.set_tls(own(1));
  auto& old = bring_up();
  tunnels.set_tls(own(2));
  run_for(1ms);
  auto& next = dialled();
  hello(next, leaf);
  accept(next);
  tunnels.send(id("db"), TunFate::carried_udp, packet);
  tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back()));
  EXPECT_EQ(endpoint.conns.size(), 2U);
  EXPECT_EQ(asked(next).size(), 2U);
  EXPECT_EQ(asked(old).size(), 1U);
  accept(next);
  EXPECT_EQ(waited.size(), 2U);
}

TEST_F(TunnelsRenewal, SuccessorThatFailsIsTriedAgainAndTheOldTunnelServes) {
  tunnels.set_tls(own(1));
  auto& old = bring_up();
  tunnels.set_tls(own(2));
  run_for(1ms);
  tunnels.on_route_closed({control.of<wire::RouteRequest>().back().tunnel, wire::RouteCloseReason::peer_gone});
  run_for(Tunnels::kFirstReplacePause + 1ms);
  ASSERT_EQ(requests(), 3U);
  dialled().close(0, "the test says no");
  EXPECT_EQ(tunnels.send(id("web"), TunFate::carried_udp, packet), TunFate::carried_udp);
  EXPECT_FALSE(old.closed());
  EXPECT_EQ(tunnels.link(id("web"))->state, Tunnels::LinkState::open);
  run_for(2 * Tunnels::kFirstReplacePause - 1s);
  EXPECT_EQ(requests(), 3U) << "pauses grow";
  run_for(2s);
  ASSERT_EQ(requests(), 4U);
  run_for(Tunnels::kRouteTimeout + 4 * Tunnels::kFirstReplacePause + 1ms);  // nobody answers
  EXPECT_EQ(requests(), 5U);
  // Lost with the control connection: asked for as soon as there is one.
  control.is_ready = false;
  tunnels.control_lost();
  run_for(1min);
  control.is_ready = true;
  tunnels.control_ready();
  const auto before = requests();
  run_for(1ms);
  EXPECT_EQ(requests(), before + 1);
  auto& next = dialled();
  hello(next, leaf);
  accept(next);
  EXPECT_EQ(tunnels.events().value(TunnelEvent::renewed), 1U);
}

TEST_F(TunnelsRenewal, RefusalByTheNewTunnelLeavesTheServiceOnTheOld) {
  tunnels.set_tls(own(1));
  auto& old = bring_up();
  tunnels.set_tls(own(2));
  run_for(1ms);
  auto& next = dialled();
  hello(next, leaf);
  accept(next, wire::RegistrationStatus::limit);
  run_for(1min);
  EXPECT_FALSE(old.closed());
  EXPECT_EQ(tunnels.send(id("web"), TunFate::carried_udp, packet), TunFate::carried_udp);
  EXPECT_EQ(next.fake.datagrams.size(), 0U);
}

TEST_F(TunnelsRenewal, DenialByTheNewTunnelEndsTheService) {
  tunnels.set_tls(own(1));
  auto& old = bring_up();
  tunnels.set_tls(own(2));
  run_for(1ms);
  auto& next = dialled();
  hello(next, leaf);
  accept(next, wire::RegistrationStatus::not_permitted);
  EXPECT_NE(tunnels.link(id("web"))->state, Tunnels::LinkState::open);
  run_for(Tunnels::kLinger + 1ms);
  EXPECT_TRUE(old.closed());
}

TEST_F(TunnelsRenewal, OldTunnelThatEndsEarlyLosesNoWaitingFlow) {
  tunnels.set_tls(own(1));
  auto& old = bring_up();
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));  // the backend has not answered
  tunnels.set_tls(own(2));
  run_for(1ms);
  auto& next = dialled();
  hello(next, leaf);
  old.close(0, "gone");  // before the service is open on the new one
  EXPECT_EQ(tunnels.link(id("web"))->state, Tunnels::LinkState::opening);
  accept(next);
  EXPECT_TRUE(next.fake.streams.contains(quic::StreamId{4}));
  EXPECT_TRUE(unreachable.empty());
}

TEST_F(TunnelsRenewal, FlowThatWasAskedForOnTheOldTunnelIsAskedForOnTheNew) {
  tunnels.set_tls(own(1));
  auto& old = bring_up();
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));
  tunnels.set_tls(own(2));
  run_for(1ms);
  auto& next = dialled();
  hello(next, leaf);
  accept(next);
  run_for(1min);
  EXPECT_FALSE(old.closed());
  old.close(0, "gone");
  EXPECT_TRUE(next.fake.streams.contains(quic::StreamId{4}));
}

TEST_F(TunnelsRenewal, ConnectorsNewerCertificateIsLookedForBeforeTheOldOneEnds) {
  auto& old = bring_up();
  wall += std::chrono::hours{24 * 30} - Tunnels::kBeforeExpiry - std::chrono::seconds{120};
  run_for(Tunnels::kCertificateLook + 1ms);
  EXPECT_EQ(requests(), 1U);
  wall += std::chrono::seconds{120};
  run_for(Tunnels::kCertificateLook + 1ms);
  ASSERT_EQ(requests(), 2U);
  auto& same = dialled();
  hello(same, leaf);
  EXPECT_TRUE(same.closed()) << "nothing newer: nobody is moved";
  EXPECT_EQ(tunnels.link(id("web"))->state, Tunnels::LinkState::open);
  run_for(Tunnels::kLongestReplacePause - 1s);
  EXPECT_EQ(requests(), 2U);
  run_for(2s);
  ASSERT_EQ(requests(), 3U);
  auto& next = dialled();
  hello(next, newer_leaf);
  accept(next);
  run_for(Tunnels::kLinger + 1ms);
  EXPECT_TRUE(old.closed());
  EXPECT_FALSE(next.closed());
  run_for(1h);
  EXPECT_EQ(requests(), 3U);
}

TEST_F(TunnelsRenewal, TunnelEndsAnHourAfterTheEarlierCertificate) {
  tunnels.set_tls(own(1, testing::kWall + 1h));
  auto& old = bring_up();
  wall = testing::kWall + 2h;
  run_for(Tunnels::kCertificateLook + 1ms);
  EXPECT_FALSE(old.closed());
  wall += std::chrono::seconds{1};
  run_for(Tunnels::kCertificateLook + 1ms);
  ASSERT_TRUE(old.closed());
  EXPECT_EQ(old.fake.closed_with->code, static_cast<std::uint64_t>(wire::CloseCode::certificate_expired));
}

TEST_F(TunnelsRenewal, ReplacedTunnelEndsThenTooWhateverFlows) {
  tunnels.set_tls(own(1, testing::kWall + 1h));
  auto& old = bring_up();
  tunnels.begin_flow(FlowId{1}, id("web"), at("10.100.0.5", 80));
  old.handler.on_stream_data(quic::StreamId{4}, ByteVector{0}, false);
  tunnels.set_tls(own(2));
  run_for(1ms);
  auto& next = dialled();
  hello(next, leaf);
  accept(next);
  wall = testing::kWall + 2h;
  run_for(Tunnels::kCertificateLook + 1ms);
  EXPECT_FALSE(old.closed());
  wall += std::chrono::seconds{1};
  run_for(Tunnels::kCertificateLook + 1ms);
  EXPECT_TRUE(old.closed());
  EXPECT_FALSE(next.closed());
}

TEST_F(TunnelsRenewal, RestartedConnectorIsNoSuccessor) {
  tunnels.set_tls(own(1));
  auto& old = bring_up();
  tunnels.set_tls(own(2));
  run_for(1ms);
  tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back(), "c1", 2));
  EXPECT_TRUE(old.closed());
  EXPECT_EQ(tunnels.events().value(TunnelEvent::peer_restarted), 1U);
  EXPECT_EQ(endpoint.conns.size(), 1U);
}

TEST_F(TunnelsRenewal, AnotherConnectorIsNoSuccessor) {
  tunnels.set_tls(own(1));
  auto& old = bring_up();
  tunnels.set_tls(own(2));
  run_for(1ms);
  tunnels.on_route_opened(opened(control.of<wire::RouteRequest>().back(), "c2", 2));
  EXPECT_FALSE(old.closed());
  EXPECT_EQ(endpoint.conns.size(), 1U);
  EXPECT_EQ(control.of<wire::RouteClosed>().size(), 1U);
}

// -- offline_grace ---------------------------------------------------------------------------------------------------

TEST_F(TunnelsRenewal, NewFlowsAreTakenForTheGraceAndAgainWhenTheIntermediateIsBack) {
  tunnels.set_offline_grace(60s);
  bring_up();
  EXPECT_TRUE(tunnels.takes_new_flows());
  control.is_ready = false;
  tunnels.control_lost();
  run_for(59s);
  EXPECT_TRUE(tunnels.takes_new_flows());
  tunnels.control_lost();  // another attempt that failed: no new grace
  run_for(1s);
  EXPECT_FALSE(tunnels.takes_new_flows());
  EXPECT_EQ(tunnels.send(id("web"), TunFate::carried_udp, packet), TunFate::carried_udp) << "what lives goes on";
  control.is_ready = true;
  tunnels.control_ready();
  EXPECT_TRUE(tunnels.takes_new_flows());
}

TEST_F(TunnelsRenewal, NoGraceAtAll) {
  tunnels.set_offline_grace(0s);
  bring_up();
  EXPECT_TRUE(tunnels.takes_new_flows());
  tunnels.control_lost();
  EXPECT_FALSE(tunnels.takes_new_flows());
}

}  // namespace
}  // namespace ztna::agent
