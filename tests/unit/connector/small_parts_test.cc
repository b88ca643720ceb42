// Names, quotas, arena, routes.
#include <gtest/gtest.h>

#include <set>

#include "connector/backend_names.h"
#include "connector/packet_arena.h"
#include "connector/packet_fate.h"
#include "connector/quota.h"
#include "connector/routes.h"
#include "unit/connector/fakes.h"

namespace ztna::connector {
namespace {

using namespace test;

TEST(BackendNames, LiteralsNeedNoResolver) {
  FakeResolver resolver;
  BackendNames names{resolver};
  const auto* known = names.known("10.0.0.5", TimePoint{1s});
  ASSERT_NE(known, nullptr);
  EXPECT_EQ(*known, std::vector{ip("10.0.0.5")});
  EXPECT_TRUE(resolver.asked.empty());
}

TEST(BackendNames, AnOldAnswerServesWhileANewOneIsAskedForOrFails) {
  FakeResolver resolver;
  BackendNames names{resolver};
  TimePoint now{1s};
  EXPECT_EQ(names.known("a.lan", now), nullptr);
  resolver.answer({ip("10.0.0.1")});
  EXPECT_EQ(names.known("a.lan", now)->front(), ip("10.0.0.1"));
  now += BackendNames::kFresh - 1ms;
  EXPECT_NE(names.known("a.lan", now), nullptr);
  EXPECT_TRUE(resolver.asked.empty());
  now += 1ms;
  EXPECT_EQ(names.known("a.lan", now)->front(), ip("10.0.0.1"));
  ASSERT_EQ(resolver.asked.size(), 1U);
  resolver.answer({});
  EXPECT_EQ(names.known("a.lan", now)->front(), ip("10.0.0.1"));
  now += BackendNames::kFresh;
  (void)names.known("a.lan", now);
  resolver.answer({ip("10.0.0.2")});
  EXPECT_EQ(names.known("a.lan", now)->front(), ip("10.0.0.2"));
}

TEST(BackendNames, AFailureIsNotAskedAgainForEachPacket) {
  FakeResolver resolver;
  BackendNames names{resolver};
  TimePoint now{1s};
  EXPECT_EQ(names.known("a.lan", now), nullptr);
  resolver.answer({});
  EXPECT_EQ(names.known("a.lan", now), nullptr);
  EXPECT_TRUE(resolver.asked.empty());
  EXPECT_EQ(names.known("a.lan", now + BackendNames::kRetry), nullptr);
  EXPECT_EQ(resolver.asked.size(), 1U);
}

TEST(BackendNames, WaitersAreToldOnceAndCanLeave) {
  FakeResolver resolver;
  BackendNames names{resolver};
  int told = 0;
  names.wait("a.lan", TimePoint{1s}, [&](const auto&) { ++told; });
  const auto ticket = names.wait("a.lan", TimePoint{1s}, [&](const auto&) { told += 100; });
  names.cancel(ticket);
  resolver.answer({ip("10.0.0.1")});
  EXPECT_EQ(told, 1);
}

TEST(BackendNames, AnAnswerMayComeAfterTheirEnd) {
  FakeResolver resolver;
  {
    BackendNames names{resolver};
    (void)names.known("a.lan", TimePoint{1s});
  }
  resolver.answer({ip("10.0.0.1")});
  EXPECT_TRUE(resolver.asked.empty());
}

TEST(TokenBucket, LetsTheRateThroughAndNoMore) {
  TokenBucket bucket{10};
  TimePoint now{1s};
  int passed = 0;
  for (int ms = 0; ms < 5000; ++ms) passed += bucket.take(now + Millis{ms}) ? 1 : 0;
  EXPECT_GE(passed, 58);
  EXPECT_LE(passed, 60);
  TokenBucket none{0};
  EXPECT_FALSE(none.take(now + 1h));
}

TEST(Quotas, TunnelsOfAnAgentAreLimitedAndGivenBack) {
  Limits limits;
  limits.tunnels_per_agent = 2;
  Quotas quotas{limits};
  auto* first = quotas.acquire("a");
  EXPECT_EQ(quotas.acquire("a"), first);
  EXPECT_EQ(quotas.acquire("a"), nullptr);
  EXPECT_NE(quotas.acquire("b"), nullptr);
  quotas.release("a");
  EXPECT_EQ(quotas.acquire("a"), first);
}

TEST(Quotas, AReloadChangesTheRateOfAgentsThatAreThere) {
  Limits limits;
  limits.tcp_connects_per_second = 2;
  Quotas quotas{limits};
  auto* usage = quotas.acquire("a");
  const auto connects_at = [&](TimePoint now) {
    int taken = 0;
    while (quotas.take_tcp(*usage, now)) ++taken;
    return taken;
  };
  EXPECT_EQ(connects_at(TimePoint{1s}), 2);
  limits.tcp_connects_per_second = 5;
  quotas.set_limits(limits);
  EXPECT_EQ(connects_at(TimePoint{1s}), 0);
  EXPECT_EQ(connects_at(TimePoint{9s}), 5);
  limits.tcp_connects_per_second = 1;
  quotas.set_limits(limits);
  EXPECT_EQ(connects_at(TimePoint{19s}), 1);
}

TEST(PacketArena, PiecesNeverOverlapAndTheNextBatchAllocatesNothing) {
  PacketArena arena;
  std::vector<const std::uint8_t*> first;
  for (int batch = 0; batch < 2; ++batch) {
    std::vector<MutableBytes> taken;
    for (std::size_t i = 0; i < 40; ++i) {
      taken.push_back(arena.take(65'575 - i));
      std::ranges::fill(taken.back(), static_cast<std::uint8_t>(i));
    }
    for (std::size_t i = 0; i < taken.size(); ++i) {
      EXPECT_TRUE(std::ranges::all_of(taken[i], [i](auto octet) { return octet == i; }));
      if (batch == 0) first.push_back(taken[i].data());
      EXPECT_EQ(taken[i].data(), first[i]);
    }
    arena.release();
    EXPECT_EQ(arena.used(), 0U);
  }
}

class RoutesTest : public ::testing::Test {
 protected:
  static wire::TunnelId tunnel(std::uint8_t n) { return wire::TunnelId{{n}}; }
  void open(std::uint64_t id, std::uint8_t t, std::size_t upstream = 0, TimePoint at = TimePoint{1s}) {
    routes.open({tunnel(t), wire::RouteId{id}, upstream, "a", {}, at}, address("192.0.2.1:4433"));
  }
  quic::Path path(std::uint64_t id) { return *relay.path(wire::RouteId{id}); }
  tunnel::RelayPaths relay;
  Routes routes{relay};
};

TEST_F(RoutesTest, OnlyOpenRoutesArePaths) {
  open(1, 1);
  const auto known = path(1);
  EXPECT_EQ(routes.find(known)->tunnel, tunnel(1));
  EXPECT_EQ(routes.find({address("192.0.2.9:1"), address("192.0.2.8:1")}), nullptr);
  routes.close(wire::RouteId{1});
  EXPECT_EQ(routes.find(known), nullptr);
  EXPECT_EQ(relay.size(), 0U);
}

TEST_F(RoutesTest, AReopenedIdIsANewPath) {
  open(1, 1);
  const auto before = path(1);
  open(1, 1);
  EXPECT_NE(path(1), before);
  EXPECT_EQ(routes.find(before), nullptr);
  EXPECT_EQ(routes.size(), 1U);
}

TEST_F(RoutesTest, ClosingTakesTheRightOnes) {
  open(1, 1, 0);
  open(2, 1, 1);
  open(3, 2, 0);
  open(4, 1, 0);
  routes.close_others(tunnel(1), path(3));  // not a path of this tunnel: nothing happens
  EXPECT_EQ(routes.size(), 4U);
  routes.close_others(tunnel(1), path(4));
  EXPECT_EQ(routes.size(), 2U);
  routes.close(tunnel(1), 1);
  EXPECT_EQ(routes.size(), 2U) << "another Intermediate's";
  routes.close(tunnel(1), 0);
  EXPECT_EQ(routes.size(), 1U);
  EXPECT_EQ(relay.size(), 1U);
}

TEST_F(RoutesTest, WhatTheIntermediateClosedIsHeardOnForAWhile) {
  const auto used = [](const wire::TunnelId&) { return true; };
  open(1, 1, 0);
  open(2, 1, 1);
  const auto closed = path(1);
  const TimePoint now{5s};
  routes.linger(tunnel(1), 0, now);
  ASSERT_NE(routes.find(closed), nullptr);
  ASSERT_EQ(routes.of(tunnel(1)).size(), 1U);
  EXPECT_EQ(routes.of(tunnel(1))[0].id, wire::RouteId{2});
  routes.expire(now + Routes::kLinger - 1ms, used);
  EXPECT_NE(routes.find(closed), nullptr);
  routes.expire(now + Routes::kLinger, used);
  EXPECT_EQ(routes.find(closed), nullptr);
  EXPECT_EQ(relay.size(), 1U);
}

TEST_F(RoutesTest, AChurnOfRoutesDoesNotPileUp) {
  for (std::uint64_t id = 1; id <= 100; ++id) {
    open(id, 1, 0);
    routes.linger(tunnel(1), 0, TimePoint{5s});
    EXPECT_EQ(routes.size(), 1U);
  }
}

TEST_F(RoutesTest, UnusedRoutesAreGivenUp) {
  open(1, 1);
  open(2, 2);
  open(3, 3, 0, TimePoint{20s});
  const auto expired =
      routes.expire(TimePoint{1s} + Routes::kUnused, [](const wire::TunnelId& id) { return id == tunnel(2); });
  ASSERT_EQ(expired.size(), 1U);
  EXPECT_EQ(expired[0].tunnel, tunnel(1));
  EXPECT_EQ(routes.size(), 2U);
  EXPECT_EQ(relay.path(wire::RouteId{1}), nullptr);
}

TEST(Fates, EachHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < CounterSet<PacketFate>::kSize; ++i) names.insert(to_string(static_cast<PacketFate>(i)));
  EXPECT_EQ(names.size(), CounterSet<PacketFate>::kSize);
  EXPECT_FALSE(names.contains("unknown"));
  names.clear();
  for (std::size_t i = 0; i < CounterSet<StreamFate>::kSize; ++i) names.insert(to_string(static_cast<StreamFate>(i)));
  EXPECT_EQ(names.size(), CounterSet<StreamFate>::kSize);
  EXPECT_FALSE(names.contains("unknown"));
}

}  // namespace
}  // namespace ztna::connector
