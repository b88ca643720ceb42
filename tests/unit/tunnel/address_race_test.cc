#include "tunnel/address_race.h"

#include <gtest/gtest.h>

namespace ztna::tunnel {
namespace {

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

TEST(AddressRace, NothingToDial) { EXPECT_TRUE(plan_race({}, 0, std::nullopt).empty()); }

TEST(AddressRace, OneFamilyIsDialledAtOnceAndItsAddressesInTurn) {
  const std::vector<IpAddress> known{ip("192.0.2.1"), ip("192.0.2.2")};
  EXPECT_EQ(plan_race(known, 0, std::nullopt), (std::vector<Heat>{{known[0], 0s}}));
  EXPECT_EQ(plan_race(known, 1, std::nullopt), (std::vector<Heat>{{known[1], 0s}}));
  EXPECT_EQ(plan_race(known, 2, std::nullopt), (std::vector<Heat>{{known[0], 0s}}));
}

TEST(AddressRace, BothFamiliesAlmostAtOnceWhateverTheResolverPrefers) {
  const std::vector<IpAddress> known{ip("192.0.2.1"), ip("2001:db8::1"), ip("2001:db8::2")};
  EXPECT_EQ(plan_race(known, 0, std::nullopt), (std::vector<Heat>{{known[1], 0s}, {known[0], kRaceHeadStart}}));
  EXPECT_EQ(plan_race(known, 1, std::nullopt), (std::vector<Heat>{{known[2], 0s}, {known[0], kRaceHeadStart}}));
}

TEST(AddressRace, TheLastWinnerIsAheadByTheAttemptDelay) {
  const std::vector<IpAddress> known{ip("2001:db8::1"), ip("192.0.2.1")};
  EXPECT_EQ(plan_race(known, 0, Family::v4), (std::vector<Heat>{{known[1], 0s}, {known[0], kRaceAttemptDelay}}));
  EXPECT_EQ(plan_race(known, 0, Family::v6), (std::vector<Heat>{{known[0], 0s}, {known[1], kRaceAttemptDelay}}));
}

TEST(AddressRace, AFavouriteWithoutAnAddressHoldsNothingUp) {
  const std::vector<IpAddress> known{ip("192.0.2.1")};
  EXPECT_EQ(plan_race(known, 0, Family::v6), (std::vector<Heat>{{known[0], 0s}}));
}

}  // namespace
}  // namespace ztna::tunnel
