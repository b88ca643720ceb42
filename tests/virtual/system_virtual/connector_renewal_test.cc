// What changes under a running Connector: Agents' second tunnels, certificates, Intermediates that are away.
#include <gtest/gtest.h>

#include <set>

#include "virtual/system_virtual/connector_world.h"

namespace ztna::connector::test {
namespace {

ByteVector datagram(std::uint16_t from) {
  return *wire::ip::build_udp_packet({ip("10.100.0.254"), from}, {ip("10.100.0.2"), 7}, payload(10));
}

WallTime wall_now() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

/// Nothing but the relay reaches the Intermediate.
void cut_control(ConnectorWorld& world) {
  world.network.tap = [](ztna::test::SimPacket& packet) {
    return wire::RelayDatagram::parse(packet.payload).has_value();
  };
}

TEST(ConnectorRenewal, SecondTunnelOfTheSameRunLeavesTheFirstAlone) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  const auto stream = agent.connect(kOne, 80);
  ASSERT_TRUE(world.run_until([&] { return world.backends.tcp.size() == 1; }));
  world.backends.tcp[0].events->on_connected({}, world.now());
  ASSERT_TRUE(world.run_until([&] { return agent.received(stream).size() == 1; }));

  auto& renewed = world.add_agent("laptop", {"web"});  // another certificate, the same instance
  ASSERT_TRUE(world.bring_up(renewed, 2, "web"));
  EXPECT_EQ(world.connector->tunnels(), 2U);
  const auto data = payload(1000);
  ASSERT_TRUE(agent.handler.connection->write(stream, Bytes{data}));
  EXPECT_TRUE(world.run_until([&] { return world.backends.tcp[0].written.size() == data.size(); }));
  renewed.send(kOne, datagram(1));
  EXPECT_TRUE(world.run_until([&] { return world.backends.udp.size() == 1; }));
  EXPECT_FALSE(agent.handler.closed);
}

TEST(ConnectorRenewal, TunnelEndsAnHourAfterOurOwnCertificateInIt) {
  ConnectorWorld world;
  auto& early = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(early, 1, "web"));
  const auto reload = [&](WallTime end) {
    world.connector->reload({two_services(), world.control_tls, world.tunnel_tls, {}, end}, world.now());
  };
  reload(wall_now() - std::chrono::hours{1} + std::chrono::minutes{10});
  auto& good = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(good, 2, "web"));
  reload(wall_now() - std::chrono::hours{1} - std::chrono::minutes{1});
  auto& over = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(over, 3, "web"));
  reload(WallTime::max());
  ASSERT_TRUE(world.run_until([&] { return over.handler.closed.has_value(); }));
  EXPECT_TRUE(over.closed_with(wire::CloseCode::certificate_expired));
  EXPECT_FALSE(early.handler.closed);
  EXPECT_FALSE(good.handler.closed);
}

TEST(ConnectorRenewal, WithoutIntermediatesOnlyFlowsThatLiveGoOnAfterTheGrace) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  const auto stream = agent.connect(kOne, 80);
  ASSERT_TRUE(world.run_until([&] { return world.backends.tcp.size() == 1; }));
  world.backends.tcp[0].events->on_connected({}, world.now());
  ASSERT_TRUE(world.run_until([&] { return agent.received(stream).size() == 1; }));
  cut_control(world);
  ASSERT_TRUE(world.run_until([&] { return !world.connector->state().ready; }, 1min));
  const auto talk = [&](Duration time) {
    for (Duration passed{}; passed < time; passed += 10s) {
      agent.send(kOne, datagram(1));
      world.run_for(10s);
    }
  };
  talk(4min);
  EXPECT_EQ(world.backends.udp.size(), 1U);
  agent.send(kOne, datagram(2));
  world.run_for(1s);
  EXPECT_EQ(world.backends.udp.size(), 2U) << "within the grace";
  talk(2min);

  agent.send(kOne, datagram(3));
  const auto refused = agent.connect(kOne, 80);
  ASSERT_TRUE(world.run_until([&] { return agent.handler.streams[refused.value].fin; }));
  EXPECT_EQ(agent.received(refused), ByteVector{static_cast<std::uint8_t>(wire::StreamResult::denied)});
  EXPECT_EQ(world.backends.udp.size(), 2U);
  EXPECT_EQ(world.backends.tcp.size(), 1U);
  EXPECT_EQ(world.connector->fates().value(PacketFate::offline), 1U);
  EXPECT_EQ(world.connector->stream_fates().value(StreamFate::offline), 1U);
  ASSERT_FALSE(agent.packets.empty());
  const auto told = wire::ip::parse_ip_packet(agent.packets.back());
  ASSERT_TRUE(told);
  EXPECT_EQ(told->icmp_code, 13);
  const auto before = world.backends.udp[0].sent.size();
  agent.send(kOne, datagram(1));
  const auto data = payload(1000);
  ASSERT_TRUE(agent.handler.connection->write(stream, Bytes{data}));
  EXPECT_TRUE(world.run_until([&] {
    return world.backends.udp[0].sent.size() == before + 1 && world.backends.tcp[0].written.size() == data.size();
  }));

  world.network.tap = nullptr;
  ASSERT_TRUE(world.run_until([&] { return world.connector->state().ready; }, 1min));
  world.run_for(Connector::kTick);
  agent.send(kOne, datagram(3));
  EXPECT_TRUE(world.run_until([&] { return world.backends.udp.size() == 3; }));
}

TEST(ConnectorRenewal, NoGraceIsNoRefusalWhileAnIntermediateIsThere) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  world.connector->reload({two_services(), world.control_tls, world.tunnel_tls, {}, WallTime::max(), 0s}, world.now());
  world.run_for(5s);
  agent.send(kOne, datagram(1));
  EXPECT_TRUE(world.run_until([&] { return world.backends.udp.size() == 1; }));
  cut_control(world);
  ASSERT_TRUE(world.run_until([&] { return !world.connector->state().ready; }, 1min));
  world.run_for(Connector::kTick);
  agent.send(kOne, datagram(2));
  world.run_for(1s);
  EXPECT_EQ(world.backends.udp.size(), 1U);
}

TEST(ConnectorRenewal, ControlConnectionChangesItsIdEveryFiveMinutes) {
  ConnectorWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.connector->state().ready; }));
  world.run_for(1s);
  std::set<quic::Cid> seen;
  world.network.tap = [&](ztna::test::SimPacket& packet) {
    const Bytes quic{packet.payload};
    if (packet.from == world.connector_address && quic.size() > quic::kCidLength && (quic[0] & 0xC0U) == 0x40U) {
      seen.insert(quic::Cid{quic.subspan(1, quic::kCidLength)});
    }
    return true;
  };
  world.run_for(16min);
  EXPECT_EQ(seen.size(), 4U);
  EXPECT_EQ(world.intermediate.acceptor.handlers.size(), 1U);
  EXPECT_TRUE(world.connector->state().ready);
}

}  // namespace
}  // namespace ztna::connector::test
