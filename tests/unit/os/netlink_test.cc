#include "os/netlink.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "loop_util.h"
#include "network_namespace.h"
#include "os/tun.h"
#include "os/udp_socket.h"

namespace ztna::os {
namespace {

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
Prefix prefix(const char* text) { return Prefix::parse(text).value(); }

TEST(NetlinkTest, UnknownThingsAreErrorsWithNames) {
  IN_NEW_NAMESPACE({
    auto netlink = Netlink::open();
    ASSERT_TRUE(netlink);
    const auto none = netlink->link_index("nosuch0");
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, Errc::not_found);
    EXPECT_NE(none.error().text.find("interface nosuch0"), std::string::npos);
    EXPECT_EQ(netlink->set_mtu(4711, 1280).error().code, Errc::not_found);
    EXPECT_EQ(netlink->set_up(4711, true).error().code, Errc::not_found);
    EXPECT_EQ(netlink->add_address(4711, ip("10.1.1.1"), 24).error().code, Errc::not_found);
    EXPECT_FALSE(netlink->remove_address(1, ip("10.1.1.1"), 24));
    const Route route{.destination = prefix("10.100.0.0/24"), .kind = Route::Kind::unreachable};
    const auto gone = netlink->delete_route(route);
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().code, Errc::not_found);
    EXPECT_NE(gone.error().text.find("10.100.0.0/24"), std::string::npos) << gone.error().text;
  });
}

TEST(NetlinkTest, WithoutPrivilegeChangesAreDenied) {
  IN_NEW_NAMESPACE({
    ASSERT_EQ(setresuid(65534, 65534, 65534), 0);
    auto netlink = Netlink::open();
    const auto r = netlink->add_address(1, ip("10.1.1.1"), 24);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, Errc::denied);
    EXPECT_NE(r.error().text.find("CAP_NET_ADMIN"), std::string::npos);
    EXPECT_TRUE(netlink->addresses()) << "looking is allowed";
  });
}

TEST(NetlinkTest, InterfaceIsSetUpAndItsAddressesAreUsableAtOnce) {
  IN_NEW_NAMESPACE({
    auto tun = Tun::open("ztest0");
    auto netlink = Netlink::open();
    ASSERT_TRUE(tun && netlink);
    const unsigned index = netlink->link_index("ztest0").value();
    ASSERT_TRUE(netlink->set_mtu(index, 1280));
    ASSERT_TRUE(netlink->set_up(index, true));
    const Link link = netlink->link("ztest0").value();
    EXPECT_EQ(link.mtu, 1280U);
    EXPECT_TRUE(link.up);
    EXPECT_FALSE(link.loopback);
    for (int i = 0; i < 2; ++i) {  // the second time it is there already
      EXPECT_TRUE(netlink->add_address(index, ip("10.100.0.254"), 24));
      EXPECT_TRUE(netlink->add_address(index, ip("fd5a:7a74:6e61::fffe"), 64));
    }
    EXPECT_TRUE(UdpSocket::bind(SocketAddress::parse("10.100.0.254:0").value()));
    EXPECT_TRUE(UdpSocket::bind(SocketAddress::parse("[fd5a:7a74:6e61::fffe]:0").value())) << "tentative?";
    const auto addresses = netlink->addresses().value();
    const auto six = std::find_if(addresses.begin(), addresses.end(),
                                  [](const auto& a) { return a.address == ip("fd5a:7a74:6e61::fffe"); });
    ASSERT_NE(six, addresses.end());
    EXPECT_EQ(six->interface, "ztest0");
    EXPECT_FALSE(six->tentative);
    EXPECT_EQ(six->network(), prefix("fd5a:7a74:6e61::/64"));
    const auto four =
        std::find_if(addresses.begin(), addresses.end(), [](const auto& a) { return a.address == ip("10.100.0.254"); });
    ASSERT_NE(four, addresses.end());
    EXPECT_EQ(four->network(), prefix("10.100.0.0/24"));
    EXPECT_TRUE(netlink->remove_address(index, ip("10.100.0.254"), 24));
    EXPECT_FALSE(UdpSocket::bind(SocketAddress::parse("10.100.0.254:0").value()));
    EXPECT_EQ(netlink->links().value().size(), 2U);
  });
}

TEST(NetlinkTest, UnreachableRouteHoldsTheAddressesWhenTheTunIsGone) {
  for (const char* const text : {"10.100.0.0/24", "fd5a:7a74:6e61::/64"}) {
    IN_NEW_NAMESPACE({
      auto tun = Tun::open("ztest0");
      auto netlink = Netlink::open();
      ASSERT_TRUE(tun && netlink);
      const unsigned index = netlink->link_index("ztest0").value();
      ASSERT_TRUE(netlink->add_address(index, prefix(text).base.is_v4() ? ip("10.9.0.1") : ip("fd09::1"),
                                       prefix(text).base.is_v4() ? 32 : 128));
      ASSERT_TRUE(netlink->set_up(index, true));
      const Route by_tun{.destination = prefix(text), .kind = Route::Kind::device, .interface = index, .metric = 10};
      const Route held{.destination = prefix(text), .kind = Route::Kind::unreachable, .metric = 5000};
      ASSERT_TRUE(netlink->add_route(by_tun)) << netlink->add_route(by_tun).error().text;
      EXPECT_EQ(netlink->add_route(by_tun).error().code, Errc::conflict);
      ASSERT_TRUE(netlink->replace_route(held));
      ASSERT_TRUE(netlink->replace_route(held)) << "twice is fine";
      const auto routes = netlink->routes().value();
      EXPECT_EQ(std::count(routes.begin(), routes.end(), by_tun), 1);
      EXPECT_EQ(std::count_if(routes.begin(), routes.end(),
                              [&](const Route& r) {
                                return r.destination == held.destination && r.kind == held.kind &&
                                       r.metric == held.metric;
                              }),
                1);

      SocketAddress service{prefix(text).base, 9};
      auto octets = ByteVector(service.ip.octets().begin(), service.ip.octets().end());
      octets.back() = 7;
      service.ip = octets.size() == 4 ? IpAddress::v4(std::span<const std::uint8_t, 4>{octets.data(), 4})
                                      : IpAddress::v6(std::span<const std::uint8_t, 16>{octets.data(), 16});
      EXPECT_TRUE(UdpSocket::connect(service));
      tun = fail(Errc::closed, "closed");
      const auto refused = UdpSocket::connect(service);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, Errc::unreachable);
      EXPECT_TRUE(netlink->delete_route(held));
      EXPECT_EQ(netlink->delete_route(held).error().code, Errc::not_found);
    });
  }
}

TEST(NetlinkTest, BlackholeAndGatewayRoutesAreListed) {
  IN_NEW_NAMESPACE({
    auto netlink = Netlink::open();
    auto tun = Tun::open("ztest0");
    const unsigned index = netlink->link_index("ztest0").value();
    ASSERT_TRUE(netlink->set_up(index, true));
    ASSERT_TRUE(netlink->add_address(index, ip("10.9.0.1"), 24));
    const Route by_gateway{
        .destination = prefix("0.0.0.0/0"), .interface = index, .gateway = ip("10.9.0.2"), .source = ip("10.9.0.1")};
    ASSERT_TRUE(netlink->add_route(by_gateway));
    ASSERT_TRUE(netlink->add_route({.destination = prefix("10.50.0.0/16"), .kind = Route::Kind::blackhole}));
    const auto routes = netlink->routes().value();
    EXPECT_EQ(std::count(routes.begin(), routes.end(), by_gateway), 1);
    EXPECT_EQ(std::count_if(routes.begin(), routes.end(),
                            [](const Route& r) {
                              return r.destination == prefix("10.50.0.0/16") && r.kind == Route::Kind::blackhole;
                            }),
              1);
  });
}

TEST(NetlinkMonitorTest, ChangesComeAsEventsOnTheLoop) {
  IN_NEW_NAMESPACE({
    EventLoop loop;
    NetlinkMonitor::Change seen;
    int calls = 0;
    auto monitor = NetlinkMonitor::start(loop, [&](NetlinkMonitor::Change c) {
      ++calls;
      seen.links |= c.links;
      seen.addresses |= c.addresses;
      seen.routes |= c.routes;
    });
    ASSERT_TRUE(monitor);
    auto netlink = Netlink::open();
    ASSERT_TRUE(netlink->add_address(1, ip("10.77.0.1"), 24));
    run_until(loop, [&] { return seen.addresses && seen.routes; });
    EXPECT_FALSE(seen.links);
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(netlink->set_up(1, i % 2 == 1));
    calls = 0;
    run_until(loop, [&] { return seen.links; });
    EXPECT_LE(calls, 4) << "a burst is few calls";
    ASSERT_TRUE(netlink->remove_address(1, ip("10.77.0.1"), 24));
    monitor->reset();
    loop.post([&] { loop.stop(); });
    loop.run();
  });
}

}  // namespace
}  // namespace ztna::os
