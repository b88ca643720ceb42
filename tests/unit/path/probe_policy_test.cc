#include "path/probe_policy.h"

#include <gtest/gtest.h>

#include <set>

#include "fixture.h"

namespace ztna::path {
namespace {

ProbeVerdict judge(std::string_view address, std::vector<IpAddress> peer_reflexive = {}) {
  return policy().judge(addr(address), peer_reflexive);
}

TEST(ProbePolicy, RefusesWhatIsNoPeer) {
  EXPECT_EQ(judge("203.0.113.5:0"), ProbeVerdict::port_zero);
  EXPECT_EQ(judge("0.0.0.0:53"), ProbeVerdict::unspecified);
  EXPECT_EQ(judge("[::]:53"), ProbeVerdict::unspecified);
  EXPECT_EQ(judge("127.0.0.1:53"), ProbeVerdict::loopback);
  EXPECT_EQ(judge("127.255.255.254:53"), ProbeVerdict::loopback);
  EXPECT_EQ(judge("[::1]:53"), ProbeVerdict::loopback);
  EXPECT_EQ(judge("224.0.0.251:5353"), ProbeVerdict::multicast);
  EXPECT_EQ(judge("239.255.255.255:1"), ProbeVerdict::multicast);
  EXPECT_EQ(judge("[ff02::fb]:5353"), ProbeVerdict::multicast);
  EXPECT_EQ(judge("255.255.255.255:67"), ProbeVerdict::broadcast);
  EXPECT_EQ(judge("192.168.7.255:67"), ProbeVerdict::broadcast);
  EXPECT_EQ(judge("192.168.7.0:67"), ProbeVerdict::broadcast);
  EXPECT_EQ(judge("198.51.100.255:67"), ProbeVerdict::broadcast);
  EXPECT_EQ(judge("169.254.169.254:80"), ProbeVerdict::link_local);
  EXPECT_EQ(judge("[fe80::1]:80"), ProbeVerdict::link_local);
}

TEST(ProbePolicy, RefusesBlocksThatNobodyHasOrThatHideAnIpv4Address) {
  for (const auto* a :
       {"0.1.2.3:53", "240.0.0.1:53", "[::ffff:127.0.0.1]:53", "[::127.0.0.1]:53", "[64:ff9b::7f00:1]:53",
        "[64:ff9b:1::7f00:1]:53", "[2002:7f00:1::1]:53", "[2001:0:1::1]:53", "[fec0::1]:53", "[100::1]:53"}) {
    EXPECT_EQ(judge(a), ProbeVerdict::reserved) << a;
  }
}

TEST(ProbePolicy, RefusesTheIntermediateTheTunnelAndItself) {
  EXPECT_EQ(judge("192.0.2.1:4433"), ProbeVerdict::intermediate);
  EXPECT_EQ(judge("192.0.2.1:22"), ProbeVerdict::intermediate);
  EXPECT_EQ(judge("[2001:db8:ffff::1]:22"), ProbeVerdict::intermediate);
  EXPECT_EQ(judge("10.100.0.7:80"), ProbeVerdict::own_tunnel);
  EXPECT_EQ(judge("[fd5a:7a74:6e61::7]:80"), ProbeVerdict::own_tunnel);
  EXPECT_EQ(judge("198.51.100.10:4434"), ProbeVerdict::own_address);
  EXPECT_EQ(judge("198.51.100.10:4435"), ProbeVerdict::allowed);  // another program on this host, or behind our NAT
}

TEST(ProbePolicy, AllowsPrivateAddressesOnlyNearby) {
  EXPECT_EQ(judge("192.168.99.1:53"), ProbeVerdict::allowed);  // we are in 192.168/16
  EXPECT_EQ(judge("172.16.0.1:53"), ProbeVerdict::private_of_neither);
  EXPECT_EQ(judge("100.64.0.1:53"), ProbeVerdict::private_of_neither);
  EXPECT_EQ(judge("[fd00::1]:53"), ProbeVerdict::private_of_neither);
  // Our own virtual address is in 10/8, which says nothing about where we are.
  EXPECT_EQ(judge("10.1.2.3:53"), ProbeVerdict::private_of_neither);
  // 172.32/12, 100.128/10 are public.
  EXPECT_EQ(judge("172.32.0.1:53"), ProbeVerdict::allowed);
  EXPECT_EQ(judge("100.128.0.1:53"), ProbeVerdict::allowed);
  // Behind the same NAT.
  EXPECT_EQ(judge("172.16.0.1:53", {ip("198.51.100.10")}), ProbeVerdict::allowed);
  EXPECT_EQ(judge("172.16.0.1:53", {ip("198.51.100.11")}), ProbeVerdict::private_of_neither);
  EXPECT_EQ(judge("10.100.0.7:53", {ip("198.51.100.10")}), ProbeVerdict::own_tunnel);
  auto p = policy();
  p.hosts.push_back(host("fd00:1::5", 64));
  EXPECT_EQ(p.judge(addr("[fd00:2::1]:53"), {}), ProbeVerdict::allowed);
}

TEST(ProbePolicy, AllowsAPrivateSourceThatSpokeToUs) {
  EXPECT_EQ(policy().judge_source(addr("172.16.0.1:53")), ProbeVerdict::allowed);
  EXPECT_EQ(policy().judge_source(addr("10.100.0.1:53")), ProbeVerdict::own_tunnel);
  EXPECT_EQ(policy().judge_source(addr("192.0.2.1:53")), ProbeVerdict::intermediate);
  EXPECT_EQ(policy().judge_source(addr("192.168.7.255:53")), ProbeVerdict::broadcast);
  EXPECT_EQ(policy().judge_source(addr("127.0.0.1:53")), ProbeVerdict::loopback);
}

TEST(ProbePolicy, RefusesAFamilyWithoutSocket) {
  auto p = policy();
  p.v6 = false;
  EXPECT_EQ(p.judge(addr("[2001:db8:b::1]:53"), {}), ProbeVerdict::no_socket);
  EXPECT_EQ(p.judge(addr("203.0.113.5:53"), {}), ProbeVerdict::allowed);
  p.v4 = false;
  EXPECT_EQ(p.judge(addr("203.0.113.5:53"), {}), ProbeVerdict::no_socket);
}

TEST(ProbePolicy, APointToPointNetworkHasNoBroadcast) {
  ProbePolicy p;
  p.hosts = {host("192.168.5.0", 31), host("192.168.6.1", 32)};
  EXPECT_EQ(p.judge(addr("192.168.5.1:53"), {}), ProbeVerdict::allowed);
  EXPECT_EQ(p.judge(addr("192.168.6.1:53"), {}), ProbeVerdict::allowed);
}

TEST(ProbePolicy, IsMadeOfWhatWasGathered) {
  GatherInput in;
  in.port_v4 = 4434;
  in.hosts = {host("192.168.1.5"), host("127.0.0.1", 8), host("10.100.0.254")};
  in.reflexive = {addr("203.0.113.5:61000")};
  in.tunnels = {prefix("10.100.0.0/24")};
  const std::vector intermediates{ip("192.0.2.1")};
  const auto p = make_policy(in, gather(in), intermediates);
  EXPECT_EQ(p.judge(addr("192.168.1.5:4434"), {}), ProbeVerdict::own_address);
  EXPECT_EQ(p.judge(addr("203.0.113.5:61000"), {}), ProbeVerdict::own_address);
  EXPECT_EQ(p.judge(addr("10.100.0.1:5"), {}), ProbeVerdict::own_tunnel);
  EXPECT_EQ(p.judge(addr("10.1.0.1:5"), {}), ProbeVerdict::private_of_neither);
  EXPECT_EQ(p.judge(addr("192.0.2.1:5"), {}), ProbeVerdict::intermediate);
  EXPECT_EQ(p.judge(addr("[2001:db8::1]:5"), {}), ProbeVerdict::no_socket);
  const std::vector same{ip("203.0.113.5")};
  EXPECT_EQ(p.judge(addr("10.1.0.1:5"), same), ProbeVerdict::allowed);
}

TEST(ProbePolicy, TakesReflexiveAddressesFromAnOffer) {
  const std::vector offer{candidate("192.168.1.5:1"), candidate("203.0.113.5:1", wire::CandidateKind::server_reflexive),
                          candidate("203.0.113.5:2", wire::CandidateKind::server_reflexive),
                          candidate("203.0.113.6:2", wire::CandidateKind::port_mapped)};
  EXPECT_EQ(reflexive_ips(offer), std::vector{ip("203.0.113.5")});
}

TEST(ProbePolicy, EveryVerdictHasAName) {
  std::set<std::string_view> names;
  for (int i = 0; i < static_cast<int>(ProbeVerdict::count_); ++i)
    names.insert(to_string(static_cast<ProbeVerdict>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(ProbeVerdict::count_));
  EXPECT_FALSE(names.contains("unknown"));
}

}  // namespace
}  // namespace ztna::path
