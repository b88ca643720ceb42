#include "base/source_buckets.h"

#include <gtest/gtest.h>

namespace ztna {
namespace {

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

int taken(SourceBuckets& buckets, const IpAddress& source, TimePoint now, int tries = 1000) {
  int n = 0;
  for (int i = 0; i < tries; ++i) n += buckets.take(source, now);
  return n;
}

TEST(SourceBuckets, GivesABurstAndThenTheRate) {
  SourceBuckets buckets{{.per_second = 10, .burst = 40, .max_sources = 8}};
  TimePoint now{};
  EXPECT_EQ(taken(buckets, ip("192.0.2.1"), now), 40);
  EXPECT_EQ(taken(buckets, ip("192.0.2.2"), now), 40) << "another source is not concerned";
  now += 500ms;
  EXPECT_EQ(taken(buckets, ip("192.0.2.1"), now), 5);
  now += 1h;
  EXPECT_EQ(taken(buckets, ip("192.0.2.1"), now), 40);
}

TEST(SourceBuckets, RateZeroIsNoLimitAndRemembersNobody) {
  SourceBuckets buckets{{}};
  EXPECT_EQ(taken(buckets, ip("192.0.2.1"), TimePoint{}), 1000);
  EXPECT_EQ(buckets.size(), 0U);
}

TEST(SourceBuckets, ASourceThatIsRefusedTakesNoMemory) {
  SourceBuckets buckets{{.per_second = 10, .burst = 0, .max_sources = 8}};
  EXPECT_FALSE(buckets.take(ip("192.0.2.1"), TimePoint{}));
  EXPECT_EQ(buckets.size(), 0U);
}

TEST(SourceBuckets, TooManySourcesShareOneBucketUntilOthersAreForgotten) {
  SourceBuckets buckets{{.per_second = 10, .burst = 2, .max_sources = 100}};
  TimePoint now = TimePoint{} + 1h;
  int flood = 0;
  for (std::uint32_t i = 0; i < 100'000; ++i) flood += buckets.take(IpAddress::v4(0x0A000000 + i), now);
  EXPECT_EQ(flood, 102);
  EXPECT_LE(buckets.size(), 101U);
  EXPECT_TRUE(buckets.take(IpAddress::v4(0x0A000000), now)) << "who was there first keeps his own";
  now += 1s;
  EXPECT_EQ(taken(buckets, ip("192.0.2.1"), now), 2) << "quiet sources made room, nobody had to call forget()";
  EXPECT_EQ(buckets.size(), 1U);
}

TEST(SourceBuckets, ForgetsOnlyThoseThatAreFullAgain) {
  SourceBuckets buckets{{.per_second = 10, .burst = 10, .max_sources = 100}};
  const TimePoint now{};
  taken(buckets, ip("192.0.2.1"), now, 10);
  taken(buckets, ip("192.0.2.2"), now, 1);
  buckets.forget(now + 500ms);
  EXPECT_EQ(buckets.size(), 1U);
  EXPECT_EQ(taken(buckets, ip("192.0.2.1"), now + 500ms), 5);
}

TEST(SourceBuckets, AStrangersSourceIsAnAddressOrANetwork) {
  EXPECT_EQ(source_network(ip("192.0.2.1")), ip("192.0.2.1"));
  EXPECT_EQ(source_network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
  EXPECT_EQ(source_network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
}

}  // namespace
}  // namespace ztna
