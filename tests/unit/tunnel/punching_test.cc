// Two ends punch towards each other over a network in which every address is reachable; junk and forgeries first.
#include "tunnel/punching.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "support/fake_connection.h"
#include "support/seeded_random.h"

namespace ztna::tunnel {
namespace {

using test::FakeConnection;
using testing::ElementsAre;
using testing::IsEmpty;

SocketAddress address(const char* text) { return *SocketAddress::parse(text); }

struct Packet {
  SocketAddress from, to;
  ByteVector octets;
};

/// One end: its sockets are one address, its network a queue that the test empties.
struct End final : UdpPort, PunchingOwner {
  End(wire::Role role, const char* where, std::deque<Packet>& net, std::uint64_t seed)
      : own(address(where)), network(net), random(seed), punching(role, *this, random, *this) {
    LocalOptions options;
    options.port_v4 = own.port;
    punching.set_options(options, TimePoint{});
    path::HostAddress host;
    host.address = own.ip;
    host.prefix_length = 24;
    host.default_route = true;
    punching.set_hosts({host}, TimePoint{});
    connection.exported = 7;
  }

  void send(const SocketAddress& to, Bytes row, std::size_t segment) override {
    EXPECT_EQ(segment, row.size());
    network.push_back({own, to, ByteVector{row.begin(), row.end()}});
  }
  bool writable() const override { return true; }
  void on_punched(const wire::SessionId& session, const wire::TunnelId&, const path::PunchSession& punch) override {
    punched.emplace_back(session, punch.selected()->address);
  }
  void on_not_punched(const wire::SessionId& session, const wire::TunnelId&, const path::PunchSession&) override {
    not_punched.push_back(session);
  }
  void on_local_changed() override { ++local_changes; }
  void on_search_found(const wire::SessionId&, const wire::TunnelId&, const path::BirthdaySearch::Found&) override {}
  void on_search_failed(const wire::SessionId&, const wire::TunnelId&, SearchEnd) override {}

  std::uint64_t count(PunchFate what) const { return punching.arrivals().value(what); }

  SocketAddress own;
  std::deque<Packet>& network;
  test::SeededRandom random;
  FakeConnection connection;
  Punching punching;
  std::vector<std::pair<wire::SessionId, SocketAddress>> punched;
  std::vector<wire::SessionId> not_punched;
  int local_changes = 0;
};

struct PunchingTest : testing::Test {
  std::deque<Packet> network;
  End agent{wire::Role::agent, "192.0.2.1:5000", network, 1};
  End connector{wire::Role::connector, "198.51.100.1:4434", network, 2};
  TimePoint now{1s};
  const wire::SessionId session{{1, 2, 3}};
  const wire::TunnelId tunnel{{9}};
  std::vector<Packet> sent;  // all that ever crossed the network

  /// Runs both ends for `duration`; packets take no time.
  void run(Duration duration) {
    const auto end = now + duration;
    for (;;) {
      while (!network.empty()) {
        const auto packet = std::move(network.front());
        network.pop_front();
        sent.push_back(packet);
        for (auto* e : {&agent, &connector}) {
          if (e->own == packet.to) e->punching.on_probe(kMainSocket, packet.from, packet.octets, now);
        }
      }
      const auto next = std::min(agent.punching.deadline(), connector.punching.deadline());
      if (next > end) break;
      now = std::max(now, next);
      for (auto* e : {&agent, &connector}) {
        if (e->punching.deadline() <= now) e->punching.on_deadline(now);
      }
    }
    now = end;
  }

  void begin_both() {
    for (auto* e : {&agent, &connector}) ASSERT_TRUE(e->punching.begin(session, tunnel, e->connection, now));
    agent.punching.add_remote(session, connector.punching.take_untold(session), now);
    connector.punching.add_remote(session, agent.punching.take_untold(session), now);
  }
  void start_both() {
    for (auto* e : {&agent, &connector}) ASSERT_TRUE(e->punching.start(session, 10ms, now));
  }
  wire::Probe request() const {
    wire::Probe probe;
    probe.session = session;
    probe.transaction.value = {4, 5, 6};
    probe.address = connector.own;
    return probe;
  }
  /// As somebody who knows the session, but not the key.
  ByteVector forged() const {
    return wire::encode_probe(request(), wire::Role::agent, [](Bytes) { return wire::ProbeMac{1}; });
  }
};

TEST_F(PunchingTest, WhatAnIntermediateHasComeToSeeIsToldAgain) {
  const auto moved = address("203.0.113.7:5000");
  IntermediateView view;
  view.server = address("203.0.113.100:4433");
  view.observed_v4 = address("203.0.113.6:5000");
  agent.punching.set_intermediate(0, view, now);
  ASSERT_TRUE(agent.punching.begin(session, tunnel, agent.connection, now));
  IntermediateView other = view;
  other.observed_v4 = moved;
  agent.punching.set_intermediate(1, other, now);
  ASSERT_THAT(agent.punching.take_untold(session), testing::Contains(testing::Field(&wire::Candidate::address, moved)));
  ASSERT_THAT(agent.punching.take_untold(session), IsEmpty());

  const auto changes = agent.local_changes;
  view.observed_v4 = moved;
  agent.punching.set_intermediate(0, view, now);
  EXPECT_EQ(agent.local_changes, changes + 1);
  EXPECT_THAT(agent.punching.take_untold(session), ElementsAre(testing::Field(&wire::Candidate::address, moved)));
  agent.punching.set_intermediate(0, view, now);
  EXPECT_EQ(agent.local_changes, changes + 1) << "it says nothing new";
  EXPECT_THAT(agent.punching.take_untold(session), IsEmpty());
}

TEST_F(PunchingTest, JunkOfEveryKindChangesCountersOnly) {
  begin_both();
  const auto stranger = address("203.0.113.66:6666");
  test::SeededRandom random{3};
  for (std::size_t size = 0; size < 120; ++size) {
    ByteVector junk(size);
    random.fill(junk);
    if (!junk.empty()) junk[0] = wire::kProbeType;
    if (size > 1) junk[1] = static_cast<std::uint8_t>(size % 24);
    connector.punching.on_probe(kMainSocket, stranger, junk, now);
  }
  EXPECT_GT(connector.count(PunchFate::malformed), 100U);
  EXPECT_EQ(connector.punching.arrivals().total(), 120U);
  run(100ms);
  EXPECT_THAT(sent, IsEmpty()) << "nothing is answered";
}

TEST_F(PunchingTest, TenThousandProbesOfUnknownSessionsCostALookup) {
  begin_both();
  auto probe = request();
  for (unsigned i = 0; i < 10'000; ++i) {
    probe.session.value = {0xEE, static_cast<std::uint8_t>(i >> 8U), static_cast<std::uint8_t>(i)};
    connector.punching.on_probe(kMainSocket, agent.own,
                                wire::encode_probe(probe, wire::Role::agent, [](Bytes) { return wire::ProbeMac{}; }),
                                now);
  }
  EXPECT_EQ(connector.count(PunchFate::unknown_session), 10'000U);
  run(100ms);
  EXPECT_THAT(sent, IsEmpty());
}

TEST_F(PunchingTest, ForgeriesAreThrottledBeforeTheirMacIsLookedAt) {
  begin_both();
  for (unsigned i = 0; i < 10'000; ++i) connector.punching.on_probe(kMainSocket, agent.own, forged(), now);
  EXPECT_EQ(connector.count(PunchFate::forged), Punching::kSessionCheckBurst);
  EXPECT_EQ(connector.count(PunchFate::throttled), 10'000 - Punching::kSessionCheckBurst);
  EXPECT_THAT(network, IsEmpty());
  // The session is none the worse for it a moment later.
  now += 1s;
  start_both();
  run(1s);
  EXPECT_EQ(connector.punched.size(), 1U);
  EXPECT_EQ(agent.punched.size(), 1U);
}

TEST_F(PunchingTest, AReflectedProbeIsForged) {
  begin_both();
  start_both();
  run(1ms);
  ASSERT_THAT(sent, IsEmpty());
  agent.punching.on_deadline(now + 10ms);
  ASSERT_EQ(network.size(), 1U);
  const auto own = network.front().octets;
  network.clear();
  agent.punching.on_probe(kMainSocket, connector.own, own, now + 10ms);
  EXPECT_EQ(agent.count(PunchFate::forged), 1U);
  EXPECT_THAT(network, IsEmpty());
}

TEST_F(PunchingTest, AReplayIsNotAnsweredTwice) {
  begin_both();
  start_both();
  run(1s);
  const auto copy = sent;
  const auto answered = connector.count(PunchFate::answered);
  ASSERT_GT(answered, 0U);
  sent.clear();
  for (const auto& packet : copy) {
    auto& to = packet.to == agent.own ? agent : connector;
    to.punching.on_probe(kMainSocket, address("203.0.113.66:6666"), packet.octets, now);
  }
  run(100ms);
  EXPECT_THAT(sent, IsEmpty());
  EXPECT_EQ(connector.count(PunchFate::answered), answered);
  EXPECT_EQ(connector.count(PunchFate::replayed), answered);
  EXPECT_EQ(connector.punched.size(), 1U);
}

TEST_F(PunchingTest, AnotherKeyIsNoKey) {
  agent.connection.exported = 8;
  begin_both();
  start_both();
  run(10s);
  EXPECT_THAT(agent.punched, IsEmpty());
  EXPECT_THAT(connector.punched, IsEmpty());
  EXPECT_GT(connector.count(PunchFate::forged), 0U);
  EXPECT_THAT(agent.not_punched, ElementsAre(session));
  EXPECT_EQ(agent.punching.sessions_failed().value(), 1U);
}

TEST_F(PunchingTest, RequestsMeantForAnIntermediateAreNotAnswered) {
  auto probe = request();
  for (const auto kind : {wire::ProbeKind::open_request, wire::ProbeKind::open_request_other}) {
    probe.kind = kind;
    connector.punching.on_probe(kMainSocket, agent.own, wire::encode_probe(probe, wire::Role::agent), now);
  }
  EXPECT_EQ(connector.count(PunchFate::wrong_kind), 2U);
  probe.kind = wire::ProbeKind::open_response;
  connector.punching.on_probe(kMainSocket, agent.own, wire::encode_probe(probe, wire::Role::agent), now);
  EXPECT_EQ(connector.count(PunchFate::unknown_transaction), 1U);
  run(1s);
  EXPECT_THAT(sent, IsEmpty());
}

TEST_F(PunchingTest, SessionsAreRefusedWithReason) {
  ASSERT_TRUE(agent.punching.begin(session, tunnel, agent.connection, now));
  EXPECT_EQ(agent.punching.begin(session, wire::TunnelId{{10}}, agent.connection, now).error().code, Errc::conflict);
  agent.connection.exported.reset();
  EXPECT_EQ(agent.punching.begin(wire::SessionId{{8}}, wire::TunnelId{{11}}, agent.connection, now).error().code,
            Errc::crypto);
  EXPECT_EQ(agent.punching.size(), 1U);
  EXPECT_FALSE(agent.punching.start(wire::SessionId{{8}}, 0ms, now));
  EXPECT_FALSE(agent.punching.add_remote(wire::SessionId{{8}}, {}, now));
  EXPECT_THAT(agent.punching.take_untold(wire::SessionId{{8}}), IsEmpty());
  EXPECT_EQ(agent.punching.find(wire::SessionId{{8}}), nullptr);
}

TEST_F(PunchingTest, SoManySessionsLiveAtOnceAndNoMore) {
  for (std::size_t i = 0; i < Punching::kMaxSessions; ++i) {
    wire::TunnelId one{{static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i >> 8U), 1}};
    ASSERT_TRUE(agent.punching.begin(agent.punching.new_session(), one, agent.connection, now));
  }
  EXPECT_EQ(agent.punching.begin(session, tunnel, agent.connection, now).error().code, Errc::exhausted);
  EXPECT_EQ(agent.punching.live().value(), Punching::kMaxSessions);
  run(Punching::kUnstarted + 1s);
  EXPECT_EQ(agent.punching.size(), 0U) << "none of them ever began";
  EXPECT_EQ(agent.punching.live().value(), 0U);
  EXPECT_TRUE(agent.punching.begin(session, tunnel, agent.connection, now));
  EXPECT_THAT(sent, IsEmpty());
}

TEST_F(PunchingTest, SessionAfterSessionNamesTheSameVictimAndItGetsOneShare) {
  const auto victim = address("203.0.113.50:53");
  const auto began = now;
  constexpr unsigned kSessions = 320;  // at what the Intermediate allows one Agent: 16 a second
  for (unsigned i = 0; i < kSessions; ++i) {
    const wire::SessionId id{{static_cast<std::uint8_t>(i >> 8U), static_cast<std::uint8_t>(i), 7}};
    ASSERT_TRUE(
        connector.punching.begin(id, wire::TunnelId{{static_cast<std::uint8_t>(i % 8)}}, connector.connection, now));
    std::vector<wire::Candidate> claims;
    for (std::uint16_t port = 53; port < 60; ++port) {
      claims.push_back({wire::CandidateKind::server_reflexive, port, {victim.ip, port}});
    }
    connector.punching.add_remote(id, claims, now);
    ASSERT_TRUE(connector.punching.start(id, 0ms, now));
    run(62ms);
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - began).count();
  const auto to_victim = std::ranges::count_if(sent, [&](const Packet& p) { return p.to.ip == victim.ip; });
  EXPECT_GE(to_victim, path::SilentBudget::kBurst);
  EXPECT_LE(to_victim, path::SilentBudget::kBurst + path::SilentBudget::kPerSecond * (seconds + 1));
  EXPECT_EQ(connector.punching.probes_sent().value(), static_cast<std::uint64_t>(to_victim));
  EXPECT_GT(connector.punching.probes_withheld().value(), 200U);

  run(6s);  // the last sessions end
  const auto before = connector.punching.probes_withheld().value();
  begin_both();
  start_both();
  run(1s);
  EXPECT_EQ(connector.punched.size(), 1U) << "others are reached as ever";
  EXPECT_EQ(connector.punching.probes_withheld().value(), before);

  // Nobody can use up the share of an end that is really there.
  const wire::SessionId own{{9, 9}};
  sent.clear();
  ASSERT_TRUE(connector.punching.begin(own, wire::TunnelId{{77}}, connector.connection, now));
  const wire::Candidate claim{wire::CandidateKind::server_reflexive, 1, victim};
  connector.punching.add_remote(own, std::span{&claim, 1}, now);
  ASSERT_TRUE(connector.punching.start(own, 0ms, now, victim));
  run(3s);
  EXPECT_EQ(std::ranges::count_if(sent, [&](const Packet& p) { return p.to == victim; }),
            path::PunchSession::kMaxProbes);
}

TEST_F(PunchingTest, BothEndsFindEachOther) {
  begin_both();
  start_both();
  run(500ms);
  EXPECT_THAT(agent.punched, ElementsAre(std::pair{session, connector.own}));
  EXPECT_THAT(connector.punched, ElementsAre(std::pair{session, agent.own}));
  EXPECT_EQ(agent.punching.sessions_punched().value(), 1U);
  EXPECT_EQ(agent.punching.session_of(tunnel), session);
  EXPECT_EQ(agent.punching.tunnel_of(session), tunnel);
  EXPECT_THAT(agent.punching.looking(), IsEmpty());
  EXPECT_THAT(agent.punching.take_untold(session), IsEmpty());
  run(20s);
  EXPECT_EQ(agent.punching.size(), 0U);
  EXPECT_EQ(agent.punching.deadline(), kNever);
  EXPECT_EQ(agent.punching.session_of(tunnel), std::nullopt);
}

TEST_F(PunchingTest, ANewSessionOfATunnelEndsTheOlder) {
  begin_both();
  const wire::SessionId next{{77}};
  ASSERT_TRUE(agent.punching.begin(next, tunnel, agent.connection, now));
  EXPECT_EQ(agent.punching.size(), 1U);
  EXPECT_EQ(agent.punching.find(session), nullptr);
  EXPECT_EQ(agent.punching.session_of(tunnel), next);
  agent.punching.end_tunnel(tunnel);
  EXPECT_EQ(agent.punching.size(), 0U);
}

TEST_F(PunchingTest, WhatAppearsLaterIsTrickled) {
  begin_both();
  ASSERT_THAT(agent.punching.take_untold(session), IsEmpty());
  const auto changes = agent.local_changes;
  agent.punching.set_mapped({address("203.0.113.9:5000")}, now);
  EXPECT_EQ(agent.local_changes, changes + 1);
  EXPECT_THAT(agent.punching.looking(), ElementsAre(session));
  const auto fresh = agent.punching.take_untold(session);
  ASSERT_EQ(fresh.size(), 1U);
  EXPECT_EQ(fresh[0].address, address("203.0.113.9:5000"));
  EXPECT_EQ(fresh[0].kind, wire::CandidateKind::port_mapped);
  EXPECT_THAT(agent.punching.take_untold(session), IsEmpty());
  agent.punching.set_mapped({address("203.0.113.9:5000")}, now);
  EXPECT_EQ(agent.local_changes, changes + 1) << "nothing new";
}

TEST_F(PunchingTest, TheOwnersCallbacksMayEndTheSession) {
  struct Ender final : PunchingOwner {
    Punching* punching = nullptr;
    int calls = 0;
    void on_punched(const wire::SessionId& id, const wire::TunnelId&, const path::PunchSession&) override {
      ++calls;
      punching->end(wire::SessionId{id});
    }
    void on_not_punched(const wire::SessionId&, const wire::TunnelId&, const path::PunchSession&) override {}
    void on_local_changed() override {}
    void on_search_found(const wire::SessionId&, const wire::TunnelId&, const path::BirthdaySearch::Found&) override {}
    void on_search_failed(const wire::SessionId&, const wire::TunnelId&, SearchEnd) override {}
  } ender;
  Punching own{wire::Role::agent, agent, agent.random, ender, {}};
  ender.punching = &own;
  LocalOptions options;
  options.port_v4 = 5000;
  own.set_options(options, now);
  ASSERT_TRUE(own.begin(session, tunnel, agent.connection, now));
  ASSERT_TRUE(connector.punching.begin(session, tunnel, connector.connection, now));
  own.add_remote(session, connector.punching.take_untold(session), now);
  own.start(session, 0ms, now);
  for (int i = 0; i < 100 && ender.calls == 0; ++i) {
    while (!network.empty()) {
      const auto packet = std::move(network.front());
      network.pop_front();
      if (packet.to == connector.own) connector.punching.on_probe(kMainSocket, packet.from, packet.octets, now);
      if (packet.to == agent.own) own.on_probe(kMainSocket, packet.from, packet.octets, now);
    }
    now += 10ms;
    own.on_deadline(now);
    connector.punching.on_deadline(now);
  }
  EXPECT_EQ(ender.calls, 1);
  EXPECT_EQ(own.size(), 0U);
}

}  // namespace
}  // namespace ztna::tunnel
