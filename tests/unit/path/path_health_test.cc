// The verdict on a path at its edges.
#include "path/path_health.h"
#include "path/path_doubt.h"

#include <gtest/gtest.h>

namespace ztna::path {
namespace {

TimePoint at(Duration t) { return TimePoint{1h} + t; }

PathSample waiting(Duration since, Duration heard, Duration rtt) {
  PathSample s;
  s.since = at(-10s);
  s.waiting_since = at(since);
  s.heard = at(heard);
  s.rtt = rtt;
  return s;
}

TEST(PathPatience, BoundsAndAProbeTimeoutPlusARoundTrip) {
  EXPECT_EQ(patience(1ms, 0ms).silent, 150ms);
  EXPECT_EQ(patience(1ms, 0ms).unacknowledged, 250ms);
  EXPECT_EQ(patience(1ms, 0ms).large, 300ms);
  EXPECT_EQ(patience(30ms, 2ms).silent, 170ms);
  EXPECT_EQ(patience(30ms, 2ms).unacknowledged, 230ms + 20ms);
  EXPECT_EQ(patience(100ms, 5ms).silent, 450ms);
  EXPECT_EQ(patience(100ms, 5ms).large, 600ms);
  EXPECT_EQ(patience(300ms, 10ms).silent, 1s);
  EXPECT_EQ(patience(60s, 60s).unacknowledged, 1s);
  EXPECT_EQ(patience(0ms, 0ms).silent, 4 * kUnknownRtt + 50ms);
  EXPECT_EQ(patience(-1ms, 0ms).silent, 4 * kUnknownRtt + 50ms);
  for (const auto rtt : {10ms, 30ms, 100ms, 150ms}) {  // what one lost packet costs never looks like death
    for (const auto variation : {Duration{1ms}, Duration{rtt / 2}}) {
      const auto replaced = rtt + 4 * variation + 25ms + rtt;
      EXPECT_GT(patience(rtt, variation).silent, std::min<Duration>(replaced, 999ms)) << rtt.count();
    }
  }
}

TEST(PathHealthTest, NothingWaitsNothingIsWrong) {
  PathSample s;
  s.since = at(0s);
  EXPECT_EQ(judge(s, at(24h)), PathHealth::alive);
  EXPECT_EQ(next_judgement(s), kNever);
}

TEST(PathHealthTest, SilentWhenNothingComesWhileSomethingWaits) {
  const auto s = waiting(0ms, -50ms, 30ms);
  EXPECT_EQ(judge(s, at(169ms)), PathHealth::alive);
  EXPECT_EQ(judge(s, at(170ms)), PathHealth::silent);
  EXPECT_EQ(next_judgement(s), at(170ms));
}

TEST(PathHealthTest, SilenceIsReckonedFromTheLastPacket) {
  const auto s = waiting(0ms, 40ms, 30ms);
  EXPECT_EQ(judge(s, at(209ms)), PathHealth::alive);
  EXPECT_EQ(judge(s, at(210ms)), PathHealth::silent);
}

TEST(PathHealthTest, DoubtfulWhenAnAcknowledgementIsLate) {
  EXPECT_EQ(doubtful_from(waiting(0ms, -50ms, 30ms)), at(80ms));
  EXPECT_EQ(doubtful_from(waiting(0ms, 40ms, 30ms)), at(120ms));
  EXPECT_EQ(doubtful_from(waiting(0ms, -50ms, 100ms)), at(150ms));
  EXPECT_EQ(doubtful_from(waiting(0ms, 0ms, 0ms)), at(kUnknownRtt + 50ms));
  EXPECT_EQ(doubtful_from(waiting(0ms, 0ms, 600ms)), at(650ms));  // by satellite
  EXPECT_EQ(doubtful_from(waiting(0ms, 0ms, 60s)), at(1s)) << "when it ends";
  auto varied = waiting(0ms, 0ms, 100ms);
  varied.rtt_variation = 30ms;
  EXPECT_EQ(doubtful_from(varied), at(245ms));
  auto idle = waiting(0ms, 40ms, 30ms);
  idle.waiting_since = kNever;
  EXPECT_EQ(doubtful_from(idle), kNever);
}

TEST(PathDoubtTest, OnceForASilenceAndNotTooOften) {
  PathDoubt doubt;
  auto sample = waiting(0ms, 0ms, 30ms);
  EXPECT_FALSE(doubt.take(sample, at(79ms)));
  EXPECT_EQ(doubt.deadline(sample), at(80ms));
  EXPECT_TRUE(doubt.take(sample, at(80ms)));
  EXPECT_EQ(doubt.deadline(sample), kNever) << "the same silence";
  EXPECT_FALSE(doubt.take(sample, at(10s)));
  sample.heard = at(200ms);  // heard again, silent again
  EXPECT_FALSE(doubt.take(sample, at(300ms)));
  EXPECT_EQ(doubt.deadline(sample), at(80ms + PathDoubt::kAgain));
  EXPECT_TRUE(doubt.take(sample, at(80ms + PathDoubt::kAgain)));
  sample.heard = at(5s);
  EXPECT_TRUE(doubt.take(sample, at(5s + 80ms)));
  sample.waiting_since = kNever;
  EXPECT_EQ(doubt.deadline(sample), kNever);
  EXPECT_FALSE(doubt.take(sample, at(24h)));
}

TEST(PathHealthTest, UnacknowledgedWhenOnlyTheOtherWayIsAlive) {
  const auto s = waiting(0ms, 249ms, 30ms);
  EXPECT_EQ(judge(s, at(249ms)), PathHealth::alive);
  EXPECT_EQ(judge(s, at(250ms)), PathHealth::unacknowledged);
  EXPECT_EQ(next_judgement(s), at(250ms));
}

TEST(PathHealthTest, LargeLostOnlyWhileSmallOnesPass) {
  PathSample s;
  s.since = at(-10s);
  s.large_since = at(0ms);
  s.heard = at(-1ms);
  s.rtt = 30ms;
  EXPECT_EQ(judge(s, at(10s)), PathHealth::alive);  // nothing heard since: nobody knows
  EXPECT_EQ(next_judgement(s), kNever);
  s.heard = at(290ms);
  EXPECT_EQ(judge(s, at(299ms)), PathHealth::alive);
  EXPECT_EQ(judge(s, at(300ms)), PathHealth::large_lost);
  EXPECT_EQ(next_judgement(s), at(300ms));
  s.rtt = 100ms;
  EXPECT_EQ(judge(s, at(599ms)), PathHealth::alive);
  EXPECT_EQ(judge(s, at(600ms)), PathHealth::large_lost);
}

TEST(PathHealthTest, NamesAreDistinct) {
  EXPECT_EQ(to_string(PathHealth::large_lost), "large_lost");
  EXPECT_NE(to_string(PathHealth::silent), to_string(PathHealth::unacknowledged));
}

}  // namespace
}  // namespace ztna::path
