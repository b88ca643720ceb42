// NAT discovery against each kind of NAT: what one Intermediate address with two ports can tell is right.
#include <gtest/gtest.h>

#include "virtual/path_virtual/world.h"

namespace ztna::path {
namespace {

using wire::NatFiltering;
using wire::NatMapping;

NatReport discovered(Kind kind, const Options& options) {
  World w{options};
  w.place(wire::Role::agent, kind);
  w.discover();
  EXPECT_FALSE(w.agent.discovery->running());
  return w.agent.discovery->report();
}

/// What the Intermediate's two ports show of a kind: endpoint-independent filtering looks address-dependent.
NatKind visible(Kind kind) {
  auto k = truth(kind);
  if (k.filtering == NatFiltering::endpoint_independent) k.filtering = NatFiltering::address_dependent;
  return k;
}

TEST(Discovery, TellsEveryKind) {
  for (const auto kind : {Kind::none, Kind::firewall, Kind::full_cone, Kind::address_restricted, Kind::port_restricted,
                          Kind::symmetric, Kind::symmetric_counts, Kind::cgnat, Kind::cgnat_symmetric}) {
    for (const auto rtt : {10ms, 30ms, 100ms, 300ms}) {
      const auto report = discovered(kind, {.rtt = rtt});
      EXPECT_EQ(report.state, NatReport::State::done) << to_string(kind);
      EXPECT_EQ(report.kind, visible(kind)) << to_string(kind) << " " << describe(report);
      ASSERT_TRUE(report.rtt);
      EXPECT_GE(*report.rtt, rtt);
    }
  }
}

TEST(Discovery, SurvivesLossAndReordering) {
  for (const auto kind : {Kind::none, Kind::full_cone, Kind::port_restricted, Kind::symmetric}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      const auto report = discovered(kind, {.rtt = 60ms, .loss = 0.05, .jitter = 30ms, .seed = seed});
      EXPECT_EQ(report.kind, visible(kind)) << to_string(kind) << " seed " << seed;
    }
  }
}

TEST(Discovery, SeesThatOnlyTheIntermediateIsPermittedByItsAddressOnly) {
  // Both of its ports are permitted: the NAT behind is still seen.
  EXPECT_EQ(discovered(Kind::udp_blocked, {}).kind, truth(Kind::port_restricted));
}

TEST(Discovery, ARerunReadsTheSameThoughTheFilterIsOpenNow) {
  for (const auto kind : {Kind::firewall, Kind::port_restricted, Kind::symmetric}) {
    World w{{}};
    w.place(wire::Role::agent, kind);
    w.discover();
    const auto first = w.agent.discovery->report();
    w.run_until(w.net.now() + 20s);
    const std::array own{w.agent.inside};
    w.agent.discovery->start({kMainPort, kOtherPort, std::nullopt}, own, w.net.now());
    w.run_until(w.net.now() + 20s, [&] { return !w.agent.discovery->running(); });
    EXPECT_EQ(w.agent.discovery->report().kind, first.kind) << to_string(kind);
    // After a reboot of the NAT the address is another one, and everything is measured anew.
    w.agent.nat->rebind();
    w.agent.discovery->start({kMainPort, kOtherPort, std::nullopt}, own, w.net.now());
    w.run_until(w.net.now() + 20s, [&] { return !w.agent.discovery->running(); });
    EXPECT_EQ(w.agent.discovery->report().kind, first.kind) << to_string(kind);
    if (kind != Kind::firewall) {
      EXPECT_NE(w.agent.discovery->report().observed, first.observed);
    }
  }
}

}  // namespace
}  // namespace ztna::path
