// Birthday searches with Agent, Intermediate and Connector as they are (docs/direct-paths.md): one end behind a
// symmetric NAT with random ports, the other behind one that filters by port. Topology: whole_world.h. The seeds are
// fixed, so that a search that finds its way in one run does so in all of them.
#include <gtest/gtest.h>

#include <map>

#include "base/metrics.h"
#include "path/search_pause.h"
#include "tunnel/searching.h"
#include "virtual/system_virtual/users.h"
#include "virtual/system_virtual/whole_world.h"

namespace ztna::test {
namespace {

using Echo = EchoUser<WholeWorld>;
using TcpEcho = TcpUser<WholeWorld>;
using Nat = WholeWorld::Nat;

const IpAddress kIntermediate = agent::testing::ip("192.0.2.1");
const IpAddress kAgentSide = agent::testing::ip("198.51.100.9");
const IpAddress kConnectorSide = agent::testing::ip("203.0.113.7");
const std::set<IpAddress> kOurs{kIntermediate, kAgentSide, kConnectorSide, agent::testing::ip("10.0.1.2"),
                                agent::testing::ip("10.0.2.2")};
const IpAddress kVictim = agent::testing::ip("192.0.2.66");

/// Path probes on the Internet, by where they go.
class ProbeTap {
 public:
  explicit ProbeTap(WholeWorld& world) {
    world.network.tap = [this](SimPacket& packet) {
      if (!packet.payload.empty() && packet.payload[0] == 0x1A) ++to_[packet.to.ip];
      return true;
    };
  }
  unsigned to(const IpAddress& ip) const { return to_.contains(ip) ? to_.at(ip) : 0; }
  /// Neither the two ends', inside or outside of their NATs, nor the Intermediate's.
  unsigned to_others() const {
    unsigned sum = 0;
    for (const auto& [ip, count] : to_) sum += kOurs.contains(ip) ? 0 : count;
    return sum;
  }

 private:
  std::map<IpAddress, unsigned> to_;
};

std::uint64_t metric(const Metrics& metrics, const std::string& name, const std::string& label) {
  for (const auto& m : metrics.list()) {
    if (m.name == name && (label.empty() || m.labels[0].second == label)) return static_cast<std::uint64_t>(m.read());
  }
  ADD_FAILURE() << "no metric " << name << " " << label;
  return 0;
}

/// What the Agent's or Connector's own metrics say of searches.
std::uint64_t of_agent(const WholeWorld& world, const std::string& what, const std::string& result = {}) {
  Metrics metrics;
  world.agent->describe(metrics);
  return metric(metrics, "ztna_agent_birthday_" + what, result);
}
std::uint64_t of_connector(const WholeWorld& world, const std::string& what, const std::string& result = {}) {
  Metrics metrics;
  world.connector->declare_metrics(metrics);
  return metric(metrics, "ztna_connector_birthday_" + what, result);
}
std::uint64_t requests(const WholeWorld& world) {
  return of_agent(world, "requests_sent_total") + of_connector(world, "requests_sent_total");
}

struct Running {
  explicit Running(WholeWorld& world) : tcp(begin(world)), echo(world) {
    echo.each = [this] { tcp.step(); };
  }
  static WholeWorld& begin(WholeWorld& world) {
    EXPECT_TRUE(world.run_until([&] { return world.registered(); }, 10s));
    world.service = {*world.agent->snapshot(world.now()).services[0].v4, 7000};
    return world;
  }
  TcpEcho tcp;
  Echo echo;
};

struct Off {
  const char* name;
  bool agent, connector;
  const char* reason;
  const char* searched;
};
class WholeSearchOff : public ::testing::TestWithParam<Off> {};

TEST_P(WholeSearchOff, StaysRelayedSaysWhyAndSendsNothing) {
  const auto& off = GetParam();
  WholeWorld world{WholeWorld::kSymmetric,
                   WholeWorld::kPortRestricted,
                   30ms,
                   {.agent_birthday = off.agent, .connector_birthday = off.connector}};
  Running users{world};
  ASSERT_TRUE(users.tcp.open());
  users.echo.run(15s, kWaiting);
  users.echo.settle();
  EXPECT_FALSE(world.direct());
  EXPECT_EQ(users.echo.lost(), 0U);
  const auto way = world.way();
  EXPECT_EQ(way.reason, off.reason);
  EXPECT_EQ(way.birthday, off.searched);
  EXPECT_NE(way.remedy.find("p2p.birthday"), std::string::npos);
  EXPECT_EQ(world.agent->snapshot(world.now()).nat.birthday, off.agent);
  EXPECT_EQ(requests(world), 0U);
  EXPECT_EQ(world.agent_sockets() + world.connector_sockets(), 0U);
  EXPECT_GE(of_agent(world, "searches_total", off.searched), 1U);
}

INSTANTIATE_TEST_SUITE_P(Sides, WholeSearchOff,
                         ::testing::Values(Off{"Agent", false, true, "birthday_disabled", "off"},
                                           Off{"Connector", true, false, "peer_birthday_disabled", "off_at_peer"}),
                         [](const auto& off) { return std::string{off.param.name}; });

/// The Connector claims a victim's address; the search goes to where the Intermediate sees the Connector, and the
/// victim gets no more than one address of an ordinary session does.
TEST(WholeSearchRefusals, AClaimedAddressIsNotSearched) {
  WholeWorld world{WholeWorld::kPortRestricted, WholeWorld::kSymmetric, 30ms, {.connector_external = {kVictim}}};
  const ProbeTap probes{world};
  Running users{world};
  ASSERT_TRUE(world.run_until([&] { return of_agent(world, "requests_sent_total") > 0; }, 10s));
  const auto before = probes.to(kVictim);
  EXPECT_GT(before, 0U) << "an ordinary session tries a claim";
  EXPECT_LE(before, path::PunchSession::kMaxProbes);
  ASSERT_TRUE(world.run_until([&] { return world.way().birthday != "searching"; }, 5s));
  EXPECT_GT(of_agent(world, "requests_sent_total"), 10U);
  EXPECT_EQ(probes.to(kVictim), before);
  EXPECT_EQ(probes.to_others(), before);
}

TEST(WholeSearchRefusals, FewSocketsAreUsedCountedAndNoFailure) {
  WholeWorld world{WholeWorld::kSymmetric, WholeWorld::kPortRestricted, 30ms, {.max_side_sockets = 10}};
  Running users{world};
  ASSERT_TRUE(world.run_until([&] { return of_agent(world, "sockets_missing_total") > 0; }, 10s));
  EXPECT_EQ(of_agent(world, "sockets_missing_total"), path::BirthdaySearch::kSockets - 10);
  EXPECT_EQ(world.agent_sockets(), 10U);
  EXPECT_EQ(of_agent(world, "sockets"), 10U);
  world.run_for(4s);
  EXPECT_EQ(of_agent(world, "searches_total", "no_sockets"), 0U);
  EXPECT_EQ(of_agent(world, "searches_total", "found") + of_agent(world, "searches_total", "failed"), 1U);
  EXPECT_LE(world.agent_sockets(), 1U);
}

TEST(WholeSearchRefusals, NoSocketAtAll) {
  WholeWorld world{WholeWorld::kSymmetric, WholeWorld::kPortRestricted, 30ms, {.max_side_sockets = 0}};
  Running users{world};
  users.echo.run(10s, kWaiting);
  users.echo.settle();
  EXPECT_FALSE(world.direct());
  EXPECT_EQ(users.echo.lost(), 0U);
  EXPECT_EQ(world.way().birthday, "no_sockets");
  EXPECT_EQ(world.way().reason, "symmetric_with_port_restricted");
  EXPECT_EQ(of_agent(world, "searches_total", "no_sockets"), 1U);
  EXPECT_EQ(of_agent(world, "requests_sent_total"), 0U);
}

/// With one socket a search finds nothing (1 of 100 does: another seed then), so each pause can be seen.
TEST(WholeSearchRefusals, SearchesKeepTheirBudgetAndGrowRarer) {
  WholeWorld world{WholeWorld::kSymmetric, WholeWorld::kPortRestricted, 30ms, {.max_side_sockets = 1, .seed = 19}};
  const ProbeTap probes{world};
  Running users{world};
  std::vector<TimePoint> begun;
  std::uint64_t last = 0;
  const auto failed = [&] { return of_agent(world, "searches_total", "failed"); };
  for (const auto end = world.now() + 400s; world.now() < end;) {
    world.run_for(100ms);
    if (world.way().birthday != "searching" || (!begun.empty() && world.now() - begun.back() < 5s)) continue;
    begun.push_back(world.now());
    last = requests(world);
    ASSERT_TRUE(world.run_until([&] { return failed() == begun.size(); }, 5s))
        << begun.size() << " begun, " << failed() << " failed, " << of_agent(world, "searches_total", "found")
        << " found; now " << world.way().birthday;
    EXPECT_LE(requests(world) - last, 1024U);
    EXPECT_LE(world.now() - begun.back(), path::BirthdaySearch::kBudget + 500ms);
  }
  ASSERT_GE(begun.size(), 3U);
  for (std::size_t i = 1; i < begun.size(); ++i) {
    auto pause = path::SearchPause::kFirst;
    for (std::size_t n = 1; n < i; ++n) pause = std::min<Duration>(2 * pause, path::SearchPause::kLongest);
    EXPECT_GE(begun[i] - begun[i - 1], pause - 200ms) << i;
  }
  EXPECT_EQ(probes.to_others(), 0U);
  EXPECT_GT(of_agent(world, "searches_total", "paused"), 0U);
}

struct Pair {
  const char* name;
  Nat agent, connector;
};
class WholeSearch : public ::testing::TestWithParam<Pair> {};

TEST_P(WholeSearch, GoesDirectFallsBackAndReturns) {
  WholeWorld world{GetParam().agent, GetParam().connector};
  const ProbeTap probes{world};
  Running users{world};
  auto& [tcp, echo] = users;
  ASSERT_TRUE(tcp.open());
  const auto began = world.now();
  while (!world.direct() && world.now() - began < 12s) echo.run(10ms);
  ASSERT_TRUE(world.direct()) << world.way().reason << " " << world.way().birthday;
  EXPECT_EQ(world.way().birthday, "found");
  EXPECT_LE(requests(world), 1024U);
  EXPECT_EQ(of_agent(world, "searches_total", "found"), 1U);
  EXPECT_EQ(of_connector(world, "searches_total", "found"), 1U);
  EXPECT_EQ(world.agent_sockets() + world.connector_sockets(), 1U) << "the others are closed";
  EXPECT_EQ(probes.to_others(), 0U);
  echo.run(3s);
  echo.settle();
  EXPECT_EQ(echo.lost(), 0U);
  const auto searched = requests(world);
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
    ASSERT_TRUE(world.direct()) << out << back << " " << world.way().reason;
    EXPECT_LE(world.now() - mended, 10s);
    echo.run(1s);
    echo.settle();
    EXPECT_LE(echo.lost(), lost) << "nothing is lost on the way back";
    EXPECT_FALSE(tcp.broken());
  }
  EXPECT_EQ(requests(world), searched) << "the hole that was found is used again, without a search";
  EXPECT_EQ(echo.duplicates(), 0U);
  EXPECT_EQ(tcp.wrong(), 0U);
  EXPECT_GT(tcp.read(), 5'000'000U);
}

/// An idle tunnel's hole stays open: NATs here forget after 120 s.
TEST_P(WholeSearch, IsKeptAlive) {
  WholeWorld world{GetParam().agent, GetParam().connector};
  Running users{world};
  const auto began = world.now();
  while (!world.direct() && world.now() - began < 12s) users.echo.run(10ms);
  ASSERT_TRUE(world.direct());
  world.run_for(280s);
  EXPECT_TRUE(world.direct());
  users.echo.settle();
  const auto lost = users.echo.lost();
  users.echo.run(1s);
  users.echo.settle();
  EXPECT_EQ(users.echo.lost(), lost);
  EXPECT_TRUE(world.direct());
}

INSTANTIATE_TEST_SUITE_P(
    Nats, WholeSearch,
    ::testing::Values(Pair{"SymmetricPortRestricted", WholeWorld::kSymmetric, WholeWorld::kPortRestricted},
                      Pair{"PortRestrictedSymmetric", WholeWorld::kPortRestricted, WholeWorld::kSymmetric}),
    [](const auto& pair) { return std::string{pair.param.name}; });

}  // namespace
}  // namespace ztna::test
