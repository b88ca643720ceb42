// What changes under a running Agent: connection ids, certificates, Intermediates. Topology: agent_world.h.
#include <gtest/gtest.h>

#include <set>

#include "virtual/system_virtual/agent_users.h"

namespace ztna::agent::testing {
namespace {

using wire::ip::TcpFlags;

/// Destination connection ids of short-header packets from the Agent: [relayed, to the Intermediate itself].
struct SeenIds {
  explicit SeenIds(AgentWorld& world) {
    world.network.tap = [this, &world](SimPacket& packet) {
      if (packet.from != world.agent_at) return true;
      const auto routed = wire::RelayDatagram::parse(packet.payload);
      const Bytes quic = routed ? routed->packet : Bytes{packet.payload};
      if (quic.size() > quic::kCidLength && (quic[0] & 0xC0U) == 0x40U) {
        (routed ? relayed : control).insert(quic::Cid{quic.subspan(1, quic::kCidLength)});
      }
      return true;
    };
  }
  std::set<quic::Cid> relayed, control;
};

TEST(AgentRenewal, ConnectionIdsChangeEveryFiveMinutesAndNothingIsLost) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 100));
  world.run_for(1s);
  SeenIds seen{world};
  for (int i = 0; i < 190; ++i) {
    world.in();
    ASSERT_TRUE(echoed(world, 1200)) << i;
    world.run_for(5s);
  }
  EXPECT_EQ(seen.relayed.size(), 4U) << "15 min 50 s: the first, and three more";
  EXPECT_EQ(seen.control.size(), 4U);
  EXPECT_EQ(world.tunnels.handlers.size(), 1U);
  EXPECT_EQ(world.control.handlers.size(), 1U);
  EXPECT_EQ(world.routes_opened, 1U);
}

TEST(AgentRenewal, BusyTunnelChangesItsIdLaterAndLosesNothing) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 100));
  world.run_for(1s);
  world.in();
  SeenIds seen{world};
  std::size_t sent = 0, back = 0;
  const auto talk = [&](Duration time) {
    for (Duration passed{}; passed < time; passed += 50ms) {
      world.out(udp(world.user, world.service, 600));
      ++sent;
      world.run_for(50ms);
      back += world.in().size();
    }
  };
  talk(9min);
  EXPECT_EQ(seen.relayed.size(), 1U);
  talk(2min);
  EXPECT_EQ(seen.relayed.size(), 2U);
  world.run_for(1s);
  back += world.in().size();
  EXPECT_EQ(back, sent);
}

TEST(AgentRenewal, IdleTunnelStillEnds) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 100));
  world.run_for(TunnelClient::kIdleTimeout + TunnelClient::kRotateAfter + 1min);
  ASSERT_TRUE(world.tunnels.last().closed);
  EXPECT_EQ(world.tunnels.last().closed->by, quic::CloseReason::By::idle);
}

TEST(AgentRenewal, RenewedCertificateOpensANewTunnelForWhatIsNew) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  Wire socket;
  auto* events = connect(world, socket);
  ASSERT_NE(events, nullptr);
  world.in();
  world.agent->set_tls(world.agent_tls(), world.now());
  world.run_for(1s);
  ASSERT_EQ(world.tunnels.handlers.size(), 2U);
  auto& old = *world.tunnels.handlers[0];
  auto& next = *world.tunnels.handlers[1];
  EXPECT_NE(old.leaf_seen, next.leaf_seen);
  const auto before = old.datagrams;
  ASSERT_TRUE(echoed(world, 100));
  EXPECT_EQ(old.datagrams, before);
  EXPECT_EQ(next.datagrams, 1U);
  world.in();
  Wire second;
  ASSERT_NE(connect(world, second, 5001), nullptr);
  EXPECT_EQ(next.opened.size(), 2U) << "control stream and connection";
  EXPECT_EQ(old.opened.size(), 2U);

  socket.to_agent = "still there?";
  events->on_readable();
  ASSERT_TRUE(world.run_until([&] { return socket.from_agent == "still there?"; }));
  world.run_for(1min);
  EXPECT_FALSE(old.closed);
  socket.end_of_stream = true;
  events->on_readable();
  ASSERT_TRUE(world.run_until([&] { return old.closed.has_value(); }));
  EXPECT_TRUE(socket.shut);
  EXPECT_FALSE(socket.aborted || second.aborted);
  EXPECT_FALSE(next.closed);
}

TEST(AgentRenewal, WithoutTheIntermediateWhatLivesGoesOnAndNothingNewBeginsAfterTheGrace) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 100));
  Wire socket;
  world.in();
  auto* events = connect(world, socket);
  ASSERT_NE(events, nullptr);
  world.cut_control();
  ASSERT_TRUE(world.run_until([&] { return world.agent->connected().value() == 0; }, 1min));
  const auto since = world.now();
  world.in();
  while (world.now() - since < Tunnels::kDefaultOfflineGrace - 15s) {
    ASSERT_TRUE(echoed(world, 100));
    world.in();
    world.run_for(10s);
  }
  world.out(udp({world.user.ip, 6001}, world.service, 50));
  ASSERT_TRUE(world.run_until([&] { return !world.tun.written.empty(); }));
  EXPECT_EQ(world.in()[0].view().l4_payload.size(), 50U) << "a new flow within the grace";
  world.run_for(20s);

  world.out(udp({world.user.ip, 6002}, world.service, 50));
  auto answers = world.in();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].view().icmp_code, 13);
  world.out(tcp({world.user.ip, 6003}, {world.service.ip, 80}, TcpFlags::kSyn));
  answers = world.in();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_TRUE(answers[0].tcp().has(TcpFlags::kRst));
  EXPECT_TRUE(echoed(world, 100));
  socket.to_agent = "still there?";
  events->on_readable();
  EXPECT_TRUE(world.run_until([&] { return socket.from_agent == "still there?"; }));

  world.network.tap = nullptr;
  ASSERT_TRUE(world.run_until([&] { return world.agent->connected().value() == 1; }, 1min));
  world.in();
  world.out(udp({world.user.ip, 6002}, world.service, 51));
  ASSERT_TRUE(world.run_until([&] { return !world.tun.written.empty(); }));
  EXPECT_EQ(world.in()[0].view().l4_payload.size(), 51U);
}

TEST(AgentRenewal, DrainMovesToTheOtherIntermediateBeforeTheFirstOneStops) {
  AgentWorld world{{.two_servers = true}};
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 100));
  EXPECT_EQ(world.agent->snapshot(world.now()).server, "192.0.2.1:4433");
  world.in();
  world.intermediate_says(wire::Drain{3000});
  auto& first = *world.control.handlers[0];
  ASSERT_TRUE(world.run_until([&] { return first.closed.has_value(); }, 1s));
  EXPECT_EQ(first.closed->by, quic::CloseReason::By::peer);
  ASSERT_EQ(world.control.handlers.size(), 2U);
  world.run_for(200ms);
  EXPECT_EQ(world.agent->snapshot(world.now()).server, "192.0.2.2:4433");
  EXPECT_TRUE(world.agent->snapshot(world.now()).connected);
  EXPECT_EQ(world.agent->connected().value(), 1U);
  EXPECT_EQ(world.agent->snapshot(world.now()).reconnections, 0U);
  EXPECT_EQ(world.routes_opened, 2U);
  world.network.detach(world.intermediate_at);
  EXPECT_TRUE(echoed(world, 101));
  EXPECT_EQ(world.tunnels.handlers.size(), 1U);
}

TEST(AgentRenewal, DrainWithNobodyElseThereStaysAndComesBackAtOnce) {
  AgentWorld world{{.two_servers = true}};
  world.network.detach(world.second_intermediate_at);
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  world.intermediate_says(wire::Drain{3000});
  world.run_for(3s);
  EXPECT_TRUE(world.agent->snapshot(world.now()).connected);
  world.control.last().connection->close(static_cast<std::uint64_t>(wire::CloseCode::draining), "restart");
  world.run_for(500ms);
  EXPECT_TRUE(world.agent->snapshot(world.now()).connected);
  EXPECT_EQ(world.agent->snapshot(world.now()).server, "192.0.2.1:4433");
  world.run_for(1min);
  EXPECT_EQ(world.control.handlers.size(), 2U) << "and stays there";
}

TEST(AgentRenewal, DeadIntermediateIsLeftWhenTrafficMeetsSilence) {
  AgentWorld world{{.two_servers = true}};
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 100));
  world.in();
  world.network.detach(world.intermediate_at);  // no word, no reset
  const auto since = world.now();
  world.out(udp(world.user, world.service, 101));
  ASSERT_TRUE(world.run_until([&] { return world.agent->snapshot(world.now()).server == "192.0.2.2:4433"; }));
  ASSERT_TRUE(world.run_until([&] { return world.routes_opened == 2; }));
  world.run_for(20ms);  // RouteOpened is on its way
  EXPECT_TRUE(echoed(world, 102));
  EXPECT_LT(world.now() - since, 1s);
  EXPECT_EQ(world.agent->connected().value(), 1U);
  EXPECT_EQ(world.tunnels.handlers.size(), 1U) << "the tunnel goes on";
}

TEST(AgentRenewal, DeadIntermediateIsLeftByATunnelThatOnlyReceived) {
  AgentWorld world{{.two_servers = true}};
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 100));
  world.run_for(100ms);  // all is acknowledged
  world.network.detach(world.intermediate_at);
  const auto since = world.now();
  EXPECT_TRUE(world.run_until([&] { return world.routes_opened == 2; }));
  EXPECT_EQ(world.agent->snapshot(world.now()).server, "192.0.2.2:4433");
  EXPECT_LT(world.now() - since, TunnelClient::kAskAfter + 1s);
  EXPECT_EQ(world.tunnels.handlers.size(), 1U) << "the tunnel goes on";
}

TEST(AgentRenewal, DeafTunnelGetsOneRouteForItAndIsBackWhenItIsHeard) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 100));
  world.in();
  world.network.tap = [](SimPacket& packet) { return !wire::RelayDatagram::parse(packet.payload).has_value(); };
  world.out(udp(world.user, world.service, 101));
  world.run_for(60s);
  EXPECT_EQ(world.routes_opened, 2U) << "each costs a connection id, and a peer that does not hear gives no new ones";
  world.network.tap = nullptr;
  EXPECT_TRUE(echoed(world, 102));
  EXPECT_EQ(world.tunnels.handlers.size(), 1U);
  world.network.tap = [](SimPacket& packet) { return !wire::RelayDatagram::parse(packet.payload).has_value(); };
  world.out(udp(world.user, world.service, 101));
  world.run_for(10s);
  EXPECT_EQ(world.routes_opened, 3U) << "it was heard in between";
}

TEST(AgentRenewal, QuietTunnelIsAskedOnce) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 100));
  world.run_for(100ms);
  std::size_t relayed = 0;
  world.network.tap = [&](SimPacket& packet) {
    relayed += packet.from == world.agent_at && wire::RelayDatagram::parse(packet.payload);
    return true;
  };
  world.run_for(1min);
  EXPECT_GE(relayed, 1U);
  EXPECT_LE(relayed, 2U) << "and its answer is acknowledged";
}

TEST(AgentRenewal, IntermediateThatIsHeardAgainIsNotLeft) {
  AgentWorld world{{.two_servers = true}};
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 100));
  world.in();
  const auto since = world.now();
  std::size_t to_second = 0;
  world.network.tap = [&](SimPacket& packet) {  // nothing for a while, then only what is connected already
    if (packet.to == world.second_intermediate_at) ++to_second;
    const bool handshake = (packet.payload[0] & 0x80U) != 0;
    return !handshake && world.now() - since > 700ms;
  };
  EXPECT_TRUE(echoed(world, 101) || echoed(world, 102));
  world.run_for(20s);
  EXPECT_GT(to_second, 0U) << "it was dialled beside the silent one";
  to_second = 0;
  world.run_for(1min);
  EXPECT_EQ(to_second, 0U) << "and given up";
  EXPECT_EQ(world.agent->snapshot(world.now()).server, "192.0.2.1:4433");
  EXPECT_EQ(world.control.handlers.size(), 1U);
}

TEST(AgentRenewal, SecondIntermediateIsTakenWhenTheFirstIsNotThereAtTheStart) {
  AgentWorld world{{.two_servers = true}};
  world.network.detach(world.intermediate_at);
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }, Agent::kServerPatience + 500ms));
  EXPECT_EQ(world.agent->snapshot(world.now()).server, "192.0.2.2:4433");
  EXPECT_TRUE(echoed(world, 100));
}

TEST(AgentRenewal, OneIntermediateThatStoppedIsDialledAtOnce) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  world.intermediate_says(wire::Drain{3000});
  world.run_for(1s);
  EXPECT_TRUE(world.agent->snapshot(world.now()).connected);
  auto& first = world.control.last();
  first.connection->close(static_cast<std::uint64_t>(wire::CloseCode::draining), "restart");
  const auto since = world.now();
  ASSERT_TRUE(world.run_until([&] { return world.control.handlers.size() == 2 && world.control.last().established; }));
  EXPECT_LT(world.now() - since, 100ms) << "four ways of 10 ms";
}

}  // namespace
}  // namespace ztna::agent::testing
