#include "agent/service_table.h"

#include <gtest/gtest.h>

#include "packets.h"

namespace ztna::agent {
namespace {

using testing::id;
using testing::ip;

struct ServiceTableTest : ::testing::Test {
  ServiceTable table{testing::own_addresses()};
};

TEST_F(ServiceTableTest, RefusesAnAddressThatAnotherServiceHas) {
  ASSERT_TRUE(table.configure(id("web"), {ip("10.100.0.5")}));
  const auto again = table.configure(id("db"), {ip("10.100.0.5")});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::conflict);
  EXPECT_NE(again.error().text.find("web"), std::string::npos);
  EXPECT_NE(again.error().text.find("10.100.0.5"), std::string::npos);
  EXPECT_EQ(table.by_id(id("db")), nullptr);
  EXPECT_EQ(table.set(id("db"), {ip("10.100.0.5")}).error().code, Errc::conflict);
  EXPECT_EQ(table.by_address(ip("10.100.0.5"))->id, id("web"));
}

TEST_F(ServiceTableTest, RefusesTheAgentsOwnAddresses) {
  for (const auto* text : {"10.100.0.254", "10.100.0.253", "fd5a:7a74:6e61::fffe", "fd5a:7a74:6e61::fffd"}) {
    EXPECT_EQ(table.set(id("web"), {ip(text)}).error().code, Errc::conflict) << text;
  }
  EXPECT_EQ(table.size(), 0U);
}

TEST_F(ServiceTableTest, RefusesAddressesThatNoServiceCanHave) {
  for (const auto* text : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.0.1", "::", "::1", "ff02::1", "fe80::1"}) {
    EXPECT_EQ(table.set(id("web"), {ip(text)}).error().code, Errc::invalid_argument) << text;
  }
  EXPECT_EQ(table.set(id("web"), {ip("10.100.0.5"), ip("10.100.0.6")}).error().code, Errc::invalid_argument);
}

TEST_F(ServiceTableTest, PinnedAddressesStay) {
  ASSERT_TRUE(table.configure(id("web"), {ip("10.100.0.5")}));
  ASSERT_TRUE(table.set(id("web"), {ip("10.100.0.9")}));
  EXPECT_EQ(table.by_address(ip("10.100.0.9")), nullptr);
  ASSERT_NE(table.by_address(ip("10.100.0.5")), nullptr);
  EXPECT_EQ(table.by_address(ip("10.100.0.5"))->source, ServiceSource::config);
}

TEST_F(ServiceTableTest, TheIntermediateMovesWhatIsNotPinned) {
  ASSERT_TRUE(table.set(id("web"), {ip("10.100.0.5"), ip("fd5a:7a74:6e61::5")}));
  ASSERT_TRUE(table.set(id("web"), {ip("10.100.0.6")}));
  EXPECT_EQ(table.by_address(ip("10.100.0.5")), nullptr);
  EXPECT_EQ(table.by_address(ip("fd5a:7a74:6e61::5")), nullptr);
  EXPECT_EQ(table.by_address(ip("10.100.0.6"))->id, id("web"));
  table.remove(id("web"));
  EXPECT_EQ(table.by_address(ip("10.100.0.6")), nullptr);
  EXPECT_TRUE(table.set(id("db"), {ip("10.100.0.6")}));
}

TEST_F(ServiceTableTest, DownKeepsTheAddressAndSetBringsItUp) {
  ASSERT_TRUE(table.set(id("web"), {ip("10.100.0.5")}));
  EXPECT_FALSE(table.down(id("db"), wire::ServiceDownReason::unhealthy));
  EXPECT_TRUE(table.down(id("web"), wire::ServiceDownReason::unhealthy));
  EXPECT_FALSE(table.by_address(ip("10.100.0.5"))->up);
  ASSERT_TRUE(table.set(id("web"), {ip("10.100.0.5")}));
  EXPECT_TRUE(table.by_address(ip("10.100.0.5"))->up);
}

}  // namespace
}  // namespace ztna::agent
