#include "tunnel/backoff.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace ztna::tunnel {
namespace {

struct Fixed final : Random {
  std::uint8_t octet = 0;
  void fill(MutableBytes out) override { std::ranges::fill(out, octet); }
};

TEST(Backoff, StaysUnderTwoSecondsInTheFirstMinuteAndThenGrowsToThirty) {
  Fixed random;
  Backoff backoff{random};
  TimePoint now{};
  Duration longest{};
  while (now < TimePoint{} + 60s) {
    const auto pause = backoff.next(now);
    EXPECT_LE(pause, 2s);
    EXPECT_GE(pause, 500ms);
    now += pause;
  }
  for (int i = 0; i < 10; ++i) {
    const auto pause = backoff.next(now);
    EXPECT_LE(pause, 30s);
    longest = std::max(longest, pause);
    now += pause;
  }
  EXPECT_GE(longest, 15s);
}

TEST(Backoff, BeginsAnewAfterASuccess) {
  Fixed random;
  Backoff backoff{random};
  for (int i = 0; i < 10; ++i) (void)backoff.next(TimePoint{} + 1h * i);
  backoff.reset();
  EXPECT_LE(backoff.next(TimePoint{} + 100h), 1s);
}

}  // namespace
}  // namespace ztna::tunnel
