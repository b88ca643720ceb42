// An end must not be usable to flood a victim, and what strangers send changes nothing, on a network where they can do
// all that they can: read, replay, reflect, spoof sources.
#include <gtest/gtest.h>

#include <map>

#include "virtual/path_virtual/world.h"

namespace ztna::path {
namespace {

const SocketAddress kVictim = addr("203.0.113.200:53");
const SocketAddress kStranger = addr("203.0.113.66:6666");

class BadInput : public testing::Test {
 protected:
  BadInput() {
    w_.place(wire::Role::agent, Kind::none);
    w_.place(wire::Role::connector, Kind::none);
    w_.discover();
    w_.net.attach_ip(kVictim.ip, [this](const test::SimPacket&) { ++at_victim_; });
    w_.net.attach_ip(kStranger.ip, [this](const test::SimPacket&) { ++at_stranger_; });
  }
  void inject(const SocketAddress& from, const SocketAddress& to, ByteVector octets) {
    w_.net.send({from, to, std::move(octets)});
  }
  void punch_to_the_end() {
    w_.start_punching();
    w_.run_until(w_.net.now() + 30s);
  }

  World w_{{}};
  unsigned at_victim_ = 0;
  unsigned at_stranger_ = 0;
};

TEST_F(BadInput, CandidatesAtThirdPartiesGetAFixedFewProbes) {
  // The Agent lies: the victim is among its candidates, under many ports, and under addresses that are nobody's
  // business.
  for (int i = 0; i < 40; ++i) {
    w_.agent.gathered.candidates.push_back(
        {wire::CandidateKind::server_reflexive, 1, {kVictim.ip, static_cast<std::uint16_t>(50 + i)}});
  }
  for (const auto* a : {"127.0.0.1:22", "224.0.0.1:5353", "192.0.2.1:4433", "10.0.0.1:53", "192.168.2.255:9",
                        "169.254.169.254:80", "255.255.255.255:9"}) {
    w_.agent.gathered.candidates.push_back({wire::CandidateKind::host, 1, addr(a)});
  }
  std::map<SocketAddress, unsigned> sent;
  w_.net.tap = [&](test::SimPacket& p) {
    if (p.from == w_.connector.inside) ++sent[p.to];
    return true;
  };
  punch_to_the_end();
  EXPECT_TRUE(w_.direct());
  EXPECT_LE(at_victim_, PunchSession::kMaxPortsPerIp * PunchSession::kMaxProbes);
  for (const auto& [to, count] : sent) {
    EXPECT_TRUE(to == w_.agent.inside || to.ip == kVictim.ip) << to_string(to);
    if (to.ip == kVictim.ip) {
      EXPECT_LE(count, PunchSession::kMaxProbes);
    }
  }
}

TEST_F(BadInput, WithoutAnyAnswerAVictimStillGetsFiveProbes) {
  w_.net.set_links(w_.agent.inside.ip, w_.connector.inside.ip, {.blocked = true});
  w_.agent.gathered.candidates.push_back({wire::CandidateKind::host, 1, kVictim});
  punch_to_the_end();
  EXPECT_FALSE(w_.direct());
  EXPECT_EQ(at_victim_, PunchSession::kMaxProbes);
}

TEST_F(BadInput, AReplayFromTheVictimsAddressBringsItNothing) {
  // Whatever the Agent sends is seen and sent again, later, as if the victim had sent it.
  w_.net.tap = [&](test::SimPacket& p) {
    if (p.from == w_.agent.inside) {
      w_.net.at(w_.net.now() + 40ms, [this, octets = p.payload] {
        for (int i = 0; i < 100; ++i) inject(kVictim, w_.connector.inside, octets);
      });
    }
    return true;
  };
  punch_to_the_end();
  EXPECT_TRUE(w_.direct());
  EXPECT_EQ(at_victim_, 0U);
  EXPECT_GE(w_.connector.session->fates().value(ProbeFate::replayed), 100U);
  EXPECT_EQ(w_.connector.session->checks().size(), 1U);
}

TEST_F(BadInput, AReplayThatComesBeforeTheOriginalIsBounded) {
  // The attacker is nearer: its copies arrive first, each from another port of the victim.
  std::uint16_t port = 1000;
  w_.net.link(kVictim.ip, w_.connector.inside.ip).delay = 1ms;
  w_.net.tap = [&](test::SimPacket& p) {
    if (p.from == w_.agent.inside) inject({kVictim.ip, port++}, w_.connector.inside, p.payload);
    return true;
  };
  punch_to_the_end();
  // An answer each, and the few probes that any address gets which spoke with the key.
  EXPECT_LE(at_victim_, PunchSession::kMaxProbes * (1 + PunchSession::kMaxProbes));
  EXPECT_TRUE(w_.direct());  // the Connector's own requests still get through
}

TEST_F(BadInput, ReflectedProbesChangeNothing) {
  w_.net.set_links(w_.agent.inside.ip, w_.connector.inside.ip, {.blocked = true});
  w_.net.tap = [&](test::SimPacket& p) {
    if (p.from == w_.agent.inside && p.to == w_.connector.inside) inject(p.to, p.from, p.payload);
    return true;
  };
  // The reflector is on the path: only its packets come through.
  w_.net.link(w_.connector.inside.ip, w_.agent.inside.ip).blocked = false;
  w_.start_punching();
  w_.connector.session.reset();
  w_.run_until(w_.net.now() + 30s);
  EXPECT_FALSE(w_.agent.session->selected());
  EXPECT_GE(w_.agent.session->fates().value(ProbeFate::forged), PunchSession::kMaxProbes);
  EXPECT_EQ(w_.agent.session->fates().total(), w_.agent.session->fates().value(ProbeFate::forged));
}

TEST_F(BadInput, TenThousandJunkProbesASecondChangeNothingButCounters) {
  w_.start_punching();
  auto& random = w_.net.random();
  for (int i = 0; i < 10'000; ++i) {
    w_.net.at(w_.net.now() + i * 100us, [&] {
      wire::Probe p{.kind = random.below(2) == 0 ? wire::ProbeKind::request : wire::ProbeKind::response,
                    .session = w_.agent.session->id(),
                    .address = kStranger};
      p.transaction.value = random.array<12>();
      auto octets = wire::encode_probe(p, wire::Role::agent, [&](Bytes) { return random.array<16>(); });
      if (random.below(3) == 0) octets[random.below(octets.size())] ^= 0x5A;
      inject(random.below(2) == 0 ? kStranger : w_.agent.inside, w_.connector.inside, std::move(octets));
    });
  }
  w_.run_until(w_.net.now() + 30s);
  EXPECT_TRUE(w_.direct());
  EXPECT_LT(*w_.connector.first_answer - w_.started, 120ms);
  EXPECT_EQ(at_stranger_, 0U);
  EXPECT_EQ(w_.connector.session->checks().size(), 1U);
  EXPECT_GE(w_.connector.session->fates().value(ProbeFate::forged), 3000U);
}

TEST_F(BadInput, AResponseFromAnotherAddressIsNotTaken) {
  // Somebody on the path answers from elsewhere by sending the peer's true answers on from its own address.
  w_.net.tap = [&](test::SimPacket& p) {
    const auto probe = wire::Probe::parse(p.payload);
    if (p.from == w_.connector.inside && probe && probe->kind == wire::ProbeKind::response) p.from = kStranger;
    return true;
  };
  punch_to_the_end();
  EXPECT_FALSE(w_.agent.session->selected());
  EXPECT_GE(w_.agent.session->fates().value(ProbeFate::wrong_source), 1U);
  EXPECT_EQ(at_stranger_, 0U);
}

}  // namespace
}  // namespace ztna::path
