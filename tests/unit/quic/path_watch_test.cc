// What PathWatch makes of packets sent, heard and acknowledged.
#include "quic/path_watch.h"

#include <gtest/gtest.h>

namespace ztna::quic {
namespace {

TimePoint at(Duration t) { return TimePoint{1h} + t; }

struct Watched : PathWatch {
  Watched() { begin(at(0s)); }
  std::uint64_t datagram(std::size_t octets, TimePoint now) {
    const auto id = packet_id();
    carries_datagram();
    sent(octets, now);
    return id;
  }
  TimePoint large_since() const { return seen().large_since; }
};

TEST(PathWatchTest, WaitsFromTheFirstPacketAndAnewFromEachAcknowledgement) {
  Watched w;
  EXPECT_EQ(w.seen().waiting_since, kNever);
  w.in_flight(1000, true, at(1s));
  w.in_flight(2000, true, at(2s));
  EXPECT_EQ(w.seen().waiting_since, at(1s));
  w.heard(at(3s), false, 2000);
  EXPECT_EQ(w.seen().waiting_since, at(1s));
  EXPECT_EQ(w.seen().heard, at(3s));
  w.heard(at(4s), true, 1000);
  EXPECT_EQ(w.seen().waiting_since, at(4s));
  w.heard(at(5s), true, 0);
  EXPECT_EQ(w.seen().waiting_since, kNever);
  EXPECT_EQ(w.seen().packets_heard, 3U);
}

TEST(PathWatchTest, AProbeOfTheMtuAloneIsNoWaiting) {
  Watched w;
  w.in_flight(1452, false, at(1s));
  EXPECT_EQ(w.seen().waiting_since, kNever);
  w.heard(at(2s), false, 1452);
  EXPECT_EQ(w.seen().waiting_since, kNever);
  w.in_flight(1600, true, at(3s));
  EXPECT_EQ(w.seen().waiting_since, at(3s));
  w.in_flight(0, false, at(4s));
  EXPECT_EQ(w.seen().waiting_since, kNever);
}

TEST(PathWatchTest, LargeWaitsUntilOneOfThemIsAcknowledged) {
  Watched w;
  const auto small = w.datagram(1200, at(1s));
  EXPECT_EQ(w.large_since(), kNever);
  const auto large = w.datagram(1201, at(2s));
  const auto later = w.datagram(1400, at(3s));
  EXPECT_EQ(w.large_since(), at(2s));
  w.datagram_acknowledged(small);
  EXPECT_EQ(w.large_since(), at(2s));
  w.datagram_acknowledged(later);  // the first may be lost: large ones do arrive
  EXPECT_EQ(w.large_since(), kNever);
  w.datagram(1400, at(4s));
  EXPECT_EQ(w.large_since(), at(4s));
  w.datagram_acknowledged(large);
  EXPECT_EQ(w.large_since(), kNever);
}

TEST(PathWatchTest, PacketsWithoutUserDataAreNotFollowed) {
  Watched w;
  EXPECT_FALSE(w.sent(1452, at(1s)));  // a probe of the MTU
  EXPECT_EQ(w.large_since(), kNever);
}

TEST(PathWatchTest, AStretchOfAStreamIsFollowed) {
  Watched w;
  w.carries_stream(4, 1000);
  w.carries_stream(8, 300);  // the first is enough
  EXPECT_FALSE(w.sent(1100, at(1s)));
  w.carries_stream(8, 2000);
  const auto stretch = w.sent(1300, at(2s));
  ASSERT_TRUE(stretch);
  EXPECT_EQ(stretch->stream, 8);
  EXPECT_EQ(stretch->end, 2000U);
  EXPECT_EQ(w.large_since(), at(2s));
  w.stretch_acknowledged();
  EXPECT_EQ(w.large_since(), kNever);
  EXPECT_FALSE(w.sent(1300, at(3s)));  // nothing is left over from the packet before
}

TEST(PathWatchTest, AnotherPathBeginsAnew) {
  Watched w;
  const auto before = w.datagram(1400, at(1s));
  w.in_flight(1400, true, at(1s));
  w.heard(at(2s), false, 1400);
  w.begin(at(3s));
  EXPECT_EQ(w.seen().since, at(3s));
  EXPECT_EQ(w.seen().waiting_since, kNever);
  EXPECT_EQ(w.seen().heard, TimePoint{});
  EXPECT_EQ(w.large_since(), kNever);
  const auto after = w.datagram(1400, at(4s));
  w.datagram_acknowledged(before);  // that one went the other way
  EXPECT_EQ(w.large_since(), at(4s));
  w.datagram_lost(before);
  EXPECT_EQ(w.datagram_packets_lost(), 0U);
  w.datagram_lost(after);
  w.datagram_lost(after);  // a second one of the same packet
  EXPECT_EQ(w.datagram_packets_lost(), 1U);
  EXPECT_EQ(w.data_packets_sent(), 2U);
}

TEST(PathWatchTest, AnIdThatWasForgottenIsNoEvidence) {
  Watched w;
  const auto first = w.datagram(1400, at(1s));
  for (int i = 0; i < 4096; ++i) w.datagram(1400, at(2s));
  w.datagram_acknowledged(first);
  EXPECT_EQ(w.large_since(), at(1s));
}

}  // namespace
}  // namespace ztna::quic
