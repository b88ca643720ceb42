// Why a tunnel stays on the relay, from what a failed session knew.
#include "path/relay_reason.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace ztna::path {
namespace {

using wire::NatFiltering;
using wire::NatMapping;

PunchFacts facts(NatMapping own, NatFiltering own_filter, NatMapping peer, NatFiltering peer_filter) {
  PunchFacts f;
  f.own_mapping = own;
  f.own_filtering = own_filter;
  f.peer_mapping = peer;
  f.peer_filtering = peer_filter;
  f.own_candidates = f.peer_candidates = 1;
  return f;
}

TEST(RelayReasons, EveryOneHasANameAndASentence) {
  std::set<std::string> names;
  for (unsigned i = 0; i < static_cast<unsigned>(RelayReason::count_); ++i) {
    const auto reason = static_cast<RelayReason>(i);
    EXPECT_NE(to_string(reason), "unknown");
    EXPECT_FALSE(explain(reason).empty()) << to_string(reason);
    names.insert(std::string{to_string(reason)});
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(RelayReason::count_));
  EXPECT_TRUE(remedy(RelayReason::punching).empty());
  EXPECT_FALSE(remedy(RelayReason::both_symmetric).empty());
}

TEST(RelayReasons, WithoutAddressesNoNatMatters) {
  auto f = facts(NatMapping::address_and_port_dependent, NatFiltering::unknown, NatMapping::address_dependent,
                 NatFiltering::unknown);
  f.peer_candidates = 0;
  f.udp_blocked = true;
  EXPECT_EQ(why_not_reached(f), RelayReason::peer_no_candidates);
  f.own_candidates = 0;
  EXPECT_EQ(why_not_reached(f), RelayReason::no_candidates);
  f.own_candidates = f.peer_candidates = 1;
  EXPECT_EQ(why_not_reached(f), RelayReason::udp_blocked);
}

TEST(RelayReasons, PairsOfNats) {
  const auto symmetric = NatMapping::address_and_port_dependent;
  const auto cone = NatMapping::endpoint_independent;
  const auto strict = NatFiltering::address_and_port_dependent;
  const auto open = NatFiltering::endpoint_independent;
  EXPECT_EQ(why_not_reached(facts(symmetric, strict, symmetric, strict)), RelayReason::both_symmetric);
  EXPECT_EQ(why_not_reached(facts(symmetric, strict, NatMapping::address_dependent, open)),
            RelayReason::both_symmetric);
  EXPECT_EQ(why_not_reached(facts(symmetric, strict, cone, strict)), RelayReason::symmetric_with_port_restricted);
  EXPECT_EQ(why_not_reached(facts(cone, strict, symmetric, strict)), RelayReason::symmetric_with_port_restricted);
  EXPECT_EQ(why_not_reached(facts(symmetric, strict, cone, open)), RelayReason::no_answer);
  EXPECT_EQ(why_not_reached(facts(cone, strict, cone, strict)), RelayReason::no_answer);
  EXPECT_EQ(
      why_not_reached(facts(NatMapping::unknown, NatFiltering::unknown, NatMapping::unknown, NatFiltering::unknown)),
      RelayReason::no_answer);
}

}  // namespace
}  // namespace ztna::path
