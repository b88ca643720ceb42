#include "intermediate/address_pool.h"

#include <gtest/gtest.h>

#include <set>

#include "unit/intermediate/addresses.h"

namespace ztna::intermediate {
namespace {

using testing::ip;

wire::ServiceId id(const std::string& text) { return *wire::ServiceId::parse(text); }

std::vector<Pool> pools() {
  return {{*Prefix::parse("10.100.0.0/24"), {ip("10.100.0.254"), ip("10.100.0.253")}},
          {*Prefix::parse("fd5a:7a74:6e61::/64"), {ip("fd5a:7a74:6e61::fffe"), ip("fd5a:7a74:6e61::fffd")}}};
}

TEST(AddressPool, RefusesPinnedAddressesThatAreTakenOrReserved) {
  AddressPool pool{pools()};
  ASSERT_TRUE(pool.assign(id("web"), {ip("10.100.0.7")}));
  for (const auto* bad : {"10.100.0.7", "10.100.0.254", "10.100.0.253", "fd5a:7a74:6e61::fffe"}) {
    const auto result = pool.assign(id("db"), {ip(bad)});
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().code, Errc::conflict);
  }
  const auto changed = pool.assign(id("web"), {ip("10.100.0.8")});
  ASSERT_FALSE(changed);
  EXPECT_NE(changed.error().text.find("10.100.0.7"), std::string::npos);
}

TEST(AddressPool, GivesOneOfEachFamilyAndTheSameAgain) {
  AddressPool pool{pools()};
  const auto first = pool.assign(id("web"), {});
  ASSERT_TRUE(first);
  ASSERT_EQ(first->size(), 2U);
  EXPECT_TRUE(pools()[0].prefix.contains((*first)[0]));
  EXPECT_TRUE(pools()[1].prefix.contains((*first)[1]));
  EXPECT_EQ(*pool.assign(id("web"), {}), *first);
  AddressPool restarted{pools()};
  EXPECT_EQ(*restarted.assign(id("web"), {}), *first);
}

TEST(AddressPool, GivesEveryAddressOnceAndThenSaysSo) {
  AddressPool pool{pools()};
  std::set<IpAddress> seen;
  for (int i = 0; i < 252; ++i) {
    const auto got = pool.assign(id("s" + std::to_string(i)), {});
    ASSERT_TRUE(got) << i;
    EXPECT_TRUE(seen.insert((*got)[0]).second);
    EXPECT_NE((*got)[0], ip("10.100.0.0"));
    EXPECT_NE((*got)[0], ip("10.100.0.255"));
    EXPECT_NE((*got)[0], ip("10.100.0.254"));
  }
  const auto full = pool.assign(id("one-more"), {});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Errc::exhausted);
}

TEST(AddressPool, TakesAnIdleServicesAddressOnlyWhenNothingElseIsLeft) {
  AddressPool pool{pools()};
  for (int i = 0; i < 251; ++i) ASSERT_TRUE(pool.assign(id("s" + std::to_string(i)), {}));
  pool.idle(id("s5"), true);
  ASSERT_TRUE(pool.assign(id("new"), {}));
  EXPECT_NE(pool.find(id("s5")), nullptr);
  ASSERT_TRUE(pool.assign(id("newer"), {}));
  EXPECT_EQ(pool.find(id("s5")), nullptr);
}

TEST(AddressPool, RestoresWhatStillFits) {
  AddressPool pool{pools()};
  pool.restore(id("web"), {ip("10.100.0.9"), ip("192.0.2.1")});
  pool.restore(id("evil"), {ip("10.100.0.9"), ip("10.100.0.254")});
  EXPECT_EQ(pool.find(id("evil")), nullptr);
  const auto web = pool.assign(id("web"), {});
  ASSERT_TRUE(web);
  EXPECT_EQ((*web)[0], ip("10.100.0.9"));
  EXPECT_EQ(web->size(), 2U);
}

TEST(AddressPool, ARefusedRequestChangesNothing) {
  AddressPool pool{pools()};
  const auto db = pool.assign(id("db"), {ip("10.100.0.7")});
  ASSERT_TRUE(db);
  const auto before = pool.assign(id("web"), {ip("10.100.0.8")});
  ASSERT_TRUE(before);
  pool.idle(id("web"), true);
  // The first address would do, the second does not.
  ASSERT_FALSE(pool.assign(id("web"), {ip("10.100.0.9"), (*db)[1]}));
  EXPECT_EQ(*pool.find(id("web")), *before);
  const auto thief = pool.assign(id("thief"), {ip("10.100.0.8")});
  ASSERT_FALSE(thief) << "the address is still web's";
  EXPECT_EQ(thief.error().code, Errc::conflict);
}

TEST(AddressPool, TakesNoAddressFromAnIdleServiceInVain) {
  auto small = pools();
  small[1] = {*Prefix::parse("fd5a:7a74:6e61::/126"),
              {ip("fd5a:7a74:6e61::1"), ip("fd5a:7a74:6e61::2")}};  // nothing left
  AddressPool pool{small};
  for (int i = 0; i < 251; ++i) {
    ASSERT_TRUE(pool.assign(id("s" + std::to_string(i)), {ip("fd00::" + std::to_string(i + 1))})) << i;
  }
  ASSERT_TRUE(pool.assign(id("last"), {ip("fd00::ffff")}));
  pool.idle(id("s5"), true);
  const auto refused = pool.assign(id("new"), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::exhausted);
  EXPECT_NE(pool.find(id("s5")), nullptr);
}

}  // namespace
}  // namespace ztna::intermediate
