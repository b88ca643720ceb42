#include "path/punch_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "fixture.h"

namespace ztna::path {
namespace {

using test::fake_mac;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using wire::CandidateKind;
using wire::ProbeKind;
using State = PunchSession::State;

constexpr std::uint64_t kKey = 77;
const SocketAddress kPeer = addr("203.0.113.5:4434");
const SocketAddress kVictim = addr("203.0.113.200:53");

/// An Agent's session, and what a Connector with the right key (or somebody without) would send.
class PunchSessionTest : public testing::Test {
 protected:
  PunchSession make(wire::Role role = wire::Role::agent) {
    return PunchSession{{.role = role, .session = id_, .mac = fake_mac(kKey), .policy = policy()}, random_, now_};
  }
  void start(std::vector<wire::Candidate> candidates) {
    s_.add_remote(candidates, now_);
    s_.start(now_);
  }
  wire::Probe made(const wire::Probe& probe, wire::Role role, std::uint64_t key) {
    return parsed(wire::encode_probe(probe, role, fake_mac(key)));
  }
  wire::Probe request(wire::Role role = wire::Role::connector, std::uint64_t key = kKey) {
    wire::Probe p{.kind = ProbeKind::request, .session = id_, .address = addr("198.51.100.10:4434")};
    p.transaction.value = random_.array<12>();
    return made(p, role, key);
  }
  wire::Probe response(const Outgoing& to_request, const SocketAddress& observed = addr("198.51.100.10:4434"),
                       wire::Role role = wire::Role::connector, std::uint64_t key = kKey) {
    auto p = parsed(to_request.octets);
    p.kind = ProbeKind::response;
    p.address = observed;
    return made(p, role, key);
  }
  /// All that goes out until `until`, polled exactly at the deadlines.
  std::vector<std::pair<TimePoint, Outgoing>> run(TimePoint until) {
    std::vector<std::pair<TimePoint, Outgoing>> out;
    while (s_.deadline() <= until) {
      now_ = std::max(now_, s_.deadline());
      for (auto& o : s_.poll(now_)) out.emplace_back(now_, std::move(o));
      EXPECT_THAT(s_.poll(now_), IsEmpty());
      EXPECT_GT(s_.deadline(), now_);
    }
    now_ = until;
    return out;
  }
  std::vector<std::pair<TimePoint, Outgoing>> run(Duration time) { return run(now_ + time); }
  std::vector<Outgoing> poll() { return s_.poll(now_); }

  test::SeededRandom random_{1};
  wire::SessionId id_{{1, 2, 3, 4, 5, 6, 7, 8}};
  TimePoint now_{Duration{1'000'000'000}};
  const TimePoint t0_ = now_;
  PunchSession s_ = make();
};

// ---- refusals

TEST_F(PunchSessionTest, ForgedRequestsAreNotAnswered) {
  start({});
  EXPECT_EQ(s_.receive(kPeer, request(wire::Role::connector, 78), now_), ProbeFate::forged);
  auto p = request();
  p.mac[15] ^= 1;
  EXPECT_EQ(s_.receive(kPeer, p, now_), ProbeFate::forged);
  p = request();
  p.address.port ^= 1;  // the mac covers it
  EXPECT_EQ(s_.receive(kPeer, p, now_), ProbeFate::forged);
  EXPECT_THAT(poll(), IsEmpty());
  EXPECT_THAT(s_.checks(), IsEmpty());
}

TEST_F(PunchSessionTest, ItsOwnProbesReflectedAreForged) {
  start({candidate("203.0.113.5:4434")});
  const auto sent = poll();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(s_.receive(kPeer, parsed(sent[0].octets), now_), ProbeFate::forged);
  // Its own answer to the peer, sent back as if it answered our request.
  ASSERT_EQ(s_.receive(kPeer, request(), now_), ProbeFate::answered);
  const auto answer = poll();
  ASSERT_THAT(answer, SizeIs(1));
  EXPECT_EQ(s_.receive(kPeer, parsed(answer[0].octets), now_), ProbeFate::unknown_transaction);
  // A request made into a response by somebody without key.
  EXPECT_EQ(s_.receive(kPeer, response(sent[0], kPeer, wire::Role::agent), now_), ProbeFate::forged);
  EXPECT_EQ(s_.selected(), std::nullopt);
}

TEST_F(PunchSessionTest, AReplayedRequestChangesNothingWhereverItComesFrom) {
  start({candidate("203.0.113.5:4434")});
  poll();
  const auto p = request();
  ASSERT_EQ(s_.receive(kPeer, p, now_), ProbeFate::answered);
  poll();
  const auto before = s_.checks().size();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(s_.receive(kVictim, p, now_), ProbeFate::replayed);
  EXPECT_EQ(s_.receive(kPeer, p, now_), ProbeFate::replayed);
  EXPECT_THAT(poll(), IsEmpty());
  EXPECT_EQ(s_.checks().size(), before);
  for (const auto& [at, out] : run(20s)) EXPECT_NE(out.to, kVictim);
}

/// Somebody on the path is faster than the peer: the original, from an address that the peer offered, is answered all
/// the same, once.
TEST_F(PunchSessionTest, AFasterCopyDoesNotKeepTheAnswerFromThePeer) {
  start({candidate("203.0.113.5:4434"), candidate("203.0.113.6:4434")});
  poll();
  const auto p = request();
  EXPECT_EQ(s_.receive(kVictim, p, now_), ProbeFate::answered);
  EXPECT_EQ(s_.receive(addr("203.0.113.200:54"), p, now_), ProbeFate::replayed);
  EXPECT_EQ(s_.receive(kPeer, p, now_), ProbeFate::answered);
  EXPECT_EQ(s_.receive(kPeer, p, now_), ProbeFate::replayed);
  EXPECT_EQ(s_.receive(addr("203.0.113.6:4434"), p, now_), ProbeFate::replayed);
  EXPECT_EQ(s_.receive(kVictim, p, now_), ProbeFate::replayed);
}

TEST_F(PunchSessionTest, ResponsesThatNobodyAskedForAreNotTaken) {
  start({candidate("203.0.113.5:4434")});
  const auto sent = poll();
  auto p = response(sent[0]);
  p.transaction.value[0] ^= 1;
  EXPECT_EQ(s_.receive(kPeer, p, now_), ProbeFate::unknown_transaction);
  EXPECT_EQ(s_.receive(kPeer, made(p, wire::Role::connector, kKey), now_), ProbeFate::unknown_transaction);
  EXPECT_EQ(s_.receive(kPeer, response(sent[0], kPeer, wire::Role::connector, 78), now_), ProbeFate::forged);
  EXPECT_EQ(s_.receive(addr("203.0.113.5:4435"), response(sent[0]), now_), ProbeFate::wrong_source);
  EXPECT_EQ(s_.receive(kVictim, response(sent[0]), now_), ProbeFate::wrong_source);
  EXPECT_FALSE(s_.checks()[0].rtt);
  EXPECT_EQ(s_.receive(kPeer, response(sent[0]), now_), ProbeFate::taken);
  EXPECT_EQ(s_.receive(kPeer, response(sent[0]), now_), ProbeFate::duplicate);
}

TEST_F(PunchSessionTest, OtherSessionsAndOtherKindsAreNotTaken) {
  start({});
  auto p = request();
  p.session.value[0] ^= 1;
  EXPECT_EQ(s_.receive(kPeer, made(p, wire::Role::connector, kKey), now_), ProbeFate::wrong_session);
  p = request();
  p.kind = ProbeKind::open_response;
  EXPECT_EQ(s_.receive(kPeer, p, now_), ProbeFate::wrong_kind);
  p.kind = ProbeKind::open_request;
  EXPECT_EQ(s_.receive(kPeer, p, now_), ProbeFate::wrong_kind);
  EXPECT_THAT(poll(), IsEmpty());
}

TEST_F(PunchSessionTest, AnAuthenticRequestFromABadSourceIsNotAnswered) {
  start({});
  for (const auto* from : {"127.0.0.1:53", "224.0.0.1:53", "192.0.2.1:4433", "10.100.0.1:80", "255.255.255.255:9",
                           "192.168.7.255:9", "203.0.113.5:0"}) {
    EXPECT_EQ(s_.receive(addr(from), request(), now_), ProbeFate::bad_source) << from;
  }
  EXPECT_THAT(poll(), IsEmpty());
  EXPECT_THAT(s_.checks(), IsEmpty());
}

TEST_F(PunchSessionTest, ThirdPartiesNeverGetAProbe) {
  std::vector<wire::Candidate> bad;
  for (const auto* a :
       {"127.0.0.1:80", "0.0.0.0:80", "224.0.0.1:80", "255.255.255.255:80", "192.168.7.255:80", "169.254.169.254:80",
        "192.0.2.1:4433", "10.100.0.1:80", "10.2.3.4:80", "172.16.0.1:80", "203.0.113.9:0", "[::1]:80", "[ff02::1]:80",
        "[fe80::1]:80", "[64:ff9b::a00:1]:80", "[fd00::1]:80", "198.51.100.10:4434"}) {
    bad.push_back(candidate(a));
    bad.push_back(candidate(a, CandidateKind::peer_reflexive));
  }
  start(bad);
  EXPECT_THAT(run(30s), IsEmpty());
  ASSERT_THAT(s_.checks(), SizeIs(17));
  for (const auto& c : s_.checks()) {
    EXPECT_NE(c.verdict, ProbeVerdict::allowed) << to_string(c.address);
    EXPECT_EQ(c.sent, 0U);
  }
}

TEST_F(PunchSessionTest, AVictimGetsAFixedFewProbes) {
  start({candidate("203.0.113.200:53")});
  EXPECT_THAT(run(30s), SizeIs(PunchSession::kMaxProbes));
  EXPECT_EQ(s_.state(), State::ended);
}

TEST_F(PunchSessionTest, ManyPortsOfAVictimDoNotAddUp) {
  std::vector<wire::Candidate> ports;
  for (int i = 0; i < 200; ++i) {
    ports.push_back(candidate("203.0.113.200:" + std::to_string(1000 + i), CandidateKind::server_reflexive));
  }
  start(ports);
  s_.add_remote(ports, now_);
  EXPECT_THAT(run(30s), SizeIs(PunchSession::kMaxPortsPerIp * PunchSession::kMaxProbes));
}

TEST_F(PunchSessionTest, AtMostSixteenCandidatesAreProbed) {
  std::vector<wire::Candidate> many;
  for (int i = 1; i <= 200; ++i) many.push_back(candidate("203.0.113." + std::to_string(i) + ":4434"));
  start(std::vector(many.begin(), many.begin() + 20));
  for (const auto& c : many) s_.add_remote(std::span{&c, 1}, now_);
  std::set<SocketAddress> to;
  const auto sent = run(30s);
  for (const auto& [at, out] : sent) to.insert(out.to);
  EXPECT_EQ(to.size(), PunchSession::kMaxRemote);
  EXPECT_EQ(sent.size(), PunchSession::kMaxRemote * PunchSession::kMaxProbes);
  EXPECT_EQ(s_.checks().size(), 64U);  // what a peer can make us remember
  EXPECT_EQ(s_.checks()[16].verdict, ProbeVerdict::over_limit);
}

/// A peer that has the key and spoofs its source, or somebody on the path who is faster than the peer.
TEST_F(PunchSessionTest, AuthenticRequestsFromManySourcesAreBounded) {
  start({});
  std::size_t sent = 0;
  std::set<SocketAddress> asked;
  for (int i = 0; i < 1000; ++i) {
    s_.receive({kVictim.ip, static_cast<std::uint16_t>(1000 + i)}, request(), now_);
    for (const auto& o : poll()) {
      ++sent;
      if (parsed(o.octets).kind == ProbeKind::request) asked.insert(o.to);
    }
  }
  for (const auto& [at, out] : run(30s)) {
    ++sent;
    if (parsed(out.octets).kind == ProbeKind::request) asked.insert(out.to);
  }
  EXPECT_LE(sent, PunchSession::kMaxAnswers + PunchSession::kMaxPeerReflexive * PunchSession::kMaxProbes);
  EXPECT_EQ(asked.size(), PunchSession::kMaxPeerReflexive);
  EXPECT_EQ(s_.fates().value(ProbeFate::over_limit), 1000 - PunchSession::kMaxAnswers);
}

TEST_F(PunchSessionTest, TenThousandJunkProbesChangeNothingButCounters) {
  start({candidate("203.0.113.5:4434")});
  poll();
  const auto deadline = s_.deadline();
  for (int i = 0; i < 10'000; ++i) {
    wire::Probe p{.kind = i % 2 == 0 ? ProbeKind::request : ProbeKind::response, .session = id_, .address = kPeer};
    p.transaction.value = random_.array<12>();
    p.mac = random_.array<16>();
    s_.receive({kPeer.ip, static_cast<std::uint16_t>(i + 1)}, p, now_);
  }
  EXPECT_EQ(s_.fates().value(ProbeFate::forged), 5000U);
  EXPECT_EQ(s_.fates().value(ProbeFate::unknown_transaction), 5000U);
  EXPECT_EQ(s_.deadline(), deadline);
  EXPECT_THAT(poll(), IsEmpty());
  EXPECT_THAT(s_.checks(), SizeIs(1));
}

// ---- how it works

TEST_F(PunchSessionTest, ProbesNothingBeforeTheStartButAnswers) {
  s_.add_remote(std::vector{candidate("203.0.113.5:4434")}, now_);
  EXPECT_THAT(run(1s), IsEmpty());
  s_.start(now_ + 100ms);
  EXPECT_EQ(s_.deadline(), now_ + 100ms);
  EXPECT_THAT(run(99ms), IsEmpty());
  EXPECT_EQ(s_.state(), State::waiting);
  EXPECT_THAT(run(1ms), SizeIs(1));
  EXPECT_EQ(s_.state(), State::punching);
}

TEST_F(PunchSessionTest, BeginsWithThePeersFirstProbe) {
  s_.add_remote(std::vector{candidate("192.168.7.99:4434"), candidate("203.0.113.5:4434")}, now_);
  s_.start(now_ + 500ms);
  now_ += 10ms;
  ASSERT_EQ(s_.receive(kPeer, request(), now_), ProbeFate::answered);
  EXPECT_EQ(s_.deadline(), now_);
  const auto out = poll();
  ASSERT_THAT(out, SizeIs(2));
  EXPECT_EQ(parsed(out[0].octets).kind, ProbeKind::response);
  EXPECT_EQ(parsed(out[1].octets).kind, ProbeKind::request);
  EXPECT_EQ(out[1].to, kPeer);  // triggered: before the better candidate
  EXPECT_EQ(s_.state(), State::punching);
}

TEST_F(PunchSessionTest, NeverStartedItEnds) {
  EXPECT_THAT(run(11s), IsEmpty());
  EXPECT_EQ(s_.state(), State::ended);
  EXPECT_TRUE(s_.take_change());
  EXPECT_EQ(s_.deadline(), kNever);
  EXPECT_EQ(s_.receive(kPeer, request(), now_), ProbeFate::ended);
  s_.start(now_);
  EXPECT_EQ(s_.state(), State::ended);
}

TEST_F(PunchSessionTest, AnAnswerSaysWhereTheRequestCameFrom) {
  start({});
  const auto p = request();
  ASSERT_EQ(s_.receive(kPeer, p, now_), ProbeFate::answered);
  const auto out = poll();
  ASSERT_FALSE(out.empty());
  const auto answer = parsed(out[0].octets);
  EXPECT_EQ(out[0].to, kPeer);
  EXPECT_EQ(answer.kind, ProbeKind::response);
  EXPECT_EQ(answer.transaction, p.transaction);
  EXPECT_EQ(answer.address, kPeer);
  EXPECT_EQ(answer,
            response({{}, wire::encode_probe(p, wire::Role::connector, fake_mac(kKey))}, kPeer, wire::Role::agent));
}

TEST_F(PunchSessionTest, PacesAndRetransmits) {
  start({candidate("203.0.113.5:4434"), candidate("203.0.113.6:4434", CandidateKind::server_reflexive)});
  const auto sent = run(10s);
  std::vector<int> first;
  std::set<wire::TransactionId> transactions;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    transactions.insert(parsed(sent[i].second.octets).transaction);
    EXPECT_EQ(parsed(sent[i].second.octets).address, sent[i].second.to);
    if (i > 0) {
      EXPECT_GE(sent[i].first - sent[i - 1].first, PunchSession::kPace);
    }
    if (sent[i].second.to == kPeer) {
      first.push_back(static_cast<int>(std::chrono::duration_cast<Millis>(sent[i].first - t0_).count()));
    }
  }
  EXPECT_THAT(first, ElementsAre(0, 100, 250, 500, 1000));
  EXPECT_EQ(transactions.size(), 10U);
}

TEST_F(PunchSessionTest, ALatePollSendsNoBurst) {
  std::vector<wire::Candidate> many;
  for (int i = 1; i <= 10; ++i) many.push_back(candidate("203.0.113." + std::to_string(i) + ":4434"));
  start(many);
  now_ += 1500ms;
  EXPECT_THAT(poll(), SizeIs(1));
  EXPECT_EQ(s_.deadline(), now_ + PunchSession::kPace);
}

TEST_F(PunchSessionTest, TheBestOfEachKindAndFamilyGoesFirst) {
  std::vector<wire::Candidate> list;
  for (int i = 1; i <= 8; ++i) {
    list.push_back(candidate("192.168.7." + std::to_string(20 + i) + ":4434", CandidateKind::host,
                             static_cast<std::uint16_t>(60'000 - i)));
  }
  list.push_back(candidate("[2001:db8:b::1]:4434", CandidateKind::host, 50'000));
  list.push_back(candidate("203.0.113.5:4434", CandidateKind::server_reflexive));
  list.push_back(candidate("203.0.113.6:4434", CandidateKind::port_mapped));
  start(list);
  std::vector<std::string> to;
  for (const auto& [at, out] : run(79ms)) to.push_back(to_string(out.to));
  EXPECT_THAT(to, ElementsAre("192.168.7.21:4434", "[2001:db8:b::1]:4434", "203.0.113.6:4434", "203.0.113.5:4434"));
}

TEST_F(PunchSessionTest, SelectsAfterTheWindowTheLowestRoundTrip) {
  start({candidate("203.0.113.6:4434"), candidate("203.0.113.5:4434", CandidateKind::server_reflexive)});
  const auto sent = run(20ms);
  ASSERT_THAT(sent, SizeIs(2));
  now_ = t0_ + 60ms;
  EXPECT_EQ(s_.receive(addr("203.0.113.6:4434"), response(sent[0].second), now_), ProbeFate::taken);  // 60 ms
  EXPECT_EQ(s_.selected(), std::nullopt);
  EXPECT_FALSE(s_.take_change());
  now_ = t0_ + 65ms;
  EXPECT_EQ(s_.receive(kPeer, response(sent[1].second), now_), ProbeFate::taken);  // 45 ms
  run(Duration::zero());  // all have answered: no reason to wait
  ASSERT_TRUE(s_.selected());
  EXPECT_EQ(s_.selected()->address, kPeer);
  EXPECT_EQ(s_.selected()->rtt, 45ms);
  EXPECT_EQ(s_.state(), State::reached);
  EXPECT_TRUE(s_.take_change());
  EXPECT_FALSE(s_.take_change());
  EXPECT_EQ(s_.observed(), addr("198.51.100.10:4434"));
}

TEST_F(PunchSessionTest, WaitsNoLongerThanTheWindow) {
  start({candidate("203.0.113.6:4434"), candidate("203.0.113.5:4434", CandidateKind::server_reflexive)});
  const auto sent = run(20ms);
  now_ = t0_ + 30ms;
  s_.receive(addr("203.0.113.6:4434"), response(sent[0].second), now_);
  run(t0_ + 79ms);
  EXPECT_EQ(s_.selected(), std::nullopt);
  run(t0_ + 80ms);
  ASSERT_TRUE(s_.selected());
  EXPECT_EQ(s_.selected()->rtt, 30ms);
}

TEST_F(PunchSessionTest, OnATieTheLanGoesBeforeTheReflexiveAddressAndIpv6BeforeIpv4) {
  start({candidate("192.168.7.50:4434"), candidate("203.0.113.5:4434", CandidateKind::server_reflexive),
         candidate("[2001:db8:b::1]:4434", CandidateKind::host, 1)});
  const auto sent = run(40ms);
  ASSERT_THAT(sent, SizeIs(3));
  now_ = sent[0].first + 30ms;
  for (const auto& [at, out] : sent) {
    now_ = at + 30ms + (out.to.ip.is_v6() ? 0ms : out.to == kPeer ? -1ms : 1ms);
    s_.receive(out.to, response(out), now_);
  }
  run(Duration::zero());
  ASSERT_TRUE(s_.selected());
  EXPECT_EQ(s_.selected()->address, addr("[2001:db8:b::1]:4434"));
}

TEST_F(PunchSessionTest, ReportsALaterAnswerOnlyWhenItIsClearlyBetter) {
  start({candidate("203.0.113.5:4434", CandidateKind::server_reflexive)});
  const auto sent = run(Duration::zero());
  now_ += 40ms;
  s_.receive(kPeer, response(sent[0].second), now_);
  run(100ms);
  ASSERT_TRUE(s_.take_change());
  const auto answer_trickled = [&](std::string_view address, Duration rtt) {
    const auto c = candidate(address, CandidateKind::server_reflexive);
    s_.add_remote(std::span{&c, 1}, now_);
    const auto probe = run(PunchSession::kPace);
    ASSERT_THAT(probe, SizeIs(1));
    now_ = probe[0].first + rtt;
    EXPECT_EQ(s_.receive(addr(address), response(probe[0].second), now_), ProbeFate::taken);
  };
  answer_trickled("203.0.113.7:4434", 36ms);  // jitter
  EXPECT_FALSE(s_.take_change());
  answer_trickled("203.0.113.8:4434", 30ms);
  EXPECT_TRUE(s_.take_change());
  EXPECT_EQ(s_.selected()->address, addr("203.0.113.8:4434"));
  EXPECT_EQ(s_.selected()->rtt, 30ms);
}

TEST_F(PunchSessionTest, LearnsPeerReflexiveAddresses) {
  start({});
  ASSERT_EQ(s_.receive(kPeer, request(), now_), ProbeFate::answered);
  const auto out = poll();
  ASSERT_THAT(out, SizeIs(2));
  ASSERT_THAT(s_.checks(), SizeIs(1));
  EXPECT_EQ(s_.checks()[0].kind, CandidateKind::peer_reflexive);
  EXPECT_EQ(s_.checks()[0].received, 1U);
  now_ += 30ms;
  EXPECT_EQ(s_.receive(kPeer, response(out[1]), now_), ProbeFate::taken);
  run(Duration::zero());
  ASSERT_TRUE(s_.selected());
  EXPECT_EQ(s_.selected()->kind, CandidateKind::peer_reflexive);
  // The offer with this address comes later: now we know what it is.
  const auto c = candidate("203.0.113.5:4434", CandidateKind::port_mapped);
  s_.add_remote(std::span{&c, 1}, now_);
  EXPECT_EQ(s_.checks()[0].kind, CandidateKind::port_mapped);
}

TEST_F(PunchSessionTest, ARefusedPrivateAddressIsProbedOnceThePeerSpeaksFromThereOrIsBehindOurNat) {
  start({candidate("172.16.0.9:4434"), candidate("10.2.0.9:4434")});
  EXPECT_THAT(run(100ms), IsEmpty());
  ASSERT_EQ(s_.receive(addr("172.16.0.9:4434"), request(), now_), ProbeFate::answered);
  EXPECT_THAT(poll(), SizeIs(2));
  EXPECT_EQ(s_.checks()[0].verdict, ProbeVerdict::allowed);
  EXPECT_EQ(s_.checks()[1].verdict, ProbeVerdict::private_of_neither);
  const auto c = candidate("198.51.100.10:7000", CandidateKind::server_reflexive);
  s_.add_remote(std::span{&c, 1}, now_);
  EXPECT_EQ(s_.checks()[1].verdict, ProbeVerdict::allowed);
}

TEST_F(PunchSessionTest, FailsAfterAWhileAndStillAnswersALatePeer) {
  start({candidate("203.0.113.5:4434")});
  run(t0_ + PunchSession::kMinimumTime - 1ns);
  EXPECT_EQ(s_.state(), State::punching);
  run(t0_ + PunchSession::kMinimumTime);
  EXPECT_EQ(s_.state(), State::failed);
  EXPECT_TRUE(s_.take_change());
  now_ += 2s;
  ASSERT_EQ(s_.receive(addr("203.0.113.9:7"), request(), now_), ProbeFate::answered);
  const auto out = poll();
  ASSERT_THAT(out, SizeIs(2));
  now_ += 25ms;
  EXPECT_EQ(s_.receive(addr("203.0.113.9:7"), response(out[1]), now_), ProbeFate::taken);
  run(PunchSession::kWindow);
  EXPECT_EQ(s_.state(), State::reached);
  EXPECT_EQ(s_.selected()->address, addr("203.0.113.9:7"));
}

TEST_F(PunchSessionTest, LingersThenEnds) {
  start({candidate("203.0.113.5:4434")});
  const auto sent = run(Duration::zero());
  now_ += 30ms;
  s_.receive(kPeer, response(sent[0].second), now_);
  run(Duration::zero());
  ASSERT_EQ(s_.state(), State::reached);
  EXPECT_EQ(s_.deadline(), now_ + PunchSession::kLinger);
  now_ += PunchSession::kLinger - 1ms;
  EXPECT_EQ(s_.receive(kPeer, request(), now_), ProbeFate::answered);
  EXPECT_THAT(poll(), SizeIs(1));  // an answer, no probe: the address has answered
  now_ += 1ms;
  poll();
  EXPECT_EQ(s_.state(), State::ended);
  EXPECT_EQ(s_.deadline(), kNever);
  EXPECT_EQ(s_.receive(kPeer, request(), now_), ProbeFate::ended);
  EXPECT_THAT(poll(), IsEmpty());
}

TEST_F(PunchSessionTest, StopsBotheringSilentAddressesOnceOneAnswered) {
  start({candidate("203.0.113.6:4434"), candidate("203.0.113.5:4434", CandidateKind::server_reflexive)});
  const auto sent = run(20ms);
  now_ = t0_ + 30ms;
  s_.receive(kPeer, response(sent[1].second), now_);
  run(5s);
  EXPECT_EQ(s_.checks()[0].sent, 2U);
  EXPECT_EQ(s_.checks()[1].sent, 1U);
}

TEST_F(PunchSessionTest, EveryFateAndStateHasAName) {
  std::set<std::string_view> names;
  for (int i = 0; i < static_cast<int>(ProbeFate::count_); ++i) names.insert(to_string(static_cast<ProbeFate>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(ProbeFate::count_));
  EXPECT_FALSE(names.contains("unknown"));
  EXPECT_EQ(to_string(State::punching), "punching");
}

}  // namespace
}  // namespace ztna::path
