#include "path/candidate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "fixture.h"

namespace ztna::path {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using wire::CandidateKind;

GatherInput input() {
  GatherInput in;
  in.port_v4 = 4434;
  in.port_v6 = 4434;
  in.tunnels = {prefix("10.100.0.0/24"), prefix("fd5a:7a74:6e61::/64")};
  return in;
}

std::vector<std::string> addresses(const Gathered& g) {
  std::vector<std::string> out;
  for (const auto& c : g.candidates) out.push_back(to_string(c.address));
  return out;
}

std::optional<NotOffered> why(const Gathered& g, std::string_view address) {
  for (const auto& r : g.refused) {
    if (r.address == addr(address)) return r.reason;
  }
  return std::nullopt;
}

TEST(Gather, OffersNothingThatNobodyCanReach) {
  auto in = input();
  in.hosts = {
      host("127.0.0.1", 8), host("::1", 128),          host("169.254.3.4", 16), host("fe80::1", 64),
      host("0.0.0.0"),      host("10.100.0.254"),      host("224.0.0.5"),       host("fd5a:7a74:6e61::fffe", 64),
      host("240.0.0.1"),    host("::ffff:1.2.3.4", 96)};
  in.reflexive = {addr("127.0.0.1:5000")};
  in.mapped = {addr("0.0.0.0:5000")};
  in.external = {addr("203.0.113.5:0")};
  const auto g = gather(in);
  EXPECT_THAT(g.candidates, IsEmpty());
  EXPECT_EQ(why(g, "127.0.0.1:4434"), NotOffered::loopback);
  EXPECT_EQ(why(g, "[::1]:4434"), NotOffered::loopback);
  EXPECT_EQ(why(g, "169.254.3.4:4434"), NotOffered::link_local);
  EXPECT_EQ(why(g, "[fe80::1]:4434"), NotOffered::link_local);
  EXPECT_EQ(why(g, "0.0.0.0:4434"), NotOffered::unspecified);
  EXPECT_EQ(why(g, "10.100.0.254:4434"), NotOffered::own_tunnel);
  EXPECT_EQ(why(g, "[fd5a:7a74:6e61::fffe]:4434"), NotOffered::own_tunnel);
  EXPECT_EQ(why(g, "224.0.0.5:4434"), NotOffered::multicast);
  EXPECT_EQ(why(g, "240.0.0.1:4434"), NotOffered::reserved);
  EXPECT_EQ(why(g, "[::ffff:1.2.3.4]:4434"), NotOffered::reserved);
  EXPECT_EQ(why(g, "127.0.0.1:5000"), NotOffered::loopback);
  EXPECT_EQ(why(g, "203.0.113.5:0"), NotOffered::no_socket);
}

TEST(Gather, LeavesOutAFamilyWithoutSocket) {
  auto in = input();
  in.port_v6 = 0;
  in.hosts = {host("2001:db8::5", 64), host("203.0.113.5")};
  in.reflexive = {addr("[2001:db8::5]:4434")};
  const auto g = gather(in);
  EXPECT_THAT(addresses(g), ElementsAre("203.0.113.5:4434"));
  EXPECT_EQ(why(g, "[2001:db8::5]:4434"), NotOffered::no_socket);
}

TEST(Gather, WaitsForDuplicateDetection) {
  auto in = input();
  in.hosts = {host("2001:db8::5", 64)};
  in.hosts[0].tentative = true;
  const auto g = gather(in);
  EXPECT_THAT(g.candidates, IsEmpty());
  EXPECT_EQ(why(g, "[2001:db8::5]:4434"), NotOffered::tentative);
}

TEST(Gather, DoesNotUndoWhatATemporaryAddressHides) {  // RFC 8445 5.1.1.1
  auto in = input();
  in.hosts = {host("2001:db8::5", 64), host("2001:db8::abcd", 64), host("2001:db8:1::5", 64)};
  in.hosts[1].temporary = true;
  auto g = gather(in);
  EXPECT_EQ(why(g, "[2001:db8::5]:4434"), NotOffered::stable_beside_temporary);
  EXPECT_THAT(addresses(g), ElementsAre("[2001:db8::abcd]:4434", "[2001:db8:1::5]:4434"));

  in.hosts[1].deprecated = true;  // hides nothing any more, and goes last
  g = gather(in);
  EXPECT_THAT(addresses(g), ElementsAre("[2001:db8::5]:4434", "[2001:db8:1::5]:4434", "[2001:db8::abcd]:4434"));
}

TEST(Gather, PrioritiesAreThoseOfRfc8445) {
  // 2^24 x type preference + 2^8 x local preference + 256 - component
  EXPECT_EQ(candidate_priority(CandidateKind::host, 65'535), 126U * (1U << 24) + 65'535U * 256U + 255U);
  EXPECT_EQ(candidate_priority(CandidateKind::peer_reflexive, 0), 110U * (1U << 24) + 255U);
  EXPECT_EQ(candidate_priority(CandidateKind::port_mapped, 1), 105U * (1U << 24) + 256U + 255U);
  EXPECT_EQ(candidate_priority(CandidateKind::server_reflexive, 65'535), 100U * (1U << 24) + 65'535U * 256U + 255U);
}

TEST(Gather, OrdersByKindThenDefaultRouteThenInterfaceWithTheFamiliesTakingTurns) {
  auto in = input();
  in.hosts = {host("192.168.1.5", 24, 2, true), host("172.17.0.1", 16, 5, false), host("2001:db8::5", 64, 2, true),
              host("10.9.0.1", 24, 3, false)};
  in.reflexive = {addr("203.0.113.5:61000"), addr("203.0.113.5:61000"), addr("[2001:db8::5]:4434")};
  in.mapped = {addr("203.0.113.5:4434")};
  in.external = {addr("203.0.113.77:4434")};
  const auto g = gather(in);
  EXPECT_THAT(addresses(g), ElementsAre("[2001:db8::5]:4434", "192.168.1.5:4434", "10.9.0.1:4434", "172.17.0.1:4434",
                                        "203.0.113.77:4434", "203.0.113.5:4434", "203.0.113.5:61000"));
  EXPECT_EQ(g.candidates[4].kind, CandidateKind::port_mapped);
  EXPECT_EQ(g.candidates[6].kind, CandidateKind::server_reflexive);
  EXPECT_EQ(why(g, "[2001:db8::5]:4434"), NotOffered::duplicate);  // no NAT: the host candidate stays
  std::set<std::uint32_t> priorities;
  for (const auto& c : g.candidates) priorities.insert(c.priority);
  EXPECT_EQ(priorities.size(), g.candidates.size());
}

TEST(Gather, FiftyContainerBridgesDoNotPushOutWhatMatters) {
  auto in = input();
  for (unsigned i = 0; i < 50; ++i) {  // lower indexes than the real interface has
    in.hosts.push_back(host("172." + std::to_string(16 + i % 16) + "." + std::to_string(i) + ".1", 24, 3 + i, false));
  }
  in.hosts.push_back(host("192.168.1.5", 24, 90, true));
  in.hosts.push_back(host("2001:db8::5", 64, 90, true));
  in.reflexive = {addr("203.0.113.5:61000"), addr("[2001:db8::5]:4434")};
  in.mapped = {addr("203.0.113.5:4434")};
  const auto g = gather(in);
  ASSERT_EQ(g.candidates.size(), kMaxLocalCandidates);
  const auto list = addresses(g);
  for (const auto* wanted : {"[2001:db8::5]:4434", "192.168.1.5:4434", "203.0.113.5:4434", "203.0.113.5:61000"}) {
    EXPECT_THAT(list, testing::Contains(wanted));
  }
  EXPECT_EQ(list[0], "[2001:db8::5]:4434");
  EXPECT_EQ(list[1], "192.168.1.5:4434");
  EXPECT_EQ(std::ranges::count(g.refused, NotOffered::over_limit, &Gathered::Refused::reason), 54 - 12);
  // A host whose own address is public keeps it even where it has no default route (policy routing).
  in.hosts[7].address = ip("203.0.113.99");
  in.reflexive = {addr("203.0.113.99:4434")};
  EXPECT_THAT(addresses(gather(in, 2)), testing::Contains("203.0.113.99:4434"));
}

TEST(Gather, TricklesOnlyWhatIsNew) {
  const std::vector before{candidate("192.168.1.5:4434"), candidate("203.0.113.5:61000")};
  auto now = before;
  now[0].priority -= 256;
  EXPECT_THAT(newly_gathered(before, now), IsEmpty());
  now.push_back(candidate("203.0.113.5:4434", CandidateKind::port_mapped));
  now.erase(now.begin());
  EXPECT_THAT(newly_gathered(before, now), ElementsAre(now.back()));
}

TEST(Gather, EveryReasonHasAName) {
  std::set<std::string_view> names;
  for (int i = 0; i < static_cast<int>(NotOffered::count_); ++i) names.insert(to_string(static_cast<NotOffered>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(NotOffered::count_));
  EXPECT_FALSE(names.contains("unknown"));
}

}  // namespace
}  // namespace ztna::path
