// Addresses, prefixes and host:port as people write them.
#include "base/address.h"

#include <gtest/gtest.h>

#include <array>
#include <unordered_set>

namespace ztna {
namespace {

TEST(IpAddressRefusal, Texts) {
  for (const auto* bad :
       {"", " ", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", ":", ":::", "1::2::3", "::12345",
        "fe80::1%eth0", "[::1]", "1.2.3.4:5", "::ffff:1.2.3", "a", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9"}) {
    const auto ip = IpAddress::parse(bad);
    ASSERT_FALSE(ip.has_value()) << bad;
    EXPECT_EQ(ip.error().code, Errc::malformed);
  }
  EXPECT_FALSE(IpAddress::parse(std::string_view{"1.2.3.4\0", 8}).has_value());
  EXPECT_FALSE(IpAddress::parse(std::string(100, '1')).has_value());
}

TEST(IpAddress, TextsAndBack) {
  const std::pair<std::string_view, std::string_view> forms[] = {{"192.0.2.1", "192.0.2.1"},
                                                                 {"0.0.0.0", "0.0.0.0"},
                                                                 {"::", "::"},
                                                                 {"::1", "::1"},
                                                                 {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
                                                                 {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
                                                                 {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"}};
  for (const auto& [in, out] : forms) {
    const auto ip = IpAddress::parse(in);
    ASSERT_TRUE(ip.has_value()) << in;
    EXPECT_EQ(to_string(*ip), out);
  }
}

TEST(IpAddress, Octets) {
  const auto a = IpAddress::v4(0xC0000201);
  EXPECT_EQ(to_hex(a.octets()), "c0000201");
  EXPECT_EQ(a.v4_host_order(), 0xC0000201U);
  EXPECT_EQ(a, IpAddress::parse("192.0.2.1"));
  const auto b = IpAddress::parse("2001:db8::1").value();
  EXPECT_EQ(to_hex(b.octets()), "20010db8000000000000000000000001");
  EXPECT_EQ(b.v4_host_order(), 0U);
  EXPECT_NE(IpAddress::parse("0.0.0.0").value(), IpAddress::parse("::").value());
}

TEST(IpAddress, Kinds) {
  const auto ip = [](std::string_view t) { return IpAddress::parse(t).value(); };
  for (const auto* t : {"10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.1.1", "100.64.0.0",
                        "100.127.255.255", "fc00::1", "fdff::1"}) {
    EXPECT_TRUE(ip(t).is_private()) << t;
  }
  for (const auto* t : {"9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.169.0.0", "100.63.255.255",
                        "100.128.0.0", "fe00::1", "fbff::1", "::ffff:10.0.0.1"}) {
    EXPECT_FALSE(ip(t).is_private()) << t;
  }
  EXPECT_TRUE(ip("127.1.2.3").is_loopback());
  EXPECT_TRUE(ip("::1").is_loopback());
  EXPECT_FALSE(ip("::2").is_loopback());
  EXPECT_FALSE(ip("1::1").is_loopback());
  EXPECT_TRUE(ip("169.254.0.1").is_link_local());
  EXPECT_TRUE(ip("febf::1").is_link_local());
  EXPECT_FALSE(ip("fec0::1").is_link_local());
  EXPECT_TRUE(ip("239.1.1.1").is_multicast());
  EXPECT_FALSE(ip("240.1.1.1").is_multicast());
  EXPECT_TRUE(ip("ff02::1").is_multicast());
  EXPECT_TRUE(ip("0.0.0.0").is_unspecified());
  EXPECT_TRUE(ip("::").is_unspecified());
  EXPECT_FALSE(ip("::1").is_unspecified());
}

TEST(IpAddress, MappedBecomesV4AndNothingElse) {
  EXPECT_EQ(to_string(IpAddress::parse("::ffff:192.0.2.1")->unmapped()), "192.0.2.1");
  for (const auto* t : {"::fffe:192.0.2.1", "1::ffff:192.0.2.1", "::192.0.2.1", "192.0.2.1"}) {
    const auto a = IpAddress::parse(t).value();
    EXPECT_FALSE(a.is_v4_mapped()) << t;
    EXPECT_EQ(a.unmapped(), a);
  }
}

TEST(SocketAddressRefusal, Texts) {
  for (const auto* bad :
       {"", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:+1", "1.2.3.4: 1", "1.2.3.4:000001",
        "::1:80", "[::1]", "[::1]80", "[::1:80", "[1.2.3.4]:80", "host:80", ":80"}) {
    EXPECT_FALSE(SocketAddress::parse(bad).has_value()) << bad;
  }
}

TEST(SocketAddress, TextsAndBack) {
  for (const auto* text : {"192.0.2.1:4433", "[2001:db8::1]:1", "0.0.0.0:0", "[::]:65535"}) {
    const auto a = SocketAddress::parse(text);
    ASSERT_TRUE(a.has_value()) << text;
    EXPECT_EQ(to_string(*a), text);
  }
}

TEST(SocketAddress, HashTellsPortsAndFamiliesApart) {
  std::unordered_set<std::size_t> seen;
  for (std::uint16_t port = 0; port < 1000; ++port) {
    seen.insert(std::hash<SocketAddress>{}({IpAddress::v4(0x0A000001), port}));
  }
  EXPECT_EQ(seen.size(), 1000U);
  EXPECT_NE(std::hash<IpAddress>{}(IpAddress::v4(0U)), std::hash<IpAddress>{}(IpAddress::parse("::").value()));
}

TEST(PrefixRefusal, Texts) {
  for (const auto* bad : {"", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.1/24", "::/129",
                          "fd00::1/64", "/8", "10.0.0.0/8/8"}) {
    EXPECT_FALSE(Prefix::parse(bad).has_value()) << bad;
  }
}

TEST(Prefix, ContainsAndOverlaps) {
  const auto prefix = [](std::string_view t) { return Prefix::parse(t).value(); };
  const auto ip = [](std::string_view t) { return IpAddress::parse(t).value(); };
  EXPECT_TRUE(prefix("10.100.0.0/24").contains(ip("10.100.0.255")));
  EXPECT_FALSE(prefix("10.100.0.0/24").contains(ip("10.100.1.0")));
  EXPECT_TRUE(prefix("10.100.0.0/22").contains(ip("10.100.3.255")));
  EXPECT_FALSE(prefix("10.100.0.0/22").contains(ip("10.100.4.0")));
  EXPECT_FALSE(prefix("0.0.0.0/0").contains(ip("::")));
  EXPECT_TRUE(prefix("0.0.0.0/0").contains(ip("255.255.255.255")));
  EXPECT_TRUE(prefix("::1/128").contains(ip("::1")));
  EXPECT_FALSE(prefix("::1/128").contains(ip("::2")));
  EXPECT_TRUE(prefix("10.0.0.0/8").overlaps(prefix("10.100.0.0/24")));
  EXPECT_TRUE(prefix("10.100.0.0/24").overlaps(prefix("10.0.0.0/8")));
  EXPECT_FALSE(prefix("10.100.0.0/24").overlaps(prefix("10.100.1.0/24")));
  EXPECT_FALSE(prefix("0.0.0.0/0").overlaps(prefix("::/0")));
  EXPECT_EQ(to_string(prefix("fd5a:7a74:6e61::/64")), "fd5a:7a74:6e61::/64");
}

TEST(HostPortRefusal, Texts) {
  for (const auto* bad : {"", ":", ":80", "host:", "host:0", "host:65536", "host:x", "a:b:80", "::1", "[::1",
                          "[host]:80", "[]:80", "ho st:80", "a..b:80", ".a:80", "host:80 ", "h/t:1"}) {
    EXPECT_FALSE(HostPort::parse(bad, 4433).has_value()) << bad;
  }
  EXPECT_FALSE(HostPort::parse("host").has_value());  // no default
  EXPECT_FALSE(HostPort::parse("[::1]").has_value());
  EXPECT_FALSE(HostPort::parse(std::string(254, 'a'), 1).has_value());
}

TEST(HostPort, Texts) {
  const auto check = [](std::string_view text, std::uint16_t default_port, std::string_view host, std::uint16_t port) {
    const auto hp = HostPort::parse(text, default_port);
    ASSERT_TRUE(hp.has_value()) << text;
    EXPECT_EQ(hp->host, host);
    EXPECT_EQ(hp->port, port);
  };
  check("example.org:80", 0, "example.org", 80);
  check("example.org", 4433, "example.org", 4433);
  check("10.0.0.1:1", 0, "10.0.0.1", 1);
  check("[2001:db8::1]:65535", 0, "2001:db8::1", 65535);
  check("[2001:db8::1]", 4433, "2001:db8::1", 4433);
}

}  // namespace
}  // namespace ztna
