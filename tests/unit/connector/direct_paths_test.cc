// The answering side of signaling: what is refused first, then what is done.
#include "connector/direct_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "support/fake_connection.h"
#include "support/seeded_random.h"
#include "unit/connector/fakes.h"

namespace ztna::connector {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using test::address;

struct World final : DirectPathsOwner, tunnel::UdpPort {
  quic::Connection* established_connection(const wire::TunnelId& tunnel) override {
    const auto found = tunnels.find(tunnel);
    return found == tunnels.end() ? nullptr : &found->second;
  }
  bool has_route(const wire::TunnelId& tunnel, std::size_t upstream) override {
    return routes.contains({tunnel, upstream});
  }
  void send_to(std::size_t upstream, const wire::ControlMessage& message) override {
    messages.emplace_back(upstream, message);
  }
  void send_by_routes(const wire::TunnelId& tunnel, const wire::ControlMessage& message) override {
    for (const auto& [id, upstream] : routes) {
      if (id == tunnel) send_to(upstream, message);
    }
  }
  void send(const SocketAddress& to, Bytes row, std::size_t) override {
    probes.emplace_back(to, ByteVector{row.begin(), row.end()});
  }
  bool writable() const override { return true; }

  template <typename M>
  std::vector<std::pair<std::size_t, M>> sent() const {
    std::vector<std::pair<std::size_t, M>> out;
    for (const auto& [upstream, message] : messages) {
      if (const auto* m = std::get_if<M>(&message)) out.emplace_back(upstream, *m);
    }
    return out;
  }

  std::map<wire::TunnelId, ztna::test::FakeConnection> tunnels;
  std::set<std::pair<wire::TunnelId, std::size_t>> routes;
  std::vector<std::pair<std::size_t, wire::ControlMessage>> messages;
  std::vector<std::pair<SocketAddress, ByteVector>> probes;
};

struct DirectPathsTest : testing::Test {
  World world;
  TimePoint now{1s};
  ztna::test::SeededRandom random{1};
  std::optional<DirectPaths> direct;
  const wire::TunnelId tunnel{{1}};
  const wire::SessionId session{{2}};
  const SocketAddress agent = address("192.0.2.9:5000");

  DirectPathsTest() { make(true); }

  void make(bool enabled) {
    DirectOptions options;
    options.enabled = enabled;
    options.local.port_v4 = 4434;
    direct.emplace(options, world, random, now, world);
    path::HostAddress host;
    host.address = address("198.51.100.1:1").ip;
    host.prefix_length = 24;
    host.default_route = true;
    direct->punching().set_hosts({host}, now);
  }
  void live(std::size_t upstream) {
    world.tunnels[tunnel];
    world.routes.insert({tunnel, upstream});
  }
  wire::CandidateOffer offer() const {
    wire::CandidateOffer m;
    m.session = session;
    m.tunnel = tunnel;
    m.candidates = {{wire::CandidateKind::host, 1, agent}};
    return m;
  }
  void refused(std::size_t upstream, const wire::CandidateOffer& m, OfferOutcome outcome,
               wire::SignalingErrorCode code) {
    world.messages.clear();
    const auto before = direct->offers().value(outcome);
    EXPECT_TRUE(direct->take(upstream, m));
    EXPECT_EQ(direct->offers().value(outcome), before + 1) << to_string(outcome);
    const auto errors = world.sent<wire::SignalingError>();
    ASSERT_THAT(errors, SizeIs(1));
    EXPECT_THAT(world.messages, SizeIs(1));
    EXPECT_EQ(errors[0].first, upstream);
    EXPECT_EQ(errors[0].second.code, code);
    EXPECT_EQ(errors[0].second.session, m.session);
  }
  /// Runs timers for `duration`.
  void run(Duration duration) {
    const auto end = now + duration;
    while (direct->deadline() <= end) {
      now = std::max(now, direct->deadline());
      direct->on_deadline();
    }
    now = end;
  }
  quic::Liveness& seen() { return world.tunnels[tunnel].seen; }
  void deaf_since(TimePoint when) {
    seen().waiting_since = when;
    seen().heard = when - 1ms;
    seen().rtt = 30ms;
  }
};

TEST_F(DirectPathsTest, OffersForNoTunnelOrAnothersAreRefused) {
  refused(0, offer(), OfferOutcome::no_tunnel, wire::SignalingErrorCode::peer_gone);
  live(0);
  refused(1, offer(), OfferOutcome::not_yours, wire::SignalingErrorCode::not_yours);
  world.routes.clear();
  refused(0, offer(), OfferOutcome::not_yours, wire::SignalingErrorCode::not_yours);
  world.routes.insert({tunnel, 0});
  world.tunnels[tunnel].exported.reset();
  refused(0, offer(), OfferOutcome::failed, wire::SignalingErrorCode::limit);
  run(30s);
  EXPECT_THAT(world.probes, IsEmpty());
  EXPECT_EQ(direct->punching().size(), 0U);
}

TEST_F(DirectPathsTest, SwitchedOffSaysSo) {
  make(false);
  live(0);
  refused(0, offer(), OfferOutcome::disabled, wire::SignalingErrorCode::disabled);
}

TEST_F(DirectPathsTest, ASessionBelongsToTheIntermediateAndTunnelItBeganWith) {
  live(0);
  world.routes.insert({tunnel, 1});
  ASSERT_TRUE(direct->take(0, offer()));
  refused(1, offer(), OfferOutcome::not_yours, wire::SignalingErrorCode::not_yours);
  auto other = offer();
  other.tunnel = wire::TunnelId{{7}};
  world.tunnels[other.tunnel];
  world.routes.insert({other.tunnel, 0});
  refused(0, other, OfferOutcome::not_yours, wire::SignalingErrorCode::not_yours);
  // Neither may another begin or end it.
  EXPECT_TRUE(direct->take(1, wire::StartPunching{session, 0}));
  EXPECT_TRUE(direct->take(1, wire::SignalingError{session, wire::SignalingErrorCode::expired, ""}));
  EXPECT_TRUE(direct->take(0, wire::StartPunching{wire::SessionId{{99}}, 0}));
  run(1s);
  EXPECT_THAT(world.probes, IsEmpty());
  ASSERT_NE(direct->punching().find(session), nullptr);
  EXPECT_TRUE(direct->take(0, wire::StartPunching{session, 0}));
  run(1s);
  EXPECT_FALSE(world.probes.empty());
}

TEST_F(DirectPathsTest, WhatIsForAgentsMakesNoSense) {
  EXPECT_FALSE(direct->take(0, wire::CandidateAnswer{}));
  EXPECT_FALSE(direct->take(0, wire::Hello{}));
  EXPECT_FALSE(direct->take(0, wire::RouteRequest{}));
}

TEST_F(DirectPathsTest, AnswersWithItsCandidatesAndTellsLaterOnes) {
  live(0);
  ASSERT_TRUE(direct->take(0, offer()));
  auto answers = world.sent<wire::CandidateAnswer>();
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].first, 0U);
  EXPECT_EQ(answers[0].second.session, session);
  EXPECT_EQ(answers[0].second.tunnel, tunnel);
  ASSERT_THAT(answers[0].second.candidates, SizeIs(1));
  EXPECT_EQ(answers[0].second.candidates[0].address, address("198.51.100.1:4434"));

  direct->punching().set_mapped({address("203.0.113.1:4434")}, now);
  answers = world.sent<wire::CandidateAnswer>();
  ASSERT_THAT(answers, SizeIs(2));
  EXPECT_EQ(answers[1].second.candidates[0].address, address("203.0.113.1:4434"));
  // More of the Agent's are taken without another answer, and probed.
  auto more = offer();
  more.candidates[0].address = address("192.0.2.9:6000");
  ASSERT_TRUE(direct->take(0, more));
  EXPECT_EQ(direct->offers().value(OfferOutcome::continued), 1U);
  EXPECT_THAT(world.sent<wire::CandidateAnswer>(), SizeIs(2));
  ASSERT_TRUE(direct->take(0, wire::StartPunching{session, 50}));
  run(49ms);
  EXPECT_THAT(world.probes, IsEmpty()) << "not before its time";
  run(500ms);
  std::set<SocketAddress> probed;
  for (const auto& [to, octets] : world.probes) probed.insert(to);
  EXPECT_THAT(probed, ElementsAre(agent, address("192.0.2.9:6000")));
}

TEST_F(DirectPathsTest, SilenceIsAResultToldOnce) {
  live(0);
  ASSERT_TRUE(direct->take(0, offer()));
  ASSERT_TRUE(direct->take(0, wire::StartPunching{session, 0}));
  run(60s);
  const auto results = world.sent<wire::PunchingResult>();
  ASSERT_THAT(results, SizeIs(1));
  EXPECT_EQ(results[0].second.outcome, wire::PunchingOutcome::failed);
  EXPECT_LE(world.probes.size(), path::PunchSession::kMaxProbes);
  EXPECT_EQ(direct->punching().size(), 0U);
  direct->tick();
  // The same id may be used again.
  ASSERT_TRUE(direct->take(0, offer()));
  EXPECT_EQ(direct->offers().value(OfferOutcome::answered), 2U);
}

TEST_F(DirectPathsTest, ASessionEndsWithItsTunnelOrByTheOtherEndsError) {
  live(0);
  ASSERT_TRUE(direct->take(0, offer()));
  direct->tunnel_closed(tunnel);
  EXPECT_EQ(direct->punching().size(), 0U);
  ASSERT_TRUE(direct->take(0, offer()));
  EXPECT_EQ(direct->punching().size(), 1U);
  EXPECT_TRUE(direct->take(0, wire::SignalingError{session, wire::SignalingErrorCode::expired, ""}));
  EXPECT_EQ(direct->punching().size(), 0U);
}

TEST_F(DirectPathsTest, ADeafPathIsReportedAndAgainWhileTheAgentStays) {
  live(0);
  direct->path_changed(tunnel, true, agent);
  EXPECT_EQ(direct->direct_tunnels(), 1U);
  deaf_since(now);
  direct->flushed();
  const auto patience = path::patience(seen().rtt, seen().rtt_variation).silent;
  run(patience - 5ms);
  EXPECT_THAT(world.messages, IsEmpty());
  run(10ms);
  auto reports = world.sent<wire::PathReport>();
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].second, (wire::PathReport{tunnel, wire::PathKind::direct, false}));
  EXPECT_EQ(direct->reports().value(PathTrouble::silent), 1U);
  run(DirectPaths::kReportAgain);
  EXPECT_THAT(world.sent<wire::PathReport>(), SizeIs(2));

  seen().waiting_since = kNever;
  seen().heard = now;
  direct->flushed();
  run(DirectPaths::kReportAgain);
  reports = world.sent<wire::PathReport>();
  ASSERT_THAT(reports, SizeIs(3));
  EXPECT_TRUE(reports[2].second.heard);
  EXPECT_EQ(direct->deadline(), kNever) << "an idle path wakes nobody";
}

TEST_F(DirectPathsTest, AWayThatPassesOnlySmallPacketsIsReported) {
  live(0);
  direct->path_changed(tunnel, true, agent);
  seen().rtt = 30ms;
  seen().large_since = now;
  seen().heard = now + 1s;
  run(2s);
  ASSERT_FALSE(world.sent<wire::PathReport>().empty());
  EXPECT_FALSE(world.sent<wire::PathReport>()[0].second.heard);
  EXPECT_GE(direct->reports().value(PathTrouble::large_lost), 1U);
}

TEST_F(DirectPathsTest, OnTheRelayNothingIsReported) {
  live(0);
  direct->path_changed(tunnel, true, agent);
  deaf_since(now);
  direct->path_changed(tunnel, false, {});
  direct->flushed();
  run(10s);
  EXPECT_THAT(world.messages, IsEmpty());
  EXPECT_EQ(direct->direct_tunnels(), 0U);
}

}  // namespace
}  // namespace ztna::connector
