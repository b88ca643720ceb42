// Tunnels on direct paths, from the Connector's side; over a simulated network, with a real QUIC client as the Agent:
//
//   MiniAgent 203.0.113.1:5000 ---- Intermediate 192.0.2.1:4433 (relay, signaling) ---- Connector 198.51.100.7:4434
//                              \---------------------- direct ------------------------/
#include <gtest/gtest.h>

#include "support/seeded_random.h"
#include "tunnel/punching.h"
#include "virtual/system_virtual/connector_world.h"

namespace ztna::connector::test {
namespace {

ByteVector udp(std::uint16_t sequence, std::size_t size = 20) {
  auto data = payload(size);
  data[0] = static_cast<std::uint8_t>(sequence >> 8U);
  data[1] = static_cast<std::uint8_t>(sequence);
  return *wire::ip::build_udp_packet(address("10.100.0.254:5000"), address("10.100.0.2:7"), data);
}

/// The punching half of the Agent.
struct Puncher final : tunnel::UdpPort, tunnel::PunchingOwner {
  Puncher(ConnectorWorld& w, MiniAgent& a) : world(w), agent(a) {
    tunnel::LocalOptions options;
    options.port_v4 = agent.address.port;
    punching.set_options(options, world.now());
    path::HostAddress host;
    host.address = agent.address.ip;
    host.prefix_length = 24;
    host.default_route = true;
    punching.set_hosts({host}, world.now());
    agent.when_probe = [this](const SimPacket& packet) {
      punching.on_probe(tunnel::kMainSocket, packet.from, packet.payload, world.now());
    };
    world.guest_deadline = [this] { return punching.deadline(); };
    world.run_guest = [this] { punching.on_deadline(world.now()); };
  }
  void send(const SocketAddress& to, Bytes row, std::size_t) override {
    world.network.send({agent.address, to, ByteVector{row.begin(), row.end()}});
  }
  bool writable() const override { return true; }
  void on_punched(const wire::SessionId&, const wire::TunnelId&, const path::PunchSession& punch) override {
    reached = punch.selected()->address;
  }
  void on_not_punched(const wire::SessionId&, const wire::TunnelId&, const path::PunchSession&) override {}
  void on_local_changed() override {}
  void on_search_found(const wire::SessionId&, const wire::TunnelId&, const path::BirthdaySearch::Found&) override {}
  void on_search_failed(const wire::SessionId&, const wire::TunnelId&, tunnel::SearchEnd) override {}

  ConnectorWorld& world;
  MiniAgent& agent;
  ztna::test::SeededRandom random{9};
  tunnel::Punching punching{wire::Role::agent, *this, random, *this};
  std::optional<SocketAddress> reached;
};

struct ConnectorDirect : testing::Test {
  ConnectorWorld world;
  MiniAgent& agent = world.add_agent("laptop", {"web"});
  std::uint16_t sent = 0;

  void SetUp() override {
    ASSERT_TRUE(world.bring_up(agent, 1, "web"));
    path::HostAddress host;
    host.address = world.connector_address.ip;
    host.prefix_length = 24;
    host.default_route = true;
    world.connector->network_changed(world.now(), std::vector{host});
  }
  template <typename M>
  std::vector<M> told() const {
    std::vector<M> out;
    for (const auto& message : world.intermediate.inbox.all) {
      if (const auto* m = std::get_if<M>(&message)) out.push_back(*m);
    }
    return out;
  }
  /// Moves the tunnel; false: it is not validated.
  bool go_direct() {
    agent.handler.validated.clear();
    agent.go_direct(world.connector_address, world.now());
    return world.run_until([&] { return !agent.handler.validated.empty(); }) && agent.handler.validated[0].second &&
           world.run_until([&] { return world.connector->direct_paths().direct_tunnels() == 1; });
  }
  /// `count` packets with their echoes, 10 ms apart; how many came back.
  std::size_t echo(unsigned count, std::size_t size = 20) {
    const auto before = agent.packets.size();
    for (unsigned i = 0; i < count; ++i) {
      agent.send(kOne, udp(sent++, size));
      world.run_for(10ms);
      world.echo();
    }
    world.run_for(500ms);
    world.echo();
    world.run_for(500ms);
    return agent.packets.size() - before;
  }
  IpAddress agent_ip() const { return agent.address.ip; }
  IpAddress connector_ip() const { return world.connector_address.ip; }
};

TEST_F(ConnectorDirect, TenThousandPiecesOfJunkOfEachKindChangeCountersOnly) {
  ASSERT_TRUE(go_direct());
  world.run_for(1s);
  const SocketAddress stranger = address("203.0.113.99:1234");
  bool answered = false;
  world.network.attach(stranger, [&](const SimPacket&) { answered = true; });
  ztna::test::SeededRandom random{3};
  for (unsigned kind = 0; kind < 256; kind += 1) {
    const bool many = kind == 0x00 || kind == 0x1A || kind == 0x2F || kind == 0x40 || kind == 0xC0;
    for (unsigned i = 0; i < (many ? 10'000U : 20U); ++i) {
      ByteVector junk(1 + random.below(60));
      random.fill(junk);
      junk[0] = static_cast<std::uint8_t>(kind);
      world.connector->receive(stranger, junk, junk.size(), world.now());
    }
  }
  world.connector->flush(world.now());
  const auto& hub = world.connector->hub().fates();
  EXPECT_GE(hub.value(tunnel::UdpFate::junk), 10'000U);
  EXPECT_GE(hub.value(tunnel::UdpFate::probe), 10'000U);
  EXPECT_GE(hub.value(tunnel::UdpFate::relay_malformed) + hub.value(tunnel::UdpFate::relay_unknown_route), 10'000U);
  EXPECT_GE(hub.value(tunnel::UdpFate::quic_direct), 20'000U);
  EXPECT_EQ(world.connector->direct_paths().punching().arrivals().total(), hub.value(tunnel::UdpFate::probe));
  EXPECT_EQ(echo(10), 10U) << "the tunnel is none the worse";
  EXPECT_FALSE(answered);
  EXPECT_EQ(world.connector->tunnels(), 1U);
}

TEST_F(ConnectorDirect, AnInitialFromAPunchedAddressIsStillAStrangers) {
  ASSERT_TRUE(go_direct());
  SimEndpoint other(world.network, {}, nullptr, 5);
  RecordingHandler handler;
  quic::ConnectOptions options;
  options.tls = agent.context;
  handler.connection = *other->connect(options, {agent.address, world.connector_address}, handler, world.now());
  const auto before = world.connector->endpoint().fates().value(quic::PacketFate::not_welcome);
  other.flush();
  world.run_for(1s);
  EXPECT_GT(world.connector->endpoint().fates().value(quic::PacketFate::not_welcome), before);
  EXPECT_EQ(world.connector->tunnels(), 1U);
  EXPECT_EQ(echo(3), 3U);
}

TEST_F(ConnectorDirect, OffersOfTunnelsThatAreNotTheAgentsAreRefused) {
  const wire::Candidate candidate{wire::CandidateKind::host, 1, agent.address};
  wire::CandidateOffer offer{wire::SessionId{{5}}, ConnectorWorld::tunnel_id(9), {}, {}, {candidate}};
  world.intermediate.tell(offer);
  world.run_for(100ms);
  ASSERT_EQ(told<wire::SignalingError>().size(), 1U);
  EXPECT_EQ(told<wire::SignalingError>()[0].code, wire::SignalingErrorCode::peer_gone);
  // A route that the Intermediate opened in another Agent's name is none of this tunnel's Agent.
  offer.tunnel = ConnectorWorld::tunnel_id(2);
  auto& other = world.add_agent("desktop", {"web"});
  ASSERT_TRUE(world.bring_up(other, 2, "web", "laptop"));
  world.intermediate.tell(offer);
  world.run_for(100ms);
  ASSERT_EQ(told<wire::SignalingError>().size(), 2U);
  EXPECT_EQ(told<wire::SignalingError>()[1].code, wire::SignalingErrorCode::not_yours);
  EXPECT_EQ(world.connector->direct_paths().punching().size(), 0U);
}

TEST_F(ConnectorDirect, SignalingProbesAndMigration) {
  Puncher puncher{world, agent};
  const wire::SessionId session{{5}};
  ASSERT_TRUE(puncher.punching.begin(session, ConnectorWorld::tunnel_id(1), *agent.handler.connection, world.now()));
  world.intermediate.tell(
      wire::CandidateOffer{session, ConnectorWorld::tunnel_id(1), {}, {}, puncher.punching.take_untold(session)});
  ASSERT_TRUE(world.run_until([&] { return !told<wire::CandidateAnswer>().empty(); }));
  const auto answer = told<wire::CandidateAnswer>()[0];
  EXPECT_EQ(answer.session, session);
  ASSERT_EQ(answer.candidates.size(), 1U);
  EXPECT_EQ(answer.candidates[0].address, world.connector_address);
  puncher.punching.add_remote(session, answer.candidates, world.now());
  world.intermediate.tell(wire::StartPunching{session, 20});
  puncher.punching.start(session, 30ms, world.now());
  ASSERT_TRUE(world.run_until([&] { return puncher.reached.has_value(); }, 500ms));
  EXPECT_EQ(puncher.reached, world.connector_address);
  ASSERT_TRUE(world.run_until([&] { return !told<wire::PunchingResult>().empty(); }));
  EXPECT_EQ(told<wire::PunchingResult>()[0].outcome, wire::PunchingOutcome::reached);
  EXPECT_EQ(told<wire::PunchingResult>()[0].reached, agent.address);
  ASSERT_TRUE(go_direct());
  const auto relayed = world.connector->hub().fates().value(tunnel::UdpFate::quic_relayed);
  EXPECT_EQ(echo(10), 10U);
  EXPECT_EQ(world.connector->hub().fates().value(tunnel::UdpFate::quic_relayed), relayed);
}

TEST_F(ConnectorDirect, TheRouteStaysAndTheAgentMayComeBackByIt) {
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(go_direct()) << round;
    EXPECT_EQ(echo(5), 5U);
    EXPECT_TRUE(told<wire::RouteClosed>().empty());
    agent.move(world.open_route(agent, 1), world.now());
    EXPECT_EQ(echo(5), 5U);
    EXPECT_EQ(world.last_destination, world.intermediate_address);
    EXPECT_EQ(world.connector->direct_paths().direct_tunnels(), 0U);
  }
}

TEST_F(ConnectorDirect, AnIdleConnectorSleeps) {
  ASSERT_TRUE(go_direct());
  ASSERT_EQ(echo(5), 5U);
  world.run_for(5s);
  int soon = 0;
  for (int i = 0; i < 400; ++i) {  // 2 s
    world.run_for(5ms);
    soon += world.connector->deadline() - world.now() <= DirectPaths::kLook ? 1 : 0;
  }
  EXPECT_LT(soon, 120) << "its tick and keep-alives are due now and then, looks at its paths all the time";
}

TEST_F(ConnectorDirect, OnTheDirectPathTheIntermediateIsNotNeeded) {
  ASSERT_TRUE(go_direct());
  ztna::test::LinkProperties cut;
  cut.blocked = true;
  world.network.set_links(world.intermediate_address.ip, connector_ip(), cut);
  world.network.set_links(world.intermediate_address.ip, agent_ip(), cut);
  world.run_for(60s);
  EXPECT_FALSE(world.connector->state().ready);
  EXPECT_EQ(world.connector->tunnels(), 1U);
  EXPECT_EQ(echo(20), 20U);
  agent.open_service(wire::ServiceHandle{2}, "web");
  EXPECT_TRUE(world.run_until([&] { return agent.opened(wire::ServiceHandle{2}).has_value(); })) << "new flows work";
  // It is back, and so is the registration.
  world.network.set_links(world.intermediate_address.ip, connector_ip(), {});
  world.network.set_links(world.intermediate_address.ip, agent_ip(), {});
  EXPECT_TRUE(world.run_until([&] { return world.connector->state().ready; }, 10s));
  EXPECT_EQ(echo(5), 5U);
}

TEST_F(ConnectorDirect, ADirectPathThatIsDeafOneWayIsReportedInTime) {
  ASSERT_TRUE(go_direct());
  ASSERT_EQ(echo(20), 20U);
  // What the Connector sends is lost; what the Agent sends still comes.
  world.network.link(connector_ip(), agent_ip()).blocked = true;
  const auto began = world.now();
  while (told<wire::PathReport>().empty() && world.now() - began < 2s) {
    agent.send(kOne, udp(sent++));
    world.run_for(10ms);
    world.echo();
  }
  EXPECT_LT(world.now() - began, 500ms);
  ASSERT_FALSE(told<wire::PathReport>().empty());
  EXPECT_EQ(told<wire::PathReport>()[0],
            (wire::PathReport{ConnectorWorld::tunnel_id(1), wire::PathKind::direct, false}));
}

TEST_F(ConnectorDirect, AnIdleOrSlowDirectPathIsNotReported) {
  ASSERT_TRUE(go_direct());
  ztna::test::LinkProperties slow;
  slow.delay = 200ms;
  slow.jitter = 50ms;
  world.network.set_links(agent_ip(), connector_ip(), slow);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(echo(5), 5U) << i;
    world.run_for(20s);
  }
  EXPECT_TRUE(told<wire::PathReport>().empty());
}

TEST_F(ConnectorDirect, ABlackHoleForLargePacketsIsReported) {
  ASSERT_TRUE(go_direct());
  ASSERT_EQ(echo(20, 1300), 20U);
  world.run_for(1s);  // the path's MTU is found
  world.network.link(connector_ip(), agent_ip()).mtu = 1200;
  const auto began = world.now();
  while (told<wire::PathReport>().empty() && world.now() - began < 3s) {
    agent.send(kOne, udp(sent, sent % 2 == 0 ? 1300 : 20));
    ++sent;
    world.run_for(10ms);
    world.echo();
  }
  ASSERT_FALSE(told<wire::PathReport>().empty());
  EXPECT_FALSE(told<wire::PathReport>()[0].heard);
  EXPECT_EQ(world.connector->direct_paths().reports().value(PathTrouble::large_lost), 1U);
}

}  // namespace
}  // namespace ztna::connector::test
