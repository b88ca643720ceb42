// Which kinds of NAT find a direct path, and how fast (issue "Direct first", NAT matrix). D: required. -: only a
// birthday search can, or nothing; an ordinary session must not claim it.
//
//                none  firewall  full  addr  port  symmetric  cgnat  cgnat(sym)
//   none          D       D       D     D     D       D         D        D
//   firewall      D       D       D     D     D       -         D        -
//   full cone     D       D       D     D     D       D         D        D
//   addr-restr.   D       D       D     D     D       D         D        D
//   port-restr.   D       D       D     D     D       -         D        -
//   symmetric     D       -       D     D     -       -         -        -
//   cgnat         D       D       D     D     D       -         D        -
//   cgnat(sym)    D       -       D     D     -       -         -        -
#include <gtest/gtest.h>

#include "virtual/path_virtual/world.h"

namespace ztna::path {
namespace {

constexpr Kind kKinds[] = {
    Kind::none,      Kind::firewall, Kind::full_cone,      Kind::address_restricted, Kind::port_restricted,
    Kind::symmetric, Kind::cgnat,    Kind::cgnat_symmetric};

bool is_symmetric(Kind k) { return k == Kind::symmetric || k == Kind::cgnat_symmetric; }
bool is_port_restricted(Kind k) { return k == Kind::firewall || k == Kind::port_restricted || k == Kind::cgnat; }
/// The table above.
bool expected(Kind a, Kind b) {
  if (is_symmetric(a)) return !is_symmetric(b) && !is_port_restricted(b);
  return !is_symmetric(b) || !is_port_restricted(a);
}

class Matrix : public testing::TestWithParam<std::tuple<Kind, Kind>> {
 protected:
  void check(const Options& options) {
    const auto [a, b] = GetParam();
    World w{options};
    w.place(wire::Role::agent, a);
    w.place(wire::Role::connector, b);
    w.discover();
    w.punch();
    ASSERT_EQ(w.direct(), expected(a, b)) << "rtt " << options.rtt.count() << " seed " << options.seed;
    if (!w.direct()) {
      EXPECT_EQ(w.agent.session->state(), PunchSession::State::failed);
      EXPECT_EQ(w.connector.session->state(), PunchSession::State::failed);
      return;
    }
    EXPECT_GE(w.agent.session->selected()->rtt, options.rtt);
    const auto took = *w.agent.first_answer - w.started;
    // Without loss: the pace for a few candidates, and one round trip more where the first request came too early.
    const auto bound = options.loss > 0 ? 2s + 2 * options.rtt : 120ms + 2 * options.rtt + options.skew;
    EXPECT_LE(took, bound) << std::chrono::duration_cast<Millis>(took).count() << " ms";
    if (options.rtt == 30ms && options.loss == 0 && options.skew == 0ms) {
      EXPECT_LT(took, 120ms);
    }
  }
};

TEST_P(Matrix, WithoutLoss) {
  for (const auto rtt : {10ms, 30ms, 100ms, 300ms}) check({.rtt = rtt, .seed = 1});
}

TEST_P(Matrix, WithSkewedStarts) {
  for (const auto skew : {5ms, 40ms, 250ms}) check({.rtt = 30ms, .seed = 2, .skew = skew});
}

TEST_P(Matrix, WithLossAndReordering) {
  for (const auto rtt : {10ms, 30ms, 100ms, 300ms}) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      check({.rtt = rtt, .loss = 0.05, .jitter = rtt / 2, .seed = seed});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Nats, Matrix, testing::Combine(testing::ValuesIn(kKinds), testing::ValuesIn(kKinds)),
                         [](const auto& i) {
                           return std::string{to_string(std::get<0>(i.param))} + "_with_" +
                                  std::string{to_string(std::get<1>(i.param))};
                         });

TEST(Site, BehindOneNatTheLanIsUsed) {
  for (const bool hairpin : {false, true}) {
    World w{{}};
    w.place_together(hairpin, true);
    w.discover();
    w.punch();
    ASSERT_TRUE(w.direct()) << hairpin;
    EXPECT_EQ(w.agent.session->selected()->address, w.connector.inside);
    EXPECT_EQ(w.agent.session->selected()->kind, wire::CandidateKind::host);
    EXPECT_LT(*w.agent.first_answer - w.started, 25ms);
  }
}

TEST(Site, BehindTwoNatsInOneNatHairpinDecides) {
  for (const bool hairpin : {false, true}) {
    World w{{}};
    w.place_together(hairpin, false);
    w.discover();
    w.punch();
    EXPECT_EQ(w.direct(), hairpin);
  }
}

TEST(Site, UdpBlockedStaysOnTheRelay) {
  for (const auto other : {Kind::none, Kind::full_cone, Kind::udp_blocked}) {
    World w{{}};
    w.place(wire::Role::agent, Kind::udp_blocked);
    w.place(wire::Role::connector, other);
    w.discover();
    w.punch();
    EXPECT_FALSE(w.direct());
    EXPECT_EQ(w.agent.session->state(), PunchSession::State::failed);
  }
}

/// The Agent's NAT reboots in the middle: its next requests come from another port, which the peer learns.
TEST(Site, RebindingDuringPunching) {
  World w{{}};
  w.place(wire::Role::agent, Kind::port_restricted);
  w.place(wire::Role::connector, Kind::address_restricted);
  w.discover();
  w.net.at(w.net.now() + 25ms, [&] { w.agent.nat->rebind(); });
  w.punch();
  EXPECT_TRUE(w.direct());
  EXPECT_EQ(w.connector.session->selected()->kind, wire::CandidateKind::peer_reflexive);
}

}  // namespace
}  // namespace ztna::path
