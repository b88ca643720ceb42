// The birthday search over simulated NATs: how often it finds a path, what it costs, and whom it never bothers.
#include <gtest/gtest.h>

#include <cmath>

#include "virtual/path_virtual/world.h"

namespace ztna::path {
namespace {

using State = BirthdaySearch::State;

struct Outcome {
  bool found = false;
  unsigned sent = 0;
  Duration took{};
};

/// The opener is the Agent when `agent_symmetric`, else the Connector.
Outcome search(Kind symmetric, bool agent_symmetric, const Options& options, Duration lag = {}) {
  World w{options};
  w.place(wire::Role::agent, agent_symmetric ? symmetric : Kind::port_restricted);
  w.place(wire::Role::connector, agent_symmetric ? Kind::port_restricted : symmetric);
  w.discover();
  std::size_t strangers = 0;
  const auto a = w.agent.discovery->report().observed->ip;
  const auto c = w.connector.discovery->report().observed->ip;
  w.net.tap = [&](test::SimPacket& p) {
    strangers += p.to.ip != a && p.to.ip != c;
    return true;
  };
  w.search(lag);
  EXPECT_TRUE(w.agent.birthday && w.connector.birthday);
  if (!w.agent.birthday) return {};
  EXPECT_EQ(strangers, 0U);
  const auto sent = w.agent.birthday->sent() + w.connector.birthday->sent();
  EXPECT_LE(sent, 1024U);
  const auto& found = w.agent.birthday->found();
  if (options.loss == 0) {
    EXPECT_EQ(found.has_value(), w.connector.birthday->found().has_value());
  }
  if (found && w.connector.birthday->found()) {
    // Both mean the same path: the prober's one socket, and one of the opener's.
    const auto& opener = agent_symmetric ? w.agent : w.connector;
    const auto& prober = agent_symmetric ? w.connector : w.agent;
    EXPECT_GE(opener.birthday->found()->socket, 1U);
    EXPECT_EQ(prober.birthday->found()->socket, 0U);
    EXPECT_EQ(opener.birthday->found()->remote, *prober.discovery->report().observed);
    EXPECT_EQ(prober.birthday->found()->remote.ip, opener.discovery->report().observed->ip);
  }
  return {found && w.connector.birthday->found(), sent, w.net.now() - w.started};
}

/// What the header promises: 1 - (1 - kSockets / 64512)^kProbes.
double promised() {
  return 1 - std::pow(1 - BirthdaySearch::kSockets / 64'512.0, static_cast<double>(BirthdaySearch::kProbes));
}

// Under a sanitizer each draw costs several times as much, and fewer show as well what a sanitizer looks for.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kDraws = 200;
#else
constexpr int kDraws = 1000;
#endif

TEST(Birthday, FindsAPathAsOftenAsPromised) {
  EXPECT_NEAR(promised(), 0.976, 0.001);
  int found = 0;
  for (std::uint64_t seed = 1; seed <= kDraws; ++seed) {
    const auto o = search(Kind::symmetric, seed % 2 == 0, {.rtt = 30ms, .seed = seed});
    found += o.found;
    EXPECT_LE(o.took, BirthdaySearch::kBudget);
  }
  std::printf("birthday search: %d of %d found, promised %.1f\n", found, kDraws, kDraws * promised());
  // Three standard deviations on both sides: it is neither worse nor better than chance.
  EXPECT_NEAR(found, kDraws * promised(), 3 * std::sqrt(kDraws * promised() * (1 - promised())) + 1);
}

TEST(Birthday, ANatThatCountsIsHitAtOnce) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto o = search(Kind::symmetric_counts, true, {.rtt = 30ms, .seed = seed});
    EXPECT_TRUE(o.found);
    EXPECT_LT(o.took, 700ms);
    EXPECT_LT(o.sent, 500U);
  }
}

TEST(Birthday, WorksAcrossDoubleNatAndLossAndLongRoundTrips) {
  int found = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    found +=
        search(Kind::cgnat_symmetric, true, {.rtt = 300ms, .loss = 0.02, .jitter = 30ms, .seed = seed}, 100ms).found;
  }
  EXPECT_GE(found, 33);
}

TEST(Birthday, FewerSocketsLowerTheOdds) {
  test::SeededRandom random{1};
  BirthdaySearch s{{.side = BirthdaySide::opener, .mac = test::fake_mac(1), .peer = addr("203.0.113.5:7")}, random};
  EXPECT_EQ(s.sockets_wanted(), BirthdaySearch::kSockets);
  TimePoint now{1s};
  s.start(10, now);
  unsigned sent = 0;
  while (s.state() == State::searching) {
    now = s.deadline();
    for (const auto& out : s.poll(now)) {
      ++sent;
      EXPECT_EQ(out.socket, sent);
      EXPECT_EQ(out.to, addr("203.0.113.5:7"));
    }
    EXPECT_TRUE(s.poll(now).empty());
  }
  EXPECT_EQ(sent, 10U);
  EXPECT_EQ(now, TimePoint{1s} + BirthdaySearch::kBudget);
  EXPECT_TRUE(s.take_change());
}

TEST(Birthday, TheProberTriesNoPortTwiceAndNoneBelow1024) {
  for (const auto* peer : {"203.0.113.5:1024", "203.0.113.5:65535", "203.0.113.5:40000"}) {
    test::SeededRandom random{1};
    BirthdaySearch s{{.side = BirthdaySide::prober, .mac = test::fake_mac(1), .peer = addr(peer)}, random};
    EXPECT_EQ(s.sockets_wanted(), 0U);
    TimePoint now{1s};
    s.start(0, now);
    std::set<std::uint16_t> ports;
    while (s.state() == State::searching) {
      now = s.deadline();
      for (const auto& out : s.poll(now)) {
        EXPECT_EQ(out.socket, 0U);
        EXPECT_EQ(out.to.ip, addr(peer).ip);
        EXPECT_GE(out.to.port, 1024);
        EXPECT_TRUE(ports.insert(out.to.port).second);
      }
    }
    EXPECT_EQ(ports.size(), BirthdaySearch::kProbes);
  }
}

TEST(Birthday, StrangersForgeriesAndReplaysChangeNothing) {
  test::SeededRandom random{1};
  const auto mac = test::fake_mac(kTunnelKey);
  const auto peer = addr("203.0.113.5:7000");
  const wire::SessionId id{{9}};
  BirthdaySearch s{{.role = wire::Role::agent, .side = BirthdaySide::opener, .session = id, .mac = mac, .peer = peer},
                   random};
  TimePoint now{1s};
  const auto request = [&](wire::Role role, std::uint64_t key) {
    wire::Probe p{.session = id, .address = addr("198.51.100.1:5000")};
    p.transaction.value = random.array<12>();
    return wire::Probe::parse(wire::encode_probe(p, role, test::fake_mac(key))).value();
  };
  EXPECT_EQ(s.receive(1, peer, request(wire::Role::connector, kTunnelKey), now), ProbeFate::ended);  // not started
  s.start(20, now);
  const auto first = s.poll(now);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(s.receive(1, peer, request(wire::Role::connector, 1), now), ProbeFate::forged);
  EXPECT_EQ(s.receive(1, peer, wire::Probe::parse(first[0].octets).value(), now), ProbeFate::forged);  // reflected
  EXPECT_EQ(s.receive(1, addr("198.18.0.1:7000"), request(wire::Role::connector, kTunnelKey), now),
            ProbeFate::bad_source);
  auto p = request(wire::Role::connector, kTunnelKey);
  p.session.value[1] = 1;
  EXPECT_EQ(s.receive(1, peer, p, now), ProbeFate::wrong_session);
  auto response = wire::Probe::parse(first[0].octets).value();
  response.kind = wire::ProbeKind::response;
  response = wire::Probe::parse(wire::encode_probe(response, wire::Role::connector, mac)).value();
  EXPECT_EQ(s.receive(2, peer, response, now), ProbeFate::wrong_source);  // at another socket
  EXPECT_EQ(s.receive(1, addr("203.0.113.5:7001"), response, now), ProbeFate::wrong_source);
  response.transaction.value[0] ^= 1;
  EXPECT_EQ(s.receive(1, peer, response, now), ProbeFate::unknown_transaction);
  EXPECT_TRUE(s.poll(now).empty());
  EXPECT_EQ(s.found(), std::nullopt);

  p = request(wire::Role::connector, kTunnelKey);
  EXPECT_EQ(s.receive(1, peer, p, now), ProbeFate::answered);
  EXPECT_EQ(s.receive(1, peer, p, now), ProbeFate::replayed);
  // The peer, or who has its key, cannot make us send without end.
  for (int i = 0; i < 1000; ++i) {
    const SocketAddress from{peer.ip, static_cast<std::uint16_t>(1000 + i)};
    s.receive(static_cast<unsigned>(i % 20), from, request(wire::Role::connector, kTunnelKey), now);
  }
  std::size_t sent = 0;
  while (s.state() == State::searching) {
    now = std::max(now, s.deadline());
    sent += s.poll(now).size();
  }
  EXPECT_LE(sent, 64U + BirthdaySearch::kConfirmations + 20U);
}

TEST(Birthday, IsOnlyForASymmetricAndAPortRestrictedNat) {
  const auto kinds = {
      Kind::none,      Kind::firewall, Kind::full_cone,      Kind::address_restricted, Kind::port_restricted,
      Kind::symmetric, Kind::cgnat,    Kind::cgnat_symmetric};
  for (const auto a : kinds) {
    for (const auto b : kinds) {
      const auto own = truth(a);
      const auto peer = truth(b);
      EXPECT_EQ(outlook(own, peer), outlook(peer, own));
      const auto side = birthday_side(own, peer);
      const auto other = birthday_side(peer, own);
      EXPECT_EQ(side.has_value(), other.has_value());
      EXPECT_EQ(side.has_value(), outlook(own, peer) == Outlook::birthday);
      if (side) {
        EXPECT_NE(*side, *other);
      }
    }
  }
  EXPECT_EQ(birthday_side(truth(Kind::symmetric), truth(Kind::port_restricted)), BirthdaySide::opener);
  EXPECT_EQ(birthday_side(truth(Kind::firewall), truth(Kind::symmetric)), BirthdaySide::prober);
  EXPECT_EQ(outlook(truth(Kind::symmetric), truth(Kind::symmetric)), Outlook::impossible);
  EXPECT_EQ(outlook(truth(Kind::symmetric), truth(Kind::address_restricted)), Outlook::direct);
  EXPECT_EQ(outlook({}, truth(Kind::symmetric)), Outlook::direct);
}

}  // namespace
}  // namespace ztna::path
