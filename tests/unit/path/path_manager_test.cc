// The path manager over scripted networks: every row of the failover table of the issue "Direct first", then its edges.
//
// Net plays what the owner and the connection do: traffic of a kind goes over the path that the manager chose, in steps
// of 5 ms; the samples that the connection would give are made from which ways are open.
#include "path/path_manager.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace ztna::path {
namespace {

constexpr Duration kStep = 5ms;
const SocketAddress kPeer = SocketAddress::parse("198.51.100.7:4434").value();
const SocketAddress kElsewhere = SocketAddress::parse("[2001:db8::7]:4434").value();

struct Net {
  explicit Net(Duration round_trip = 30ms) : rtt(round_trip) {
    manager.set_relay(true, now);
    manager.set_signaling(true, now);
  }

  // What the network does.
  Duration rtt;
  bool out = true;    // our packets arrive
  bool back = true;   // theirs do
  bool large = true;  // those above 1200 octets, of those that would
  bool punchable = true;
  bool reports = false;  // the Connector sees silence as well and tells
  SocketAddress answers = kPeer;
  std::optional<SocketAddress> dead;  // this remote address alone

  // What the users do.
  bool sending = false;    // something is always in flight
  bool receiving = false;  // the Connector sends
  bool sending_large = false;

  PathManager manager;
  TimePoint now{1h};
  struct Event {
    TimePoint at;
    PathAction action;
  };
  std::vector<Event> events;
  PathSample seen;
  Duration session_time = 100ms;  // until an answer; the failure takes 3 s
  bool refuse_fall_back = false;

  void act(const PathAction& action) {
    events.push_back({now, action});
    switch (action.kind) {
      case PathAction::Kind::punch: session_ends = now + (punchable ? session_time : Duration{3s}); break;
      case PathAction::Kind::abandon: session_ends = kNever; break;
      case PathAction::Kind::upgrade: validation_ends = now + (out && back ? rtt : Duration{3s}); break;
      case PathAction::Kind::fall_back:
        manager.fell_back(!refuse_fall_back, now);
        if (!refuse_fall_back) {
          validation_ends = kNever;
          seen = {};
        }
        break;
      case PathAction::Kind::ping:
        if (manager.direct() && seen.waiting_since == kNever) seen.waiting_since = now;
        ping_acked = out && back ? now + rtt : kNever;
        break;
    }
  }

  void poll() {
    for (int i = 0; i < 100; ++i) {
      const auto action = manager.poll(now);
      if (!action) return;
      act(*action);
    }
    ADD_FAILURE() << "poll() never ends";
  }

  void traffic() {
    if (!manager.direct()) return;
    const bool alive = dead != manager.remote();
    const bool ours = out && alive, theirs = back && alive;
    if (sending && seen.waiting_since == kNever) seen.waiting_since = now;
    if (sending_large && seen.large_since == kNever) seen.large_since = now;
    const bool acked = (sending && ours && theirs && (!sending_large || large)) || now >= ping_acked;
    if (now >= ping_acked) ping_acked = kNever;
    if (acked) seen.waiting_since = sending ? now : kNever;
    if (sending_large && large && ours && theirs) seen.large_since = kNever;
    if (receiving && theirs) seen.payload = now;
    if ((receiving && theirs) || acked) seen.heard = now;
    seen.rtt = rtt;
    manager.sample(seen, now);
    if (reports && (!out || !back) && now - broken_since >= 200ms) manager.peer_report(false, now);
  }

  void step() {
    if (out && back) broken_since = now;
    if (now >= session_ends) {
      session_ends = kNever;
      if (punchable && out && back) {
        manager.punched(answers, rtt, now);
      } else {
        manager.not_punched(RelayReason::no_answer, now);
      }
    }
    if (now >= validation_ends) {
      validation_ends = kNever;
      const bool ok = out && back;
      if (ok) {
        seen = {};
        seen.since = seen.heard = now;
      }
      manager.upgraded(ok, now);
    }
    traffic();
    poll();
    now += kStep;
  }
  void run(Duration time) {
    for (const auto end = now + time; now < end;) step();
  }
  /// False: not within `limit`.
  template <typename Done>
  bool until(Done done, Duration limit) {
    for (const auto end = now + limit; now < end;) {
      if (done()) return true;
      step();
    }
    return done();
  }
  bool go_direct(Duration limit = 2s) {
    manager.tunnel_ready(now);
    return until([&] { return manager.direct(); }, limit);
  }
  std::optional<Duration> falls_back_within(Duration limit) {
    const auto began = now;
    if (!until([&] { return !manager.direct(); }, limit)) return std::nullopt;
    return now - began;
  }
  void break_both() { out = back = punchable = false; }
  void mend() { out = back = large = punchable = true; }
  std::size_t count(PathAction::Kind kind) const {
    std::size_t n = 0;
    for (const auto& e : events) n += e.action.kind == kind ? 1 : 0;
    return n;
  }
  std::vector<TimePoint> times(PathAction::Kind kind) const {
    std::vector<TimePoint> all;
    for (const auto& e : events) {
      if (e.action.kind == kind) all.push_back(e.at);
    }
    return all;
  }

  TimePoint session_ends = kNever, validation_ends = kNever, ping_acked = kNever, broken_since{};
};

using Kind = PathAction::Kind;

// -- refusals: what must change nothing ------------------------------------------------------------------------------

TEST(PathManagerRefusals, NothingIsTriedBeforeTheTunnelIsReady) {
  Net net;
  net.run(20s);
  EXPECT_TRUE(net.events.empty());
  EXPECT_EQ(net.manager.deadline(), kNever);
  EXPECT_EQ(net.manager.reason(), RelayReason::not_tried);
}

TEST(PathManagerRefusals, AnswersThatNobodyAskedForChangeNothing) {
  Net net;
  net.punchable = false;
  net.manager.punched(kPeer, 1ms, net.now);
  net.manager.upgraded(true, net.now);
  net.manager.fell_back(true, net.now);
  net.manager.peer_report(false, net.now);
  net.manager.not_punched(RelayReason::mtu, net.now);
  net.manager.sample({}, net.now);
  EXPECT_FALSE(net.manager.poll(net.now));
  EXPECT_EQ(net.manager.state(), PathState::relay);
  EXPECT_EQ(net.manager.changes().total(), 0U);
  ASSERT_TRUE(net.until([&] { return !net.go_direct(1ms); }, 1s));
  net.manager.upgraded(true, net.now);  // a session is under way, but nothing is being validated
  EXPECT_FALSE(net.manager.direct());
}

TEST(PathManagerRefusals, DisabledStaysOnTheRelay) {
  Net net;
  net.manager.set_enabled(false, net.now);
  EXPECT_FALSE(net.go_direct(60s));
  EXPECT_TRUE(net.events.empty());
  EXPECT_EQ(net.manager.reason(), RelayReason::disabled);
}

TEST(PathManagerRefusals, AReportOfThePathBeforeDoesNotEndTheNewOne) {
  Net net;
  ASSERT_TRUE(net.go_direct());
  net.run(100ms);
  net.manager.peer_report(false, net.now);
  net.manager.peer_report(true, net.now);
  net.run(5s);
  EXPECT_TRUE(net.manager.direct());
  net.manager.peer_report(true, net.now);
  net.run(1s);
  EXPECT_TRUE(net.manager.direct());
}

// -- going direct ----------------------------------------------------------------------------------------------------

TEST(PathManagerUpgrade, PunchesValidatesAndTellsTheServer) {
  Net net;
  const auto began = net.now;
  ASSERT_TRUE(net.go_direct());
  EXPECT_LE(net.now - began, 100ms + net.rtt + 4 * kStep);
  EXPECT_EQ(net.manager.remote(), kPeer);
  EXPECT_EQ(net.manager.changes().value(PathCause::punched), 1U);
  net.run(100ms);
  ASSERT_EQ(net.events.size(), 3U);
  EXPECT_EQ(net.events[0].action.kind, Kind::punch);
  EXPECT_EQ(net.events[1].action, (PathAction{Kind::upgrade, kPeer}));
  EXPECT_EQ(net.events[2].action.kind, Kind::ping);  // an idle tunnel's server would stay on the relay
  EXPECT_GE(net.manager.since(), began);
}

TEST(PathManagerUpgrade, StatesInOrder) {
  Net net;
  net.manager.tunnel_ready(net.now);
  EXPECT_EQ(net.manager.state(), PathState::relay);
  net.step();
  EXPECT_EQ(net.manager.state(), PathState::punching);
  EXPECT_EQ(net.manager.reason(), RelayReason::punching);
  ASSERT_TRUE(net.until([&] { return net.manager.state() == PathState::validating; }, 1s));
  EXPECT_EQ(net.manager.reason(), RelayReason::punching);
  ASSERT_TRUE(net.until([&] { return net.manager.state() == PathState::direct; }, 1s));
}

TEST(PathManagerUpgrade, NeverWorkedIsTriedEverMoreRarely) {
  Net net;
  net.punchable = false;
  net.manager.tunnel_ready(net.now);
  const auto began = net.now;
  net.run(30min);
  const auto tries = net.times(Kind::punch);
  const std::vector<Duration> expected{0s, 5s, 15s, 35s, 75s, 155s, 315s, 615s, 915s, 1215s, 1515s};
  ASSERT_EQ(tries.size(), expected.size());
  for (std::size_t i = 0; i < tries.size(); ++i)
    EXPECT_LE(tries[i] - began - expected[i], 2 * kStep * (static_cast<int>(i) + 1)) << i;
  EXPECT_EQ(net.manager.reason(), RelayReason::no_answer);
  EXPECT_EQ(net.manager.sessions(), expected.size());
  EXPECT_GT(net.manager.next_try(), net.now);
}

TEST(PathManagerUpgrade, AnsweredButNotValidated) {
  Net net;
  net.manager.tunnel_ready(net.now);
  ASSERT_TRUE(net.until([&] { return net.manager.state() == PathState::validating; }, 1s));
  net.break_both();
  net.validation_ends = net.now + 3s;
  ASSERT_TRUE(net.until([&] { return net.manager.state() == PathState::relay; }, 5s));
  EXPECT_EQ(net.manager.reason(), RelayReason::not_validated);
}

TEST(PathManagerUpgrade, AnAnswerAfterTheSessionFailedIsTaken) {
  Net net;
  net.punchable = false;
  net.manager.tunnel_ready(net.now);
  net.run(4s);
  ASSERT_EQ(net.manager.state(), PathState::relay);
  net.manager.punched(kPeer, net.rtt, net.now);
  EXPECT_TRUE(net.until([&] { return net.manager.direct(); }, 1s));
  EXPECT_EQ(net.count(Kind::punch), 1U);
}

TEST(PathManagerUpgrade, ASessionThatNobodyEndsIsEnded) {
  Net net;
  net.manager.tunnel_ready(net.now);
  net.poll();
  net.session_ends = kNever;
  net.run(PathManager::kSessionLimit + 1s);
  EXPECT_EQ(net.count(Kind::abandon), 1U);
  EXPECT_GE(net.count(Kind::punch), 2U);
}

TEST(PathManagerUpgrade, SignalingLostEndsTheSessionAndItsReturnBeginsOne) {
  Net net;
  net.punchable = false;
  net.manager.tunnel_ready(net.now);
  net.run(50ms);
  net.manager.set_signaling(false, net.now);
  net.run(20s);
  EXPECT_EQ(net.count(Kind::punch), 1U);
  EXPECT_EQ(net.count(Kind::abandon), 1U);
  EXPECT_EQ(net.manager.reason(), RelayReason::signaling_failed);
  EXPECT_EQ(net.manager.next_try(), kNever);
  net.mend();
  net.manager.set_signaling(true, net.now);
  EXPECT_TRUE(net.until([&] { return net.manager.direct(); }, 500ms));
}

// -- the failover table ----------------------------------------------------------------------------------------------

struct Row {
  const char* name;
  bool out, back, large;
  bool sending, receiving;
  PathCause cause;
};

class Blocked : public ::testing::TestWithParam<std::tuple<Row, int>> {};

TEST_P(Blocked, FallsBackInTimeAndReturnsWithinTenSeconds) {
  const auto& [row, milliseconds] = GetParam();
  Net net{std::chrono::milliseconds{milliseconds}};
  net.sending = row.sending;
  net.receiving = row.receiving;
  net.sending_large = !row.large;
  ASSERT_TRUE(net.go_direct());
  net.run(20s);
  ASSERT_TRUE(net.manager.direct());
  net.out = row.out;
  net.back = row.back;
  net.large = row.large;
  net.punchable =
      row.out && row.back;  // a session over a path that loses large packets would succeed: it must wait all the same
  const auto took = net.falls_back_within(2s);
  ASSERT_TRUE(took) << "stays on a dead path";
  const auto limit = milliseconds <= 30 ? 350ms : 1250ms;  // and about a round trip of the relay on top makes the gap
  EXPECT_LE(*took, limit);
  EXPECT_EQ(net.manager.last_cause(), row.cause);
  EXPECT_EQ(net.manager.reason(), row.large ? RelayReason::path_died : RelayReason::mtu);
  EXPECT_EQ(net.manager.changes().value(row.cause), 1U);
  EXPECT_EQ(net.events.back().action.kind, Kind::ping);  // the Connector learns of it at once
  net.run(500ms);
  EXPECT_FALSE(net.manager.direct());
  net.run(20s - 500ms);
  net.mend();
  EXPECT_TRUE(net.until([&] { return net.manager.direct(); }, 10s));
  net.run(20s);
  EXPECT_TRUE(net.manager.direct());
}

INSTANTIATE_TEST_SUITE_P(
    Table, Blocked,
    ::testing::Combine(::testing::Values(Row{"BothWaysEcho", false, false, true, true, true, PathCause::silent},
                                         Row{"BothWaysUpload", false, false, true, true, false, PathCause::silent},
                                         Row{"BothWaysDownload", false, false, true, false, true, PathCause::silent},
                                         Row{"OutboundEcho", false, true, true, true, true, PathCause::unacknowledged},
                                         Row{"InboundEcho", true, false, true, true, true, PathCause::silent},
                                         Row{"InboundDownload", true, false, true, false, true, PathCause::silent}),
                       ::testing::Values(10, 30, 100, 300)),
    [](const auto& row) { return std::get<0>(row.param).name + std::to_string(std::get<1>(row.param)); });

TEST(PathManagerTable, LargePacketsBlocked) {
  for (const auto rtt : {10ms, 30ms, 100ms}) {
    Net net{rtt};
    net.sending_large = net.receiving = true;  // small ones come all the time
    ASSERT_TRUE(net.go_direct());
    net.run(20s);
    net.large = false;
    const auto took = net.falls_back_within(2s);
    ASSERT_TRUE(took);
    EXPECT_LE(*took, rtt <= 30ms ? 320ms : 620ms);
    EXPECT_EQ(net.manager.reason(), RelayReason::mtu);
    net.large = true;  // what ngtcp2's path MTU discovery makes of it: packets that pass
    EXPECT_TRUE(net.until([&] { return net.manager.direct(); }, 10s));
  }
}

TEST(PathManagerTable, OneWayBreakThatOnlyTheConnectorSees) {
  Net net;
  net.receiving = false;  // nothing of ours waits: we cannot see it
  ASSERT_TRUE(net.go_direct());
  net.run(5s);
  net.reports = true;
  net.out = false;
  net.punchable = false;
  const auto took = net.falls_back_within(2s);
  ASSERT_TRUE(took);
  EXPECT_LE(*took, 400ms);
  EXPECT_EQ(net.manager.last_cause(), PathCause::peer_report);
}

TEST(PathManagerTable, DownloadThatStopsIsAskedAbout) {
  Net net;
  net.receiving = true;
  ASSERT_TRUE(net.go_direct());
  net.run(5s);
  const auto pings = net.count(Kind::ping);
  net.receiving = false;  // the path is alive, the Connector has no more to send
  net.run(10s);
  EXPECT_EQ(net.count(Kind::ping), pings + 1);
  EXPECT_TRUE(net.manager.direct());
}

TEST(PathManagerTable, TwentyBlocksAndReturnsInTwoMinutes) {
  Net net;
  net.sending = net.receiving = true;
  ASSERT_TRUE(net.go_direct());
  net.run(15s);
  for (int i = 0; i < 20; ++i) {
    net.break_both();
    net.run(3s);
    EXPECT_FALSE(net.manager.direct()) << i;
    net.mend();
    net.run(3s);
  }
  EXPECT_TRUE(net.until([&] { return net.manager.direct(); }, 10s));
  const auto up = net.manager.changes().value(PathCause::punched);
  EXPECT_GE(up, 8U);   // it does return
  EXPECT_LE(up, 22U);  // and no more often than the network
  EXPECT_EQ(up, net.manager.changes().total() - up + 1);
  net.run(60s);
  EXPECT_EQ(net.manager.changes().value(PathCause::punched), up);
}

TEST(PathManagerTable, FlappingIsDamped) {
  Net net;
  net.sending = true;
  ASSERT_TRUE(net.go_direct());
  net.run(15s);
  for (int i = 0; i < 6; ++i) {  // a path that dies 500 ms after each return
    net.break_both();
    ASSERT_TRUE(net.falls_back_within(1s));
    net.mend();
    ASSERT_TRUE(net.until([&] { return net.manager.direct(); }, 10s));
    net.run(500ms);
  }
  const auto tries = net.times(Kind::punch);
  const auto n = tries.size();
  EXPECT_GE(tries[n - 1] - tries[n - 2], 8s);
  EXPECT_LT(tries[2] - tries[1], 4s);
  net.run(15s);  // longer than a short life: the damping is forgotten
  net.break_both();
  ASSERT_TRUE(net.falls_back_within(1s));
  net.mend();
  EXPECT_TRUE(net.until([&] { return net.manager.direct(); }, 1500ms));
}

TEST(PathManagerTable, RebindingThatTheServerFollowsChangesNothing) {
  Net net;
  net.sending = net.receiving = true;
  ASSERT_TRUE(net.go_direct());
  net.run(5s);
  net.back = false;  // until the Connector has seen a packet from the new address
  net.run(60ms);
  net.back = true;
  net.run(10s);
  EXPECT_TRUE(net.manager.direct());
  EXPECT_EQ(net.manager.changes().total(), 1U);
}

TEST(PathManagerTable, RebindingThatTheServersNatRefusesFallsBack) {
  Net net;
  net.sending = net.receiving = true;
  ASSERT_TRUE(net.go_direct());
  net.run(15s);
  net.out = net.back = false;
  const auto took = net.falls_back_within(1s);
  ASSERT_TRUE(took);
  EXPECT_LE(*took, 400ms);
  net.mend();
  EXPECT_TRUE(net.until([&] { return net.manager.direct(); }, 2s));
}

TEST(PathManagerTable, ToBeSeenElsewhereDoesNotForgiveTheSilenceBefore) {
  for (const bool kernel : {false, true}) {
    Net net{100ms};
    net.sending = net.receiving = true;
    ASSERT_TRUE(net.go_direct());
    net.run(15s);
    net.break_both();
    net.run(400ms);
    ASSERT_TRUE(net.manager.direct());
    kernel ? net.manager.network_changed(net.now) : net.manager.seen_elsewhere(net.now);
    const auto took = net.falls_back_within(1s);
    ASSERT_TRUE(took);
    if (kernel) {
      EXPECT_GE(*took, 400ms);
    } else {
      EXPECT_LE(*took, 60ms);  // 450 ms of silence in all
    }
    EXPECT_EQ(net.manager.last_cause(), PathCause::network_changed);
    EXPECT_EQ(net.manager.reason(), RelayReason::network_changed);
  }
}

TEST(PathManagerTable, SeenElsewhereOnAPathThatWorksIsNoBreak) {
  Net net;
  net.sending = net.receiving = true;
  ASSERT_TRUE(net.go_direct());
  net.run(5s);
  net.manager.seen_elsewhere(net.now);
  net.run(10s);
  EXPECT_TRUE(net.manager.direct());
  net.break_both();
  ASSERT_TRUE(net.falls_back_within(1s));
  EXPECT_EQ(net.manager.last_cause(), PathCause::silent) << "it was heard since";
}

TEST(PathManagerTable, NewNetworkWithAWorkingPathIsNoBreak) {
  Net net;
  ASSERT_TRUE(net.go_direct());
  net.run(5s);
  const auto pings = net.count(Kind::ping);
  const auto tries = net.count(Kind::punch);
  net.manager.network_changed(net.now);
  net.run(20ms);
  EXPECT_EQ(net.count(Kind::ping), pings + 1);
  EXPECT_EQ(net.count(Kind::punch), tries + 1);
  net.run(10s);
  EXPECT_TRUE(net.manager.direct());
  EXPECT_EQ(net.manager.changes().total(), 1U);
  EXPECT_EQ(net.count(Kind::upgrade), 1U);  // the same address answered
}

TEST(PathManagerTable, NewNetworkWithAnotherWayMovesThere) {
  Net net;
  net.sending = true;
  ASSERT_TRUE(net.go_direct());
  net.run(5s);
  net.answers = kElsewhere;
  net.manager.network_changed(net.now);
  net.run(2s);
  EXPECT_TRUE(net.manager.direct());
  EXPECT_EQ(net.manager.remote(), kElsewhere);
  EXPECT_EQ(net.manager.changes().value(PathCause::better), 1U);
  EXPECT_EQ(net.count(Kind::fall_back), 0U);
}

TEST(PathManagerTable, NewNetworkWithADeadPathFallsBackAndTriesAtOnce) {
  Net net;
  ASSERT_TRUE(net.go_direct());  // idle: only the ping tells
  net.run(20s);
  net.break_both();
  net.manager.network_changed(net.now);
  const auto took = net.falls_back_within(1s);
  ASSERT_TRUE(took);
  EXPECT_LE(*took, 300ms);
  EXPECT_EQ(net.manager.last_cause(), PathCause::network_changed);
  EXPECT_EQ(net.manager.reason(), RelayReason::network_changed);
  const auto fell = net.now;
  net.mend();
  net.session_ends = std::min(net.session_ends, net.now + 100ms);
  ASSERT_TRUE(net.until([&] { return net.manager.direct(); }, 2500ms));
  EXPECT_LE(net.now - fell, 2500ms);
}

TEST(PathManagerTable, OnTheRelayANewNetworkIsTriedAtOnce) {
  Net net;
  net.punchable = false;
  net.manager.tunnel_ready(net.now);
  net.run(10min);
  const auto tries = net.count(Kind::punch);
  net.mend();
  net.manager.network_changed(net.now);
  net.run(1s);
  EXPECT_EQ(net.count(Kind::punch), tries + 1);
  EXPECT_TRUE(net.manager.direct());
}

TEST(PathManagerTable, ANetworkThatChangesAllTheTimeIsNotTriedAllTheTime) {
  Net net;
  net.punchable = false;
  net.manager.tunnel_ready(net.now);
  for (int i = 0; i < 1000; ++i) {
    net.manager.network_changed(net.now);
    net.run(10ms);
  }
  EXPECT_LE(net.count(Kind::punch), 12U);
  EXPECT_LE(net.count(Kind::abandon), 12U);
}

TEST(PathManagerTable, AMachineThatSleptTenMinutesBeginsOnTheRelay) {
  for (const bool alive : {true, false}) {
    for (const bool in_flight : {true, false}) {
      Net net;
      net.sending = in_flight;
      ASSERT_TRUE(net.go_direct());
      net.run(20s);
      const auto pings = net.count(Kind::ping);
      if (!alive) net.break_both();
      net.now += 10min;
      net.poll();  // the first thing that runs
      EXPECT_FALSE(net.manager.direct());
      EXPECT_EQ(net.manager.last_cause(), PathCause::network_changed);
      EXPECT_GE(net.count(Kind::ping), pings + 1);
      net.run(2s);
      EXPECT_EQ(net.manager.direct(), alive);
    }
  }
}

TEST(PathManagerTable, AMachineThatSleptOnTheRelayTriesAtOnce) {
  Net net;
  net.punchable = false;
  net.manager.tunnel_ready(net.now);
  net.run(20min);
  net.mend();
  ASSERT_GT(net.manager.next_try(), net.now + 5s);
  net.now += 10min;
  net.run(1s);
  EXPECT_TRUE(net.manager.direct());
}

TEST(PathManagerTable, IntermediateStoppedWhileDirectChangesNothing) {
  Net net;
  net.sending = net.receiving = true;
  ASSERT_TRUE(net.go_direct());
  net.run(5s);
  const auto before = net.events.size();
  net.manager.set_signaling(false, net.now);
  net.manager.set_relay(false, net.now);
  net.run(5min);
  EXPECT_TRUE(net.manager.direct());
  EXPECT_EQ(net.events.size(), before);
  net.manager.set_signaling(true, net.now);
  net.manager.set_relay(true, net.now);
  net.run(10s);
  EXPECT_TRUE(net.manager.direct());
  EXPECT_EQ(net.events.size(), before);
}

TEST(PathManagerTable, WithoutARelayADeadPathIsKeptUntilThereIsOne) {
  Net net;
  net.sending = true;
  ASSERT_TRUE(net.go_direct());
  net.run(15s);
  net.manager.set_signaling(false, net.now);
  net.manager.set_relay(false, net.now);
  net.break_both();
  const auto pings = net.count(Kind::ping);
  net.run(10s);
  EXPECT_TRUE(net.manager.direct());
  EXPECT_EQ(net.count(Kind::fall_back), 0U);
  EXPECT_GE(net.count(Kind::ping), pings + 9);
  EXPECT_LE(net.count(Kind::ping), pings + 11);
  net.manager.set_relay(true, net.now);
  net.run(20ms);
  EXPECT_FALSE(net.manager.direct());
}

TEST(PathManagerTable, WithoutARelayADeadPathThatComesBackIsUsed) {
  Net net;
  net.sending = true;
  ASSERT_TRUE(net.go_direct());
  net.run(15s);
  net.manager.set_relay(false, net.now);
  net.break_both();
  net.run(10s);
  net.mend();
  net.run(5s);
  net.manager.set_relay(true, net.now);
  net.run(5s);
  EXPECT_TRUE(net.manager.direct());
  EXPECT_EQ(net.count(Kind::fall_back), 0U);
  EXPECT_EQ(net.manager.changes().total() - net.manager.changes().value(PathCause::better), 1U);
}

TEST(PathManagerTable, WithoutARelayAnotherDirectWayIsTaken) {
  Net net;
  net.sending = true;
  ASSERT_TRUE(net.go_direct());
  net.run(15s);
  net.manager.set_relay(false, net.now);
  net.dead = kPeer;
  net.answers = kElsewhere;
  ASSERT_TRUE(net.until([&] { return net.manager.remote() == kElsewhere; }, 2s));
  EXPECT_TRUE(net.manager.direct());
  EXPECT_EQ(net.manager.changes().value(PathCause::better), 1U);
  net.run(10s);
  EXPECT_EQ(net.count(Kind::fall_back), 0U);
}

// -- keeping it warm, leaving it -------------------------------------------------------------------------------------

TEST(PathManagerIdle, APingEveryFifteenSecondsAndNotMore) {
  Net net;
  ASSERT_TRUE(net.go_direct());
  net.run(1s);
  const auto pings = net.count(Kind::ping);
  net.run(10min);
  const auto more = net.count(Kind::ping) - pings;
  EXPECT_GE(more, 39U);
  EXPECT_LE(more, 40U);
  EXPECT_TRUE(net.manager.direct());
}

TEST(PathManagerIdle, AnIdlePathThatDiedIsFoundByItsPing) {
  Net net;
  ASSERT_TRUE(net.go_direct());
  net.run(1s);
  net.break_both();
  const auto took = net.falls_back_within(20s);
  ASSERT_TRUE(took);
  EXPECT_LE(*took, 16s);
}

TEST(PathManagerIdle, SendingWithoutAnswerIsNoReasonToPing) {
  Net net;
  net.sending = true;
  ASSERT_TRUE(net.go_direct());
  net.run(100ms);
  const auto pings = net.count(Kind::ping);
  net.run(5min);
  EXPECT_EQ(net.count(Kind::ping), pings);
}

TEST(PathManagerLeave, SwitchedOffWhileDirect) {
  Net net;
  ASSERT_TRUE(net.go_direct());
  net.run(1s);
  net.manager.set_enabled(false, net.now);
  net.run(10s);
  EXPECT_FALSE(net.manager.direct());
  EXPECT_EQ(net.manager.reason(), RelayReason::disabled);
  EXPECT_EQ(net.manager.last_cause(), PathCause::disabled);
  EXPECT_EQ(net.count(Kind::punch), 1U);
  net.manager.set_enabled(true, net.now);
  EXPECT_TRUE(net.until([&] { return net.manager.direct(); }, 1s));
}

TEST(PathManagerLeave, ARefusedMigrationIsTriedAgain) {
  Net net;
  net.sending = true;
  ASSERT_TRUE(net.go_direct());
  net.run(15s);
  net.refuse_fall_back = true;
  net.break_both();
  net.run(500ms);
  EXPECT_TRUE(net.manager.direct());
  EXPECT_GE(net.count(Kind::fall_back), 5U);
  EXPECT_LE(net.count(Kind::fall_back), 30U);
  net.refuse_fall_back = false;
  EXPECT_TRUE(net.falls_back_within(100ms));
}

TEST(PathManagerLeave, AfterFiveMinutesWithoutSuccessAPathCountsAsOneThatNeverWorked) {
  Net net;
  net.sending = true;
  ASSERT_TRUE(net.go_direct());
  net.run(15s);
  net.break_both();
  ASSERT_TRUE(net.falls_back_within(1s));
  net.run(4min);
  auto tries = net.times(Kind::punch);
  EXPECT_LE(tries.back() - tries[tries.size() - 2], 8s + 10 * kStep);
  net.run(60min);
  tries = net.times(Kind::punch);
  EXPECT_GE(tries.back() - tries[tries.size() - 2], 300s);
}

TEST(PathManagerLeave, DeadlineIsNeverInThePastAfterPoll) {
  Net net;
  net.sending = net.receiving = true;
  net.manager.tunnel_ready(net.now);
  for (int i = 0; i < 20'000; ++i) {
    if (i % 700 == 350) net.break_both();
    if (i % 700 == 690) net.mend();
    if (i % 1111 == 0) net.manager.set_relay(i % 2222 == 0, net.now);
    net.step();
    ASSERT_GE(net.manager.deadline(), net.now - kStep) << i;
  }
}

}  // namespace
}  // namespace ztna::path
