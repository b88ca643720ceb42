#include "connector/routes.h"

#include <gtest/gtest.h>

namespace ztna::connector {
namespace {

struct RoutesOfAnIntermediate : ::testing::Test {
  quic::Path open(std::uint64_t id, std::size_t upstream) {
    routes.open({wire::TunnelId{{1}}, wire::RouteId{id}, upstream, "laptop", {}, now}, intermediate);
    return *relay.path(wire::RouteId{id});
  }
  const SocketAddress intermediate = *SocketAddress::parse("192.0.2.1:4433");
  const SocketAddress elsewhere = *SocketAddress::parse("[2001:db8::1]:4433");
  TimePoint now{10s};
  tunnel::RelayPaths relay;
  Routes routes{relay};
};

TEST_F(RoutesOfAnIntermediate, HandshakesOfARouteHaveARate) {
  const auto path = open(1, 0), other = open(2, 0);
  for (std::uint32_t i = 0; i < Route::kHandshakeBurst; ++i) EXPECT_TRUE(routes.take_handshake(path, now));
  EXPECT_FALSE(routes.take_handshake(path, now));
  EXPECT_TRUE(routes.take_handshake(other, now)) << "each has its own";
  now += 1s;
  for (std::uint32_t i = 0; i < Route::kHandshakesPerSecond; ++i) EXPECT_TRUE(routes.take_handshake(path, now));
  EXPECT_FALSE(routes.take_handshake(path, now));
  routes.close(wire::RouteId{1});
  EXPECT_FALSE(routes.take_handshake(path, now + 1h)) << "no route";
}

TEST_F(RoutesOfAnIntermediate, RoutesFollowTheirIntermediateToAnotherAddress) {
  const auto first = open(1, 0), second = open(2, 1);
  const auto renewed = relay.renew(wire::RouteId{1});
  ASSERT_TRUE(renewed);
  routes.readdress(0, elsewhere);
  EXPECT_EQ(relay.leg(first)->intermediate, elsewhere) << "also the path before";
  EXPECT_EQ(relay.leg(*renewed)->intermediate, elsewhere);
  EXPECT_EQ(relay.leg(second)->intermediate, intermediate) << "another Intermediate's";
}

}  // namespace
}  // namespace ztna::connector
