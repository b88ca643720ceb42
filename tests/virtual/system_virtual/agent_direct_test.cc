// The Agent's direct paths from the first Offer to the last fall back: refusals first, then the failover table of the
// issue "Direct first" with a TCP connection and a UDP echo running. Topology: direct_world.h.
#include <gtest/gtest.h>

#include <set>

#include "virtual/system_virtual/direct_world.h"

namespace ztna::agent::testing {
namespace {

using ztna::test::kWaiting;

// -- refusals --------------------------------------------------------------------------------------------------------

TEST(AgentDirectRefusals, DisabledOffersNothingAndSaysWhy) {
  DirectWorld world{30ms, false};
  EXPECT_FALSE(world.go_direct(10s));
  EXPECT_EQ(world.heard_of<wire::CandidateOffer>(), 0U);
  EXPECT_EQ(world.way().reason, "disabled");
  EXPECT_FALSE(world.way().remedy.empty());
}

TEST(AgentDirectRefusals, MessagesOfNobodyChangeNothing) {
  DirectWorld world;
  world.answers_signaling = false;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 10));
  world.intermediate_says(wire::CandidateAnswer{wire::SessionId{{9}}, wire::TunnelId{{9}}});
  world.intermediate_says(wire::StartPunching{wire::SessionId{{9}}, 0});
  world.intermediate_says(
      wire::PunchingResult{wire::SessionId{{9}}, wire::PunchingOutcome::reached, world.connector_at});
  world.intermediate_says(wire::SignalingError{wire::SessionId{{9}}, wire::SignalingErrorCode::not_yours, "no"});
  world.intermediate_says(wire::PathReport{wire::TunnelId{{9}}, wire::PathKind::direct, false});
  world.run_for(1s);
  EXPECT_TRUE(world.agent->snapshot(world.now()).connected);
  EXPECT_FALSE(world.direct());
  EXPECT_TRUE(echoed(world, 11));
}

TEST(AgentDirectRefusals, CandidatesThatPointAtThirdPartiesAreNotProbed) {
  DirectWorld world;
  std::set<IpAddress> probed;
  world.network.tap = [&](SimPacket& packet) {
    if (packet.from == world.agent_at && wire::classify(packet.payload) == wire::PayloadKind::probe)
      probed.insert(packet.to.ip);
    return true;
  };
  for (const char* bad : {"127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.1.1", "10.1.2.3", "192.0.2.1",
                          "10.100.0.5", "198.51.100.9", "0.0.0.0"}) {
    world.extra_candidates.push_back({wire::CandidateKind::host, 1, at(bad, 5000)});
  }
  ASSERT_TRUE(world.go_direct());
  world.run_for(2s);
  probed.erase(world.intermediate_at.ip);  // NAT discovery
  EXPECT_EQ(probed, std::set<IpAddress>{world.connector_at.ip});
  const auto checks = world.way().checks;
  EXPECT_EQ(std::ranges::count_if(checks, [](const auto& c) { return c.verdict == "allowed"; }), 1);
  EXPECT_EQ(checks.size(), 10U);
}

TEST(AgentDirectRefusals, AConnectorThatDoesNotAnswerSignalingStaysOnTheRelay) {
  DirectWorld world;
  world.answers_signaling = false;
  EXPECT_FALSE(world.go_direct(30s));
  EXPECT_GE(world.heard_of<wire::CandidateOffer>(), 2U);
  EXPECT_TRUE(echoed(world, 12));
}

TEST(AgentDirectRefusals, ASignalingErrorEndsTheTryAndIsTold) {
  DirectWorld world;
  world.starts_punching = false;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 10));
  ASSERT_TRUE(world.run_until([&] { return world.heard_of<wire::CandidateOffer>() == 1; }));
  world.intermediate_says(wire::SignalingError{world.last_session, wire::SignalingErrorCode::peer_gone, "gone"});
  world.run_for(100ms);
  EXPECT_EQ(world.way().reason, "signaling_failed");
  EXPECT_TRUE(world.way().next_try.has_value());
  ASSERT_TRUE(world.run_until([&] { return world.heard_of<wire::CandidateOffer>() == 2; }, 10s));
  world.intermediate_says(wire::SignalingError{world.last_session, wire::SignalingErrorCode::disabled, "switched off"});
  world.run_for(100ms);
  EXPECT_EQ(world.way().reason, "peer_disabled");
}

TEST(AgentDirectRefusals, SaysWhyItIsRelayed) {
  DirectWorld world;
  world.block(true);
  world.peer_mapping = wire::NatMapping::address_and_port_dependent;
  world.peer_filtering = wire::NatFiltering::address_and_port_dependent;
  EXPECT_FALSE(world.go_direct(8s));
  const auto way = world.way();
  EXPECT_EQ(way.kind, "relay");
  EXPECT_EQ(way.reason, "no_answer");
  EXPECT_EQ(way.peer_nat, "symmetric");
  EXPECT_NE(way.peer_nat_description.find("mapping"), std::string::npos) << way.peer_nat_description;
  EXPECT_NE(way.peer_nat_description.find("filtering"), std::string::npos) << way.peer_nat_description;
  EXPECT_FALSE(way.explanation.empty());
  EXPECT_FALSE(way.remedy.empty());
  ASSERT_FALSE(way.checks.empty());
  EXPECT_EQ(way.checks[0].address, world.connector_at);
  EXPECT_GT(way.checks[0].sent, 0U);
  EXPECT_FALSE(way.checks[0].rtt);
  EXPECT_EQ(way.remote, world.intermediate_at);
}

// -- going direct ----------------------------------------------------------------------------------------------------

TEST(AgentDirect, WithinHalfASecondAndNothingIsLost) {
  for (const auto rtt : {10ms, 30ms, 100ms}) {
    DirectWorld world{rtt};
    ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
    ASSERT_TRUE(echoed(world, 10));
    const auto began = world.now();
    Echo echo{world};
    while (!world.direct() && world.now() - began < 2s) echo.run(10ms);
    ASSERT_TRUE(world.direct());
    EXPECT_LE(world.now() - began, rtt <= 30ms ? 300ms : 700ms) << rtt.count();
    echo.run(1s);
    echo.settle();
    EXPECT_EQ(echo.lost(), 0U) << rtt.count();
    EXPECT_EQ(echo.duplicates(), 0U);
    EXPECT_GE(world.heard_of<wire::PunchingResult>(), 1U);
    const auto way = world.way();
    EXPECT_EQ(way.kind, "direct");
    EXPECT_EQ(way.remote, world.connector_at);
    EXPECT_TRUE(way.reason.empty());
    EXPECT_GT(way.rtt, rtt - 1ms);
  }
}

TEST(AgentDirect, ShowsNoRoundTripThatWasNotMeasuredOnThePath) {
  DirectWorld world{100ms};
  world.out_link().delay = world.back_link().delay = 5ms;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(echoed(world, 10));
  Echo echo{world};
  std::optional<Duration> shown;
  const auto began = world.now();
  while (!shown && world.now() - began < 3s) {
    echo.run(1ms);
    const auto way = world.way();
    if (way.kind != "direct") continue;
    EXPECT_EQ(way.rtt, world.agent->snapshot(world.now()).tunnels.at(0).rtt);
    shown = way.rtt;
  }
  ASSERT_TRUE(shown);
  EXPECT_GE(*shown, 9ms);
  EXPECT_LE(*shown, 15ms);
}

TEST(AgentDirect, AnIdleAgentsStatusIsOfTheMomentItIsAskedFor) {
  DirectWorld world;
  ASSERT_TRUE(world.go_direct());
  const auto in_5s = world.agent->snapshot(world.now() + 5s).services.at(0).way->since;
  EXPECT_EQ(in_5s - world.way().since, 5s) << "without an event in between";
}

TEST(AgentDirect, ConnectorThatLostTheIntermediateServesOnWhileItIsHeard) {
  for (const bool direct : {true, false}) {
    DirectWorld world{30ms, direct};
    ASSERT_TRUE(direct ? world.go_direct() : world.run_until([&] { return world.registered(); }) && echoed(world, 10));
    world.in();
    world.intermediate_says(wire::ServiceDown{id("web"), wire::ServiceDownReason::connector_gone});
    world.run_for(100ms);
    EXPECT_EQ(world.agent->snapshot(world.now()).services.at(0).state, "open");
    EXPECT_FALSE(world.agent->snapshot(world.now()).services.at(0).problem.empty());
    EXPECT_TRUE(echoed(world, 11)) << direct;
    world.in();
    world.out(udp({world.user.ip, 6001}, world.service, 12));
    ASSERT_TRUE(world.run_until([&] { return !world.tun.written.empty(); }));
    EXPECT_EQ(world.in()[0].view().l4_payload.size(), 12U) << "a new flow";
    Wire socket;
    EXPECT_NE(connect(world, socket), nullptr) << "a new connection";

    world.block(true);
    world.relay_works(false);
    world.in();
    world.out(udp(world.user, world.service, 13));  // meets silence
    world.out(tcp({world.user.ip, 6009}, {world.service.ip, 80}, wire::ip::TcpFlags::kSyn));
    const auto told = [&] {
      return std::ranges::any_of(world.tun.written,
                                 [](const auto& w) { return w.view().protocol == wire::ip::Protocol::icmp; });
    };
    EXPECT_TRUE(world.run_until(told, 8s)) << "whose connection asks a Connector that does not answer";
    world.in();
    world.out(udp(world.user, world.service, 14));
    const auto answers = world.in();
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_EQ(answers[0].view().icmp_code, 1) << "host unreachable";
    EXPECT_EQ(world.agent->snapshot(world.now()).services.at(0).state, "down");
  }
}

TEST(AgentDirect, ConnectorThatIsGoneIsFoundOutWithoutTraffic) {
  DirectWorld world;
  ASSERT_TRUE(world.go_direct());
  world.run_for(3s);
  world.block(true);
  world.network.tap = [](SimPacket& packet) { return !wire::RelayDatagram::parse(packet.payload).has_value(); };
  world.intermediate_says(wire::ServiceDown{id("web"), wire::ServiceDownReason::connector_gone});
  EXPECT_TRUE(world.run_until([&] { return world.agent->snapshot(world.now()).services.at(0).state == "down"; }, 6s));
}

TEST(AgentDirect, PingSaysWhichWay) {
  DirectWorld world;
  std::vector<bool> relayed;
  const auto ping = [&] {
    world.agent->ping(
        "web", [&](const Agent::Pong& pong) { relayed.push_back(!pong.ok || pong.relayed); }, world.now());
    const auto n = relayed.size();
    return world.run_until([&] { return relayed.size() > n; }, 6s);
  };
  world.block(true);
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  ASSERT_TRUE(ping());
  world.block(false);
  ASSERT_TRUE(world.run_until([&] { return world.direct(); }, 20s));
  ASSERT_TRUE(ping());
  EXPECT_EQ(relayed, (std::vector<bool>{true, false}));
}

// -- the failover table ----------------------------------------------------------------------------------------------

struct Break {
  const char* name;
  bool out, back;
};

class AgentFailover : public ::testing::TestWithParam<std::tuple<Break, int>> {};

TEST_P(AgentFailover, BlockedAndBack) {
  const auto& [broken, milliseconds] = GetParam();
  const auto rtt = std::chrono::milliseconds{milliseconds};
  DirectWorld world{rtt};
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  TcpEcho tcp{world};
  ASSERT_TRUE(tcp.open());
  Echo echo{world};
  echo.each = [&] { tcp.step(); };
  echo.run(5s);
  ASSERT_TRUE(world.direct());
  echo.gap();
  world.out_link().blocked = broken.out;
  world.back_link().blocked = broken.back;
  echo.run(3s);
  EXPECT_FALSE(world.direct());
  const auto limit = milliseconds <= 30 ? 500ms : 900ms;
  EXPECT_LE(echo.gap(), limit);
  EXPECT_FALSE(tcp.broken());
  const auto read = tcp.read();
  echo.run(1s);
  EXPECT_GT(tcp.read(), read + 100'000);
  EXPECT_FALSE(world.way().reason.empty());
  // Back: nothing is lost on the way.
  echo.settle();
  const auto lost = echo.lost();
  world.block(false);
  const auto mended = world.now();
  while (!world.direct() && world.now() - mended < 12s) echo.run(20ms);
  ASSERT_TRUE(world.direct());
  EXPECT_LE(world.now() - mended, 10s);
  echo.run(2s);
  echo.settle();
  EXPECT_EQ(echo.lost(), lost);
  EXPECT_EQ(echo.duplicates(), 0U);
  EXPECT_EQ(tcp.wrong(), 0U);
  EXPECT_FALSE(tcp.broken());
}

INSTANTIATE_TEST_SUITE_P(Ways, AgentFailover,
                         ::testing::Combine(::testing::Values(Break{"Both", true, true}, Break{"Out", true, false},
                                                              Break{"In", false, true}),
                                            ::testing::Values(10, 30, 100)),
                         [](const auto& row) {
                           return std::get<0>(row.param).name + std::to_string(std::get<1>(row.param));
                         });

TEST(AgentFailoverTable, OnlyLargePacketsBlocked) {
  DirectWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  TcpEcho tcp{world};
  ASSERT_TRUE(tcp.open());
  Echo echo{world, 1200};  // with the headers more than 1200 octets in one packet
  Echo small{world};
  echo.each = [&] { tcp.step(); };
  echo.run(6s);
  ASSERT_TRUE(world.direct());
  echo.gap();
  world.out_link().mtu = world.back_link().mtu = 1200;
  echo.run(3s);
  EXPECT_LE(echo.gap(), 700ms);
  EXPECT_FALSE(tcp.broken());
  const auto changes = world.agent->snapshot(world.now()).services.at(0).way->sessions;
  EXPECT_GE(changes, 1U);
  echo.run(10s);
  EXPECT_LE(echo.gap(), 700ms) << "it does not fall into the hole again";
  const auto read = tcp.read();
  echo.run(1s);
  EXPECT_GT(tcp.read(), read + 100'000);
  EXPECT_EQ(tcp.wrong(), 0U);
}

TEST(AgentFailoverTable, TwentyBlocksAndReturnsInTwoMinutes) {
  DirectWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.registered(); }));
  TcpEcho tcp{world};
  ASSERT_TRUE(tcp.open());
  Echo echo{world};
  echo.each = [&] { tcp.step(); };
  echo.run(12s, kWaiting);
  for (int i = 0; i < 20; ++i) {
    world.block(true);
    echo.run(3s);
    EXPECT_FALSE(world.direct()) << i;
    world.block(false);
    echo.run(3s);
    ASSERT_FALSE(tcp.broken()) << i;
  }
  EXPECT_LE(echo.gap(), 500ms);
  const auto mended = world.now();
  while (!world.direct() && world.now() - mended < 12s) echo.run(20ms);
  EXPECT_TRUE(world.direct());
  echo.run(2s);
  EXPECT_EQ(tcp.wrong(), 0U);
  EXPECT_EQ(echo.duplicates(), 0U);
  EXPECT_EQ(world.tunnels.handlers.size(), 1U) << "it is the same tunnel";
}

TEST(AgentFailoverTable, IntermediateStoppedWhileDirect) {
  DirectWorld world;
  ASSERT_TRUE(world.go_direct());
  TcpEcho tcp{world};
  ASSERT_TRUE(tcp.open());
  Echo echo{world};
  echo.each = [&] { tcp.step(); };
  echo.run(2s);
  const auto routes = world.routes_opened;
  world.relay_works(false);
  world.restart_intermediate();
  echo.run(5s);
  echo.run(55s, kWaiting);
  EXPECT_TRUE(world.direct());
  EXPECT_FALSE(world.agent->snapshot(world.now()).connected);
  world.relay_works(true);
  echo.run(5s);
  echo.run(55s, kWaiting);  // registration returns by itself, and the tunnel gets its route without leaving its path
  EXPECT_TRUE(world.agent->snapshot(world.now()).connected);
  EXPECT_GT(world.routes_opened, routes);
  EXPECT_TRUE(world.direct());
  echo.settle();
  EXPECT_EQ(echo.lost(), 0U);
  EXPECT_EQ(echo.duplicates(), 0U);
  EXPECT_EQ(tcp.wrong(), 0U);
  // And that route is one to fall back to.
  echo.run(1s);
  echo.gap();
  world.block(true);
  echo.run(2s);
  EXPECT_FALSE(world.direct());
  EXPECT_LE(echo.gap(), 500ms);
  EXPECT_FALSE(tcp.broken());
}

TEST(AgentFailoverTable, WithoutAnIntermediateADeadPathIsKept) {
  DirectWorld world;
  ASSERT_TRUE(world.go_direct());
  TcpEcho tcp{world};
  ASSERT_TRUE(tcp.open());
  Echo echo{world};
  echo.each = [&] { tcp.step(); };
  echo.run(1s);
  world.relay_works(false);
  world.restart_intermediate();
  echo.run(45s, kWaiting);
  ASSERT_FALSE(world.agent->snapshot(world.now()).connected);
  world.block(true);
  echo.run(5s);
  EXPECT_TRUE(world.direct());
  world.block(false);
  const auto read = tcp.read();
  echo.run(3s);  // it is asked once a second, whatever the backed-off timer says
  EXPECT_GT(tcp.read(), read);
  EXPECT_TRUE(world.direct());
  EXPECT_FALSE(tcp.broken());
  EXPECT_EQ(tcp.wrong(), 0U);
}

TEST(AgentFailoverTable, SlowAndLossyRelayDoesNotTouchADirectPath) {
  DirectWorld world;
  ASSERT_TRUE(world.go_direct());
  Echo echo{world};
  auto bad = world.network.defaults;
  bad.delay = 100ms;
  bad.loss = 0.05;
  world.network.set_links(world.agent_at.ip, world.intermediate_at.ip, bad);
  echo.run(20s);
  echo.settle();
  EXPECT_TRUE(world.direct());
  EXPECT_EQ(echo.lost(), 0U);
  EXPECT_EQ(world.way().sessions, 1U);
}

TEST(AgentFailoverTable, TheConnectorsReportIsEnough) {
  DirectWorld world;
  ASSERT_TRUE(world.go_direct());
  world.run_for(1s);
  world.intermediate_says(wire::PathReport{world.last_tunnel, wire::PathKind::direct, false});
  EXPECT_TRUE(world.run_until([&] { return !world.direct(); }, 100ms));
  EXPECT_EQ(world.way().last_cause, "peer_report");
}

TEST(AgentFailoverTable, TheAgentsNatRebinds) {
  DirectWorld world;
  ASSERT_TRUE(world.go_direct());
  TcpEcho tcp{world};
  ASSERT_TRUE(tcp.open());
  Echo echo{world};
  echo.each = [&] { tcp.step(); };
  echo.run(2s);
  echo.gap();
  world.network.nat(world.agent_at, at("198.51.100.9", 6000));
  echo.run(5s);
  EXPECT_LE(echo.gap(), 500ms);
  EXPECT_TRUE(world.direct());
  EXPECT_EQ(tcp.wrong(), 0U);
  EXPECT_FALSE(tcp.broken());
  EXPECT_EQ(world.way().last_cause, "");
}

TEST(AgentFailoverTable, ANewNetworkThatChangesNothingLosesNothing) {
  DirectWorld world;
  ASSERT_TRUE(world.go_direct());
  Echo echo{world};
  for (int i = 0; i < 30; ++i) {
    echo.run(200ms);
    world.agent->set_hosts({DirectWorld::host("198.51.100.9"), {ip("172.17.0.1"), 16, "docker0", 3}}, world.now());
    world.agent->network_changed(world.now());
  }
  echo.settle();
  EXPECT_EQ(echo.lost(), 0U);
  EXPECT_TRUE(world.direct());
  EXPECT_EQ(world.way().last_cause, "");
}

TEST(AgentFailoverTable, TenMinutesAsleep) {
  for (const bool alive : {true, false}) {
    DirectWorld world;
    ASSERT_TRUE(world.go_direct());
    TcpEcho tcp{world};
    ASSERT_TRUE(tcp.open());
    Echo echo{world};
    echo.each = [&] { tcp.step(); };
    echo.run(2s);
    const auto read = tcp.read();
    if (!alive) world.block(true);
    world.suspend(10min);
    echo.run(8s);
    EXPECT_EQ(world.direct(), alive);
    EXPECT_FALSE(tcp.broken());
    EXPECT_EQ(tcp.wrong(), 0U);
    EXPECT_GT(tcp.read(), read + 500'000) << alive;
    EXPECT_TRUE(world.agent->snapshot(world.now()).connected);
    EXPECT_EQ(world.tunnels.handlers.size(), 1U);
  }
}

TEST(AgentDirect, AnIdleTunnelEndsAllTheSame) {
  DirectWorld world;
  ASSERT_TRUE(world.go_direct());
  world.run_for(4min);
  EXPECT_TRUE(world.direct());
  world.run_for(25min);
  EXPECT_TRUE(world.agent->snapshot(world.now()).tunnels.empty());
}

TEST(AgentDirect, AnIdleTcpConnectionIsKept) {
  DirectWorld world;
  ASSERT_TRUE(world.go_direct());
  TcpEcho tcp{world};
  ASSERT_TRUE(tcp.open());
  world.run_for(9min);  // longer than an unused tunnel is kept alive
  TimePoint last{};
  world.network.tap = [&](SimPacket& packet) {
    if (packet.from == world.agent_at && packet.to == world.connector_at) last = world.now();
    return true;
  };
  world.run_for(20s);
  EXPECT_NE(last, TimePoint{});
  EXPECT_TRUE(world.direct());
  EXPECT_FALSE(tcp.broken());
}

TEST(AgentDirect, SwitchedOffAndOn) {
  DirectWorld world;
  ASSERT_TRUE(world.go_direct());
  Echo echo{world};
  echo.run(1s);
  world.agent->set_direct({false, true, {}}, world.now());
  echo.run(1s);
  EXPECT_FALSE(world.direct());
  EXPECT_EQ(world.way().reason, "disabled");
  world.agent->set_direct({true, true, {5000, 0, {}, {}}}, world.now());
  echo.run(2s);
  EXPECT_TRUE(world.direct());
  echo.settle();
  EXPECT_EQ(echo.lost(), 0U);
}

}  // namespace
}  // namespace ztna::agent::testing
