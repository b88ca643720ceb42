// The Agent from the first packet to the last: refusals first, then UDP, ICMP and TCP through the relay, then what a
// lost Intermediate and a restarted Connector do to them. Topology: agent_world.h.
#include <gtest/gtest.h>

#include "virtual/system_virtual/agent_users.h"

namespace ztna::agent::testing {
namespace {

using wire::ip::TcpFlags;

TEST(AgentVirtual, IntermediateWithoutItsIdentityIsRefused) {
  AgentWorld world{{.intermediate_uri = "spiffe://ztna.internal/connector/i1"}};
  EXPECT_FALSE(world.run_until([&] { return world.registered(); }, 10s));
  EXPECT_TRUE(world.heard.empty());
  EXPECT_FALSE(world.agent->snapshot(world.now()).connected);
  EXPECT_FALSE(world.agent->snapshot(world.now()).problem.empty());
}

/// A change of the network while the first dial is under way begins a second; the Intermediate keeps the newest
/// connection of an identity and ends the older one. Neither may cost the pause of a redial.
TEST(AgentVirtual, SecondDialAtStartCostsNoRedial) {
  AgentWorld world;
  world.run_for(5ms);
  world.agent->network_changed(world.now());
  const auto begun = world.now();
  bool replaced = false;
  const auto back = [&] {
    auto& handlers = world.control.handlers;
    if (!replaced && handlers.size() == 2 && !handlers[1]->streams.empty()) {
      replaced = true;
      if (!handlers[0]->closed) handlers[0]->connection->close(5, "a newer connection has the same identity");
    }
    return replaced && handlers[0]->closed.has_value() && world.agent->registered().value() != 0 &&
           world.agent->snapshot(world.now()).connected && world.now() - begun > 300ms;
  };
  EXPECT_TRUE(world.run_until(back, 400ms));
  EXPECT_TRUE(replaced);
  EXPECT_EQ(world.control.handlers.size(), 2U);
}

/// What is to be done at once has a deadline in the past: no sign of a sleep, after which tunnels would go to the
/// relay.
TEST(AgentVirtual, WorkThatIsDueAtOnceIsNoSleep) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  world.run_for(2 * Agent::kOversleep);
  Wire socket;
  auto* events = connect(world, socket);
  ASSERT_NE(events, nullptr);
  socket.to_agent = std::string(3'000'000, 'x');  // more than the stream takes at once: it drains inside flush()
  ::testing::internal::CaptureStderr();
  feed(world, socket, *events);
  EXPECT_TRUE(world.run_until([&] { return socket.from_agent.size() == 3'000'000; }, 60s));
  const auto log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(log.find("slept"), std::string::npos) << log;
}

TEST(AgentVirtual, ConnectorOfAnotherServiceGetsNothing) {
  AgentWorld world{{.connector_service = "db"}};
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  world.out(udp(world.user, world.service));
  world.out(tcp(world.user, {world.service.ip, 80}, TcpFlags::kSyn));
  world.run_for(8s);
  for (const auto& handler : world.tunnels.handlers) {
    EXPECT_EQ(handler->datagrams, 0U);
    EXPECT_TRUE(handler->streams.empty());
  }
  const auto answers = world.in();
  ASSERT_EQ(answers.size(), 2U);  // both are told: unreachable
  for (const auto& answer : answers) EXPECT_EQ(answer.view().icmp_type, 3);
}

TEST(AgentVirtual, RefusedRouteResetsTheUser) {
  AgentWorld world;
  world.refuse_routes = wire::RouteCloseReason::not_permitted;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  world.out(tcp(world.user, {world.service.ip, 80}, TcpFlags::kSyn));
  ASSERT_TRUE(world.run_until([&] { return !world.tun.written.empty(); }, 1s));
  EXPECT_TRUE(world.in()[0].tcp().has(TcpFlags::kRst));
  EXPECT_TRUE(world.tunnels.handlers.empty());
}

TEST(AgentVirtual, RefusedRegistrationIsToldAndRetried) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  world.intermediate_says(wire::RegistrationNack{wire::RegistrationStatus::not_permitted, "web", "no such right"});
  world.run_for(100ms);
  EXPECT_EQ(world.agent->snapshot(world.now()).services[0].state, "refused");
  world.out(udp(world.user, world.service));
  EXPECT_EQ(world.in().at(0).view().icmp_code, 13);
  world.run_for(3s);
  EXPECT_EQ(world.agent->snapshot(world.now()).services[0].state, "ready");
}

TEST(AgentVirtual, BackendsAnswerReachesTheUser) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  world.stream_result = wire::StreamResult::refused;
  world.out(tcp(world.user, {world.service.ip, 80}, TcpFlags::kSyn, 1));
  ASSERT_TRUE(world.run_until([&] { return !world.tun.written.empty(); }));
  EXPECT_TRUE(world.in()[0].tcp().has(TcpFlags::kRst));
  world.stream_result = wire::StreamResult::unreachable;
  world.out(tcp(world.user, {world.service.ip, 80}, TcpFlags::kSyn, 2));
  ASSERT_TRUE(world.run_until([&] { return !world.tun.written.empty(); }));
  EXPECT_EQ(world.in()[0].view().icmp_type, 3);
  world.stream_result = wire::StreamResult::timed_out;
  world.out(tcp(world.user, {world.service.ip, 80}, TcpFlags::kSyn, 3));
  EXPECT_FALSE(world.run_until([&] { return !world.tun.written.empty(); }));
}

TEST(AgentVirtual, UdpOfEverySizeComesBack) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  for (const std::size_t size : {1UL, 1199UL, 1300UL, 1472UL, 8972UL, 65'507UL}) {
    EXPECT_TRUE(echoed(world, size)) << size;
    world.in();
  }
  EXPECT_EQ(world.tunnels.handlers.size(), 1U);
}

/// Whoever sends the first packets of a service has nothing to do with how long its tunnel takes to come up.
TEST(AgentVirtual, SteadySenderThatOpensTheTunnelLosesNothing) {
  for (const auto size : {std::size_t{100}, std::size_t{1200}}) {
    SCOPED_TRACE(size);
    AgentWorld world;
    world.network.defaults.delay = 60ms;
    ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
    constexpr std::size_t kPackets = 500;  // in one second
    std::size_t before_the_tunnel = 0;
    for (std::size_t i = 0; i < kPackets; ++i) {
      world.out(udp(world.user, world.service, size));
      world.run_for(2ms);
      if (world.tunnels.handlers.empty() || !world.tunnels.last().established) ++before_the_tunnel;
    }
    EXPECT_GT(before_the_tunnel, 64U) << "the tunnel came up at once: this tells nothing";
    EXPECT_TRUE(world.run_until([&] { return world.agent->snapshot(world.now()).packets_delivered == kPackets; }, 3s))
        << world.agent->snapshot(world.now()).packets_delivered << " came back";
    EXPECT_EQ(world.agent->snapshot(world.now()).packets_dropped, 0U);
  }
}

TEST(AgentVirtual, PingSaysRelayAndTime) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 10));
  std::optional<Agent::Pong> pong;
  world.agent->ping(
      "web", [&](const auto& p) { pong = p; }, world.now());
  ASSERT_TRUE(world.run_until([&] { return pong.has_value(); }));
  EXPECT_TRUE(pong->ok && pong->relayed);
  EXPECT_EQ(pong->connector, "c1");
  EXPECT_NEAR(static_cast<double>(pong->rtt.count()), 20e6, 2e6);  // 10 ms each way; the played relay adds none
  pong.reset();
  world.agent->ping(
      "nothing", [&](const auto& p) { pong = p; }, world.now());
  ASSERT_TRUE(pong);
  EXPECT_FALSE(pong->ok);
}

TEST(AgentVirtual, TcpBothWaysWithHalfClose) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  world.greeting = "220 ready\n";
  Wire socket;
  auto* events = connect(world, socket);
  ASSERT_NE(events, nullptr);
  EXPECT_TRUE(world.run_until([&] { return socket.from_agent == "220 ready\n"; }));
  const std::string page(3'000'000, 'p');
  socket.to_agent = page;
  socket.end_of_stream = true;
  feed(world, socket, *events);
  EXPECT_TRUE(world.run_until([&] { return socket.shut; }, 30s));
  EXPECT_EQ(socket.from_agent, "220 ready\n" + page);
  EXPECT_FALSE(socket.aborted);
  world.run_for(1s);
  EXPECT_EQ(world.agent->active_connections(), 0U);
}

TEST(AgentVirtual, TunnelOutlivesTheIntermediate) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  Wire socket;
  auto* events = connect(world, socket);
  ASSERT_NE(events, nullptr);
  world.restart_intermediate();
  socket.to_agent = "still there?";
  events->on_readable();
  const auto since = world.now();
  ASSERT_TRUE(world.run_until([&] { return socket.from_agent == "still there?"; }, 10s));
  EXPECT_LT(world.now() - since, 3s);
  EXPECT_EQ(world.tunnels.handlers.size(), 1U);  // the same tunnel
  EXPECT_EQ(world.routes_opened, 2U);
  EXPECT_FALSE(socket.aborted);
}

TEST(AgentVirtual, RestartedConnectorGetsANewTunnelAndOldConnectionsAReset) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  Wire socket;
  ASSERT_NE(connect(world, socket), nullptr);
  world.connector_instance = wire::InstanceId{{2}};
  const auto request =
      std::ranges::find_if(world.heard, [](const auto& m) { return std::holds_alternative<wire::RouteRequest>(m); });
  world.intermediate_says(
      wire::RouteClosed{std::get<wire::RouteRequest>(*request).tunnel, wire::RouteCloseReason::peer_gone});
  ASSERT_TRUE(world.run_until([&] { return socket.aborted; }, 3s));
  ASSERT_TRUE(echoed(world, 100));
  EXPECT_EQ(world.tunnels.handlers.size(), 2U);
}

TEST(AgentVirtual, CatalogBringsServicesAndServiceDownTakesThem) {
  AgentWorld world{{.services = {}}};
  ASSERT_TRUE(world.run_until([&] { return world.agent->snapshot(world.now()).services.size() == 1; }));
  EXPECT_TRUE(echoed(world, 10));
  world.in();
  world.intermediate_says(wire::ServiceDown{id("web"), wire::ServiceDownReason::unhealthy});
  world.run_for(50ms);
  world.out(udp(world.user, world.service));
  EXPECT_EQ(world.in().at(0).view().icmp_type, 3);
  world.intermediate_says(wire::ServiceUp{id("web"), world.addresses_told});
  world.run_for(50ms);
  EXPECT_TRUE(echoed(world, 11));
  world.in();
  world.intermediate_says(wire::Catalog{true, {}});  // perhaps its Connector has only not come back yet
  world.run_for(50ms);
  ASSERT_EQ(world.agent->snapshot(world.now()).services.size(), 1U);
  EXPECT_EQ(world.agent->snapshot(world.now()).services[0].state, "open") << "its tunnel lives";
  EXPECT_TRUE(echoed(world, 13));
  world.in();
  world.intermediate_says(wire::Catalog{true, {{id("web"), world.addresses_told}}});
  world.run_for(50ms);
  EXPECT_TRUE(echoed(world, 12));
  EXPECT_EQ(world.tunnels.handlers.size(), 1U);  // the same tunnel all the time
}

TEST(AgentVirtual, AddressOfAServiceThatIsGoneGoesToItsNewOwner) {
  AgentWorld world{{.services = {}}};
  ASSERT_TRUE(world.run_until([&] { return world.agent->snapshot(world.now()).services.size() == 1; }));
  // While the old owner is there, the address is its own.
  world.intermediate_says(wire::ServiceUp{id("db"), world.addresses_told});
  world.run_for(50ms);
  ASSERT_EQ(world.agent->snapshot(world.now()).services.size(), 1U);
  EXPECT_EQ(world.agent->snapshot(world.now()).services[0].id, "web");
  world.intermediate_says(wire::Catalog{true, {{id("db"), world.addresses_told}}});
  world.run_for(50ms);
  ASSERT_EQ(world.agent->snapshot(world.now()).services.size(), 1U);
  EXPECT_EQ(world.agent->snapshot(world.now()).services[0].id, "db");
}

TEST(AgentVirtual, LossAndReorderingCostNoTcpOctet) {
  AgentWorld world;
  world.network.defaults.loss = 0.03;
  world.network.defaults.jitter = 5ms;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }, 20s));
  Wire socket;
  auto* events = connect(world, socket);
  ASSERT_NE(events, nullptr);
  std::string page;
  for (int i = 0; i < 50'000; ++i) page += fmt::format("{:06}", i);
  socket.to_agent = page;
  feed(world, socket, *events);
  ASSERT_TRUE(world.run_until([&] { return socket.from_agent.size() == page.size(); }, 60s));
  EXPECT_EQ(socket.from_agent, page);
}

TEST(AgentVirtual, StopClosesEverythingAtOnce) {
  AgentWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  Wire socket;
  ASSERT_NE(connect(world, socket), nullptr);
  world.agent->drain();
  world.out(tcp({world.user.ip, 6000}, {world.service.ip, 80}, TcpFlags::kSyn));
  EXPECT_TRUE(world.in().at(0).tcp().has(TcpFlags::kRst));
  EXPECT_EQ(world.agent->active_connections(), 1U);
  world.agent->stop(world.now());
  world.run_for(1s);
  EXPECT_TRUE(socket.aborted);
  EXPECT_EQ(world.tunnels.last().closed->code, 0U);
  EXPECT_TRUE(world.tunnels.last().closed->application) << to_string(*world.tunnels.last().closed);
  EXPECT_TRUE(world.control.last().closed.has_value());
}

}  // namespace
}  // namespace ztna::agent::testing
