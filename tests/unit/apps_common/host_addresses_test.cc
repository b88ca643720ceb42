#include "apps/common/host_addresses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/clock.h"
#include "os/tun.h"
#include "unit/os/loop_util.h"
#include "unit/os/network_namespace.h"

namespace ztna::apps {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

os::Link link(unsigned index, const char* name, const char* kind = "") {
  os::Link l;
  l.index = index;
  l.name = name;
  l.up = l.running = true;
  l.kind = kind;
  return l;
}

os::InterfaceAddress at(unsigned index, const char* address, unsigned length = 24) {
  os::InterfaceAddress a;
  a.index = index;
  a.address = ip(address);
  a.prefix_length = length;
  return a;
}

os::Route default_route(unsigned interface, Family family) {
  os::Route route;
  route.destination = *Prefix::parse(family == Family::v4 ? "0.0.0.0/0" : "::/0");
  route.interface = interface;
  return route;
}

std::vector<IpAddress> ips(const std::vector<path::HostAddress>& hosts) {
  std::vector<IpAddress> out;
  for (const auto& host : hosts) out.push_back(host.address);
  return out;
}

TEST(UsableAddresses, LeavesOutWhatNobodyElseCanReach) {
  auto down = link(2, "down0");
  down.up = false;
  auto unplugged = link(3, "cable0");
  unplugged.running = false;
  auto loopback = link(1, "lo");
  loopback.loopback = true;
  const std::vector<os::Link> links{loopback, down, unplugged, link(4, "ztna0", "tun"), link(5, "eth0")};
  EXPECT_THAT(ips(usable_addresses(links,
                                   {at(1, "192.0.2.1"), at(2, "192.0.2.2"), at(3, "192.0.2.3"), at(4, "10.100.0.254"),
                                    at(5, "fe80::1"), at(5, "169.254.1.1"), at(5, "127.0.0.1"), at(9, "192.0.2.9"),
                                    at(5, "192.0.2.5"), at(5, "2001:db8::5", 64)},
                                   {}, "ztna0")),
              ElementsAre(ip("192.0.2.5"), ip("2001:db8::5")));
  EXPECT_THAT(usable_addresses({}, {at(5, "192.0.2.5")}, {}, ""), IsEmpty());
}

TEST(UsableAddresses, SaysWhichInterfaceHasTheDefaultRouteOfTheFamily) {
  const auto hosts = usable_addresses({link(5, "eth0"), link(6, "wlan0")},
                                      {at(5, "192.0.2.5"), at(5, "2001:db8::5", 64), at(6, "198.51.100.6")},
                                      {default_route(5, Family::v4), default_route(6, Family::v6)}, "");
  ASSERT_EQ(hosts.size(), 3U);
  EXPECT_TRUE(hosts[0].default_route);
  EXPECT_EQ(hosts[0].interface, "eth0");
  EXPECT_EQ(hosts[0].prefix_length, 24U);
  EXPECT_FALSE(hosts[1].default_route) << "of the other family";
  EXPECT_FALSE(hosts[2].default_route);
}

TEST(UsableAddresses, FiftyBridgesDoNotCrowdOutWhatMatters) {
  std::vector<os::Link> links;
  std::vector<os::InterfaceAddress> addresses;
  for (unsigned i = 0; i < 50; ++i) {
    links.push_back(link(i + 2, "br", "bridge"));
    addresses.push_back(at(i + 2, ("172.18." + std::to_string(i) + ".1").c_str()));
  }
  links.push_back(link(100, "eth0"));
  addresses.push_back(at(100, "192.0.2.5"));
  links.push_back(link(101, "br-lan", "bridge"));  // a bridge that the machine itself uses is as good as a card
  addresses.push_back(at(101, "198.51.100.1"));
  path::GatherInput in;
  in.hosts = usable_addresses(links, addresses, {default_route(101, Family::v4)}, "");
  in.port_v4 = 4434;
  const auto gathered = path::gather(in);
  ASSERT_EQ(gathered.candidates.size(), 2 + path::kMaxBridges);
  EXPECT_EQ(gathered.candidates[0].address.ip, ip("198.51.100.1"));
  EXPECT_EQ(gathered.candidates[1].address.ip, ip("192.0.2.5"));
  EXPECT_EQ(gathered.refused.size(), 50 - path::kMaxBridges);
}

TEST(UsableAddresses, HandsFlagsOn) {
  auto temporary = at(5, "2001:db8::1", 64);
  temporary.temporary = true;
  auto deprecated = at(5, "2001:db8::2", 64);
  deprecated.deprecated = true;
  auto tentative = at(5, "2001:db8::3", 64);
  tentative.tentative = true;
  const auto hosts = usable_addresses({link(5, "eth0")}, {temporary, deprecated, tentative}, {}, "");
  ASSERT_EQ(hosts.size(), 3U);
  EXPECT_TRUE(hosts[0].temporary && !hosts[0].deprecated && !hosts[0].tentative);
  EXPECT_TRUE(hosts[1].deprecated);
  EXPECT_TRUE(hosts[2].tentative);
}

TEST(HostWatch, TellsWhatIsThereAndWhatComesAndGoes) {
  IN_NEW_NAMESPACE({
    auto tun = os::Tun::open("ztest0");
    auto own = os::Tun::open("ztna0");
    auto netlink = os::Netlink::open();
    ASSERT_TRUE(tun && own && netlink);
    const auto index = *netlink->link_index("ztest0");
    ASSERT_TRUE(netlink->set_up(index, true));
    ASSERT_TRUE(netlink->add_address(index, ip("192.0.2.1"), 24));

    os::EventLoop loop;
    std::vector<std::vector<IpAddress>> told;
    HostWatch watch(loop, "ztna0", [&](const auto& hosts) { told.push_back(ips(hosts)); });
    ASSERT_TRUE(watch.start());
    ASSERT_EQ(told.size(), 1U);
    EXPECT_THAT(told[0], ElementsAre(ip("192.0.2.1")));

    ASSERT_TRUE(netlink->add_address(index, ip("198.51.100.1"), 24));
    os::run_until(loop, [&] { return told.back().size() == 2; });
    EXPECT_THAT(told.back(), ElementsAre(ip("192.0.2.1"), ip("198.51.100.1")));
    ASSERT_TRUE(netlink->remove_address(index, ip("192.0.2.1"), 24));
    os::run_until(loop, [&] { return told.back().size() == 1; });
    EXPECT_THAT(told.back(), ElementsAre(ip("198.51.100.1")));

    // Our own TUN is nobody's business.
    const auto before = told.size();
    const auto own_index = *netlink->link_index("ztna0");
    ASSERT_TRUE(netlink->set_up(own_index, true));
    ASSERT_TRUE(netlink->add_address(own_index, ip("10.100.0.254"), 24));
    bool later = false;
    os::Timer timer(loop, [&] { later = true; });
    timer.set(os::now() + 3 * HostWatch::kPause);
    os::run_until(loop, [&] { return later; });
    EXPECT_EQ(told.size(), before);
  });
}

}  // namespace
}  // namespace ztna::apps
