// Agent, Intermediate and Connector as they are, behind NATs: they find the direct path, fall back when it dies, and
// return, with a TCP connection and a UDP echo of 1,000 packets a second running. Topology: whole_world.h.
#include <gtest/gtest.h>

#include "virtual/system_virtual/users.h"
#include "virtual/system_virtual/whole_world.h"

namespace ztna::test {
namespace {

using Nat = WholeWorld::Nat;
using Echo = EchoUser<WholeWorld>;
using TcpEcho = TcpUser<WholeWorld>;

bool begin(WholeWorld& world) {
  if (!world.run_until([&] { return world.registered(); }, 10s)) return false;
  world.service = {*world.agent->snapshot(world.now()).services[0].v4, 7000};
  return true;
}

TEST(WholeRefusals, BothSymmetricStaysRelayedAndSaysWhy) {
  WholeWorld world{WholeWorld::kSymmetric, WholeWorld::kSymmetric};
  ASSERT_TRUE(begin(world));
  TcpEcho tcp{world};
  ASSERT_TRUE(tcp.open());  // the tunnel is up: nothing waits for it
  Echo echo{world};
  echo.run(15s, kWaiting);
  echo.settle();
  EXPECT_FALSE(world.direct());
  EXPECT_EQ(echo.lost(), 0U);
  const auto way = world.way();
  EXPECT_EQ(way.reason, "both_symmetric");
  EXPECT_FALSE(way.remedy.empty());
  EXPECT_EQ(way.peer_nat, "symmetric");
  EXPECT_EQ(world.agent->snapshot(world.now()).nat.v4.kind, "symmetric");
}

struct Pair {
  const char* name;
  Nat agent, connector;
};

class WholeDirect : public ::testing::TestWithParam<Pair> {};

TEST_P(WholeDirect, GoesDirectFallsBackAndReturns) {
  WholeWorld world{GetParam().agent, GetParam().connector};
  ASSERT_TRUE(begin(world));
  TcpEcho tcp{world};
  ASSERT_TRUE(tcp.open());
  Echo echo{world};
  echo.each = [&] { tcp.step(); };
  const auto began = world.now();
  while (!world.direct() && world.now() - began < 5s) echo.run(10ms);
  ASSERT_TRUE(world.direct()) << world.way().reason;
  EXPECT_LE(world.now() - began, 500ms);
  echo.run(3s);
  echo.settle();
  EXPECT_EQ(echo.lost(), 0U);
  for (const auto& [out, back] : {std::pair{true, true}, std::pair{true, false}, std::pair{false, true}}) {
    echo.run(11s, kWaiting);  // longer than a short life
    ASSERT_TRUE(world.direct());
    echo.gap();
    world.block(out, back);
    echo.run(3s);
    EXPECT_FALSE(world.direct());
    EXPECT_LE(echo.gap(), 500ms) << out << back;
    world.block(false, false);
    const auto mended = world.now();
    const auto lost = echo.lost();
    while (!world.direct() && world.now() - mended < 12s) echo.run(20ms);
    ASSERT_TRUE(world.direct());
    EXPECT_LE(world.now() - mended, 10s);
    echo.run(1s);
    echo.settle();
    EXPECT_LE(echo.lost(), lost) << "nothing is lost on the way back";
    EXPECT_FALSE(tcp.broken());
  }
  EXPECT_EQ(echo.duplicates(), 0U);
  EXPECT_EQ(tcp.wrong(), 0U);
  EXPECT_GT(tcp.read(), 5'000'000U);
}

INSTANTIATE_TEST_SUITE_P(Nats, WholeDirect,
                         ::testing::Values(Pair{"OpenOpen", WholeWorld::kOpen, WholeWorld::kOpen},
                                           Pair{"PortRestrictedTwice", WholeWorld::kPortRestricted,
                                                WholeWorld::kPortRestricted},
                                           Pair{"SymmetricFullCone", WholeWorld::kSymmetric, WholeWorld::kFullCone},
                                           Pair{"FullConeSymmetric", WholeWorld::kFullCone, WholeWorld::kSymmetric}),
                         [](const auto& pair) { return std::string{pair.param.name}; });

struct Rebinding {
  const char* name;
  bool ours;
  Duration rtt;
  Duration longest, longest_relayed;
};

class WholeRebinding : public ::testing::TestWithParam<Rebinding> {};

/// Both NATs are of one kind. The tunnel is used for `before`, then one of them rebinds, then it is used for 3 s more
/// and waited for `after`. Returns the gap.
Duration gap_of_rebinding(const Rebinding& row, Nat nats, bool direct, Duration before, Duration after) {
  WholeWorld world{nats, nats, row.rtt};
  const bool begun = begin(world);
  TcpEcho tcp{world};
  if (!begun || !tcp.open()) {
    ADD_FAILURE() << "no tunnel";
    return 1h;
  }
  Echo echo{world};
  echo.each = [&] { tcp.step(); };
  echo.run(before);
  EXPECT_EQ(world.direct(), direct);
  echo.gap();
  (row.ours ? world.agent_nat : world.connector_nat)->rebind();
  echo.run(3s);
  echo.run(after, kWaiting);
  EXPECT_EQ(world.direct(), direct) << world.way().reason;
  EXPECT_FALSE(tcp.broken());
  EXPECT_EQ(tcp.wrong(), 0U);
  EXPECT_EQ(echo.duplicates(), 0U);
  return echo.gap();
}

/// The NAT at the other end drops what comes from the new port, so the relay is the way out, and it has to learn the
/// new address, too: while the silence is only doubtful, or the gap is longer than the bound here.
TEST_P(WholeRebinding, TheRelayKnowsTheNewAddressWhenItIsNeeded) {
  EXPECT_LE(gap_of_rebinding(GetParam(), WholeWorld::kPortRestricted, true, 5s, 12s), GetParam().longest);
}

/// The same on a tunnel that has only the relay. In use for a short time, what is lost fills its congestion window.
TEST_P(WholeRebinding, ARelayedTunnelGoesOn) {
  const auto& row = GetParam();
  for (const auto before : {600ms, 2000ms}) {
    EXPECT_LE(gap_of_rebinding(row, WholeWorld::kSymmetric, false, before, 0s), row.longest_relayed)
        << before.count() << " ms in use";
  }
}

INSTANTIATE_TEST_SUITE_P(WholeFailover, WholeRebinding,
                         ::testing::Values(Rebinding{"Agent30", true, 30ms, 320ms, 290ms},
                                           Rebinding{"Agent100", true, 100ms, 900ms, 800ms},
                                           Rebinding{"Connector30", false, 30ms, 320ms, 290ms},
                                           Rebinding{"Connector100", false, 100ms, 900ms, 1100ms}),
                         [](const auto& row) { return std::string{row.param.name}; });

TEST(WholeFailover, IntermediateOutOfReachWhileDirect) {
  WholeWorld world{WholeWorld::kPortRestricted, WholeWorld::kPortRestricted};
  ASSERT_TRUE(begin(world));
  TcpEcho tcp{world};
  ASSERT_TRUE(tcp.open());
  Echo echo{world};
  echo.each = [&] { tcp.step(); };
  echo.run(5s);
  ASSERT_TRUE(world.direct());
  world.intermediate_reachable(false);
  echo.run(5s);
  echo.run(55s, kWaiting);
  EXPECT_TRUE(world.direct());
  EXPECT_FALSE(world.agent->snapshot(world.now()).connected);
  echo.settle();
  EXPECT_EQ(echo.lost(), 0U);
  TcpEcho another{world, 5001};
  EXPECT_TRUE(another.open()) << "new flows on a live tunnel";
  world.intermediate_reachable(true);
  Echo later{world};
  later.each = [&] { tcp.step(); };
  later.run(5s);
  later.run(35s, kWaiting);
  EXPECT_TRUE(world.agent->snapshot(world.now()).connected);
  EXPECT_TRUE(world.direct());
  later.settle();
  EXPECT_EQ(later.lost(), 0U);
  EXPECT_EQ(echo.duplicates() + later.duplicates(), 0U);
  EXPECT_EQ(tcp.wrong(), 0U);
  later.run(1s);
  later.gap();
  world.block(true, true);
  later.run(2s);
  EXPECT_FALSE(world.direct());
  EXPECT_LE(later.gap(), 500ms);
  EXPECT_FALSE(tcp.broken());
}

}  // namespace
}  // namespace ztna::test
