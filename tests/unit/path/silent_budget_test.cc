#include "path/silent_budget.h"

#include <gtest/gtest.h>

namespace ztna::path {
namespace {

IpAddress numbered(std::uint32_t n) { return IpAddress::v4(0xC600'0000U + n); }

struct SilentBudgetTest : ::testing::Test {
  unsigned take(const IpAddress& ip, unsigned tries) {
    unsigned out = 0;
    for (unsigned i = 0; i < tries; ++i) out += budget.take(ip, now) ? 1U : 0U;
    return out;
  }
  SilentBudget budget;
  TimePoint now{100s};
};

TEST_F(SilentBudgetTest, SilentAddressGetsABurstAndThenATrickle) {
  EXPECT_EQ(take(numbered(1), 1000), SilentBudget::kBurst);
  EXPECT_EQ(take(numbered(2), 1), 1U) << "each has its own";
  now += 10s;
  EXPECT_EQ(take(numbered(1), 1000), 10 * SilentBudget::kPerSecond);
}

TEST_F(SilentBudgetTest, AddressThatAnsweredIsFreeForAWhile) {
  take(numbered(1), 1000);
  budget.proved(numbered(1), now);
  EXPECT_EQ(take(numbered(1), 1000), 1000U);
  now += SilentBudget::kProved;
  EXPECT_EQ(take(numbered(1), 1000), SilentBudget::kBurst);
}

TEST_F(SilentBudgetTest, ManyAddressesShareWhatIsLeftAndAreForgotten) {
  for (std::uint32_t i = 0; i < SilentBudget::kMaxAddresses; ++i) take(numbered(i), 1);
  EXPECT_EQ(take(numbered(1'000'000), 10'000), SilentBudget::kOthersBurst);
  EXPECT_EQ(take(numbered(1'000'001), 10'000), 0U);
  EXPECT_EQ(take(numbered(1), 10), 10U) << "what is known keeps its own";
  now += 10min;
  EXPECT_EQ(take(numbered(1'000'000), 10'000), SilentBudget::kBurst);
}

}  // namespace
}  // namespace ztna::path
