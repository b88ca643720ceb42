#include "intermediate/source_limiter.h"

#include <gtest/gtest.h>

#include "unit/intermediate/addresses.h"

namespace ztna::intermediate {
namespace {

using testing::ip;

TEST(SourceLimiter, LetsASecondsWorthThroughAndThenTheRate) {
  SourceLimiter limiter{10};
  TimePoint now{};
  int allowed = 0;
  for (int i = 0; i < 100; ++i) allowed += limiter.allow(ip("192.0.2.1"), now);
  EXPECT_EQ(allowed, 10);
  EXPECT_TRUE(limiter.allow(ip("192.0.2.2"), now));
  EXPECT_FALSE(limiter.allow(ip("::ffff:192.0.2.1"), now));
  now += 100ms;
  EXPECT_TRUE(limiter.allow(ip("192.0.2.1"), now));
  EXPECT_FALSE(limiter.allow(ip("192.0.2.1"), now));
}

TEST(SourceLimiter, TakesAnIpv6NetworkForOneSource) {
  SourceLimiter limiter{2};
  const TimePoint now{};
  EXPECT_TRUE(limiter.allow(ip("2001:db8::1"), now));
  EXPECT_TRUE(limiter.allow(ip("2001:db8::2"), now));
  EXPECT_FALSE(limiter.allow(ip("2001:db8::3"), now));
  EXPECT_TRUE(limiter.allow(ip("2001:db8:0:1::1"), now));
}

TEST(SourceLimiter, ForgetsQuietSourcesAndStaysBounded) {
  SourceLimiter limiter{100};
  TimePoint now{};
  for (std::uint32_t i = 0; i < 200'000; ++i) (void)limiter.allow(IpAddress::v4(0x0A000000 + i), now);
  EXPECT_LE(limiter.size(), SourceLimiter::kMaxSources + 1);
  limiter.tick(now + 2s);
  EXPECT_EQ(limiter.size(), 0U);
}

TEST(SourceLimiter, CountsUnfinishedHandshakes) {
  SourceLimiter limiter{0};
  limiter.end(ip("192.0.2.1"));  // never begun: no effect
  limiter.begin(ip("2001:db8::1"));
  limiter.begin(ip("2001:db8::2"));
  EXPECT_EQ(limiter.unfinished(ip("2001:db8::3")), 2U);
  EXPECT_EQ(limiter.unfinished(ip("2001:db8:0:1::1")), 0U);
  limiter.end(ip("2001:db8::1"));
  limiter.end(ip("2001:db8::1"));
  EXPECT_EQ(limiter.unfinished(ip("2001:db8::1")), 0U);
}

}  // namespace
}  // namespace ztna::intermediate
