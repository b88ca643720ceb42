#include "path/nat_discovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "fixture.h"

namespace ztna::path {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using wire::NatFiltering;
using wire::NatMapping;
using wire::ProbeKind;
using Fate = NatDiscovery::Fate;

const SocketAddress kMain = addr("192.0.2.1:4433");
const SocketAddress kOther = addr("192.0.2.1:4435");
const SocketAddress kSecond = addr("192.0.2.99:4433");
const SocketAddress kOwn = addr("192.168.7.10:4434");
const SocketAddress kOutside = addr("198.51.100.10:61000");
const SocketAddress kOutside2 = addr("198.51.100.10:61001");

class NatDiscoveryTest : public testing::Test {
 protected:
  void start(std::optional<SocketAddress> other = kOther, std::optional<SocketAddress> second = {}) {
    const std::vector own{kOwn};
    d_.start({kMain, other, second}, own, now_);
  }
  static wire::Probe answer(const Outgoing& out, const SocketAddress& observed) {
    auto p = parsed(out.octets);
    p.kind = ProbeKind::open_response;
    p.address = observed;
    return p;
  }
  /// Runs to the end; `reply` sees each request and may answer it (from, observed).
  using Reply = std::function<std::optional<std::pair<SocketAddress, SocketAddress>>(const Outgoing&, ProbeKind)>;
  std::vector<std::pair<SocketAddress, ProbeKind>> run(const Reply& reply, Duration rtt = 30ms) {
    std::vector<std::pair<SocketAddress, ProbeKind>> sent;
    struct Due {
      TimePoint at;
      SocketAddress from;
      wire::Probe probe;
    };
    std::vector<Due> due;
    while (d_.deadline() != kNever) {
      auto next = d_.deadline();
      if (!due.empty()) next = std::min(next, due.front().at);
      now_ = std::max(now_, next);
      if (!due.empty() && due.front().at <= now_) {
        const auto arrived = due.front();
        due.erase(due.begin());
        d_.receive(arrived.from, arrived.probe, now_);
      }
      for (const auto& out : d_.poll(now_)) {
        EXPECT_EQ(out.octets.size(), wire::Probe::kOpenRequestSize);
        const auto kind = parsed(out.octets).kind;
        sent.emplace_back(out.to, kind);
        if (const auto r = reply(out, kind)) due.push_back({now_ + rtt, r->first, answer(out, r->second)});
      }
      EXPECT_THAT(d_.poll(now_), IsEmpty());
    }
    return sent;
  }
  /// A NAT: what each target observes, and whether the other port's answer to 0x13 gets in.
  static Reply nat(SocketAddress main, std::optional<SocketAddress> other, bool open,
                   std::optional<SocketAddress> second = {}) {
    return [=](const Outgoing& out, ProbeKind kind) -> std::optional<std::pair<SocketAddress, SocketAddress>> {
      if (kind == ProbeKind::open_request_other) {
        if (open) return std::pair{kOther, main};
        return std::nullopt;
      }
      if (out.to == kMain) return std::pair{kMain, main};
      if (out.to == kOther && other) return std::pair{kOther, *other};
      if (out.to == kSecond && second) return std::pair{kSecond, *second};
      return std::nullopt;
    };
  }

  test::SeededRandom random_{3};
  TimePoint now_{Duration{1'000'000'000}};
  NatDiscovery d_{random_};
};

TEST_F(NatDiscoveryTest, TakesOnlyAnswersItWaitsForFromWhereTheyShouldCome) {
  start();
  const auto sent = d_.poll(now_);
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].to, kMain);
  auto p = answer(sent[0], kOutside);
  EXPECT_EQ(d_.receive(kOther, p, now_), Fate::wrong_source);
  EXPECT_EQ(d_.receive(kSecond, p, now_), Fate::wrong_source);
  p.transaction.value[3] ^= 1;
  EXPECT_EQ(d_.receive(kMain, p, now_), Fate::unknown_transaction);
  p = answer(sent[0], kOutside);
  p.session.value[3] ^= 1;
  EXPECT_EQ(d_.receive(kMain, p, now_), Fate::unknown_transaction);
  EXPECT_EQ(d_.receive(kMain, parsed(sent[0].octets), now_), Fate::wrong_kind);
  EXPECT_EQ(d_.receive(kMain, answer(sent[0], addr("[2001:db8::1]:5")), now_), Fate::wrong_source);
  EXPECT_EQ(d_.report().state, NatReport::State::not_run);
  EXPECT_EQ(d_.receive(kMain, answer(sent[0], kOutside), now_), Fate::taken);
  EXPECT_EQ(d_.receive(kMain, answer(sent[0], kOutside2), now_), Fate::unknown_transaction);
}

TEST_F(NatDiscoveryTest, SilenceOfTheMainPortMeansBlocked) {
  start();
  const auto began = now_;
  const auto sent = run([](const Outgoing&, ProbeKind) { return std::nullopt; });
  EXPECT_THAT(sent, SizeIs(NatDiscovery::kSends));
  EXPECT_TRUE(d_.take_change());
  EXPECT_FALSE(d_.take_change());
  EXPECT_EQ(d_.report().state, NatReport::State::udp_blocked);
  EXPECT_EQ(d_.report().kind, NatKind{});
  EXPECT_EQ(now_ - began, 100ms + 200ms + 400ms + 800ms + 600ms);
  EXPECT_THAT(describe(d_.report()), HasSubstr("blocked"));
}

TEST_F(NatDiscoveryTest, ABlockedOtherPortLeavesTheKindUnknown) {
  start();
  run(nat(kOutside, std::nullopt, false));
  EXPECT_EQ(d_.report().state, NatReport::State::done);
  EXPECT_EQ(d_.report().kind, NatKind{});
  EXPECT_TRUE(d_.report().other_port_blocked);
  EXPECT_EQ(d_.report().observed, kOutside);
  EXPECT_THAT(describe(d_.report()), HasSubstr("main port only"));
}

TEST_F(NatDiscoveryTest, WithoutOtherPortOnlyTheAddressIsFound) {
  start(std::nullopt);
  EXPECT_THAT(run(nat(kOutside, kOutside, true)), SizeIs(1));
  EXPECT_EQ(d_.report().state, NatReport::State::done);
  EXPECT_EQ(d_.report().kind, NatKind{});
  EXPECT_EQ(d_.report().observed, kOutside);
  EXPECT_FALSE(d_.report().other_port_blocked);
}

TEST_F(NatDiscoveryTest, PortRestricted) {
  start();
  const auto began = now_;
  const auto sent = run(nat(kOutside, kOutside, false));
  EXPECT_EQ(d_.report().kind, (NatKind{NatMapping::endpoint_independent, NatFiltering::address_and_port_dependent}));
  EXPECT_TRUE(d_.report().filtering_exact);
  EXPECT_FALSE(d_.report().mapping_exact);
  EXPECT_EQ(d_.report().rtt, 30ms);
  EXPECT_EQ(nat_label(d_.report().kind), "port_restricted_cone");
  EXPECT_THAT(describe(d_.report()), HasSubstr("port-restricted cone NAT (endpoint-independent mapping, address and "
                                               "port-dependent filtering)"));
  EXPECT_THAT(describe(d_.report()), HasSubstr("cannot tell"));
  EXPECT_LT(now_ - began, 1200ms);
  // The filter is asked before the other port is sent to.
  const auto first_other = std::ranges::find(sent, kOther, [](const auto& s) { return s.first; });
  ASSERT_NE(first_other, sent.end());
  EXPECT_EQ(
      std::count_if(first_other, sent.end(), [](const auto& s) { return s.second == ProbeKind::open_request_other; }),
      0);
}

TEST_F(NatDiscoveryTest, AnOpenFilterIsAddressDependentOrBetter) {
  start();
  run(nat(kOutside, kOutside, true));
  EXPECT_EQ(d_.report().kind, (NatKind{NatMapping::endpoint_independent, NatFiltering::address_dependent}));
  EXPECT_FALSE(d_.report().filtering_exact);
  EXPECT_EQ(nat_label(d_.report().kind), "restricted_cone");
  EXPECT_THAT(describe(d_.report()), HasSubstr("full cone"));
}

TEST_F(NatDiscoveryTest, Symmetric) {
  start();
  run(nat(kOutside, kOutside2, false));
  EXPECT_EQ(d_.report().kind,
            (NatKind{NatMapping::address_and_port_dependent, NatFiltering::address_and_port_dependent}));
  EXPECT_TRUE(d_.report().mapping_exact);
  EXPECT_EQ(nat_label(d_.report().kind), "symmetric");
  EXPECT_EQ(d_.report().observed_other, kOutside2);
}

TEST_F(NatDiscoveryTest, ASecondIntermediateTellsAddressDependentMapping) {
  start(kOther, kSecond);
  run(nat(kOutside, kOutside, false, kOutside2));
  EXPECT_EQ(d_.report().kind.mapping, NatMapping::address_dependent);
  EXPECT_TRUE(d_.report().mapping_exact);
  EXPECT_EQ(nat_label(d_.report().kind), "symmetric");
}

TEST_F(NatDiscoveryTest, ASecondIntermediateTellsEndpointIndependentMapping) {
  start(kOther, kSecond);
  run(nat(kOutside, kOutside, false, kOutside));
  EXPECT_EQ(d_.report().kind.mapping, NatMapping::endpoint_independent);
  EXPECT_TRUE(d_.report().mapping_exact);
  EXPECT_EQ(describe(d_.report()),
            "port-restricted cone NAT (endpoint-independent mapping, address and port-dependent filtering)");
}

TEST_F(NatDiscoveryTest, ASilentSecondIntermediateCostsTimeOnly) {
  start(kOther, kSecond);
  run(nat(kOutside, kOutside, false, std::nullopt));
  EXPECT_EQ(d_.report().kind.mapping, NatMapping::endpoint_independent);
  EXPECT_FALSE(d_.report().mapping_exact);
}

TEST_F(NatDiscoveryTest, NoNatWithAndWithoutFirewall) {
  start();
  run(nat(kOwn, kOwn, true));
  EXPECT_EQ(d_.report().kind, (NatKind{NatMapping::none, NatFiltering::none}));
  EXPECT_TRUE(d_.report().mapping_exact);
  EXPECT_EQ(describe(d_.report()), "no NAT (no mapping, no filtering)");
  now_ += 11min;  // the filter has forgotten what we sent to the other port
  start();
  run(nat(kOwn, kOwn, false));
  EXPECT_EQ(d_.report().kind, (NatKind{NatMapping::none, NatFiltering::address_and_port_dependent}));
  EXPECT_EQ(nat_label(d_.report().kind), "firewall");
}

TEST_F(NatDiscoveryTest, ARerunBehindTheSameNatKeepsTheVerdict) {
  start();
  run(nat(kOutside, kOutside, false));
  d_.take_change();
  const auto kind = d_.report().kind;
  now_ += 30s;
  start();
  // The filter now lets the other port in, since we sent there: asking again would tell a lie.
  EXPECT_THAT(run(nat(kOutside, kOutside, true)), SizeIs(1));
  EXPECT_TRUE(d_.take_change());
  EXPECT_EQ(d_.report().kind, kind);
  EXPECT_TRUE(d_.report().filtering_exact);
  // Another NAT: everything anew.
  now_ += 30s;
  start();
  run(nat(addr("198.51.100.77:5000"), addr("198.51.100.77:5000"), true));
  EXPECT_EQ(d_.report().kind.filtering, NatFiltering::address_dependent);
  // Much later the filter has forgotten.
  now_ += 11min;
  start();
  EXPECT_GT(run(nat(addr("198.51.100.77:5000"), addr("198.51.100.77:5000"), false)).size(), 3U);
  EXPECT_EQ(d_.report().kind.filtering, NatFiltering::address_and_port_dependent);
}

TEST_F(NatDiscoveryTest, ARerunCutShortDoesNotMisreadItsOwnTraces) {
  start();
  // The first run gets as far as the other port, then the network changes in name only.
  while (true) {
    const auto sent = d_.poll(now_);
    bool other = false;
    for (const auto& out : sent) {
      const auto kind = parsed(out.octets).kind;
      other = other || out.to == kOther;
      if (kind == ProbeKind::open_request && out.to == kMain) {
        ASSERT_EQ(d_.receive(kMain, answer(out, kOutside), now_), Fate::taken);
      }
    }
    if (other) break;
    now_ = d_.deadline();
  }
  const std::vector own{kOwn, addr("192.168.8.10:4434")};
  d_.start({kMain, kOther, std::nullopt}, own, now_);
  run(nat(kOutside, kOutside, true));
  EXPECT_EQ(d_.report().kind, (NatKind{NatMapping::endpoint_independent, NatFiltering::unknown}));
  EXPECT_EQ(nat_label(d_.report().kind), "cone");
}

TEST_F(NatDiscoveryTest, StartingTwiceAlikeIsOneRun) {
  start();
  EXPECT_THAT(d_.poll(now_), SizeIs(1));
  start();
  EXPECT_THAT(d_.poll(now_), IsEmpty());
  d_.reset();
  EXPECT_EQ(d_.deadline(), kNever);
  EXPECT_FALSE(d_.take_change());
}

TEST_F(NatDiscoveryTest, LostRequestsAreSentAgain) {
  start();
  int n = 0;
  const auto reply = nat(kOutside, kOutside, true);
  run([&](const Outgoing& out, ProbeKind kind) { return ++n % 3 == 0 ? reply(out, kind) : std::nullopt; });
  EXPECT_EQ(d_.report().kind, (NatKind{NatMapping::endpoint_independent, NatFiltering::address_dependent}));
}

TEST(NatReport, OffersWhatIpv4FoundElseIpv6) {
  NatReport v4, v6;
  EXPECT_EQ(offered_kind(v4, v6), NatKind{});
  v6.kind = {NatMapping::none, NatFiltering::none};
  EXPECT_EQ(offered_kind(v4, v6), v6.kind);
  v4.kind = {NatMapping::endpoint_independent, NatFiltering::address_dependent};
  EXPECT_EQ(offered_kind(v4, v6), v4.kind);
}

TEST(NatReport, EveryKindHasALabelAndWords) {
  for (std::uint8_t m = 0; wire::is_known(static_cast<NatMapping>(m)); ++m) {
    for (std::uint8_t f = 0; wire::is_known(static_cast<NatFiltering>(f)); ++f) {
      const NatKind kind{static_cast<NatMapping>(m), static_cast<NatFiltering>(f)};
      EXPECT_FALSE(nat_label(kind).empty());
      EXPECT_FALSE(describe(kind).empty());
      EXPECT_EQ(nat_label(kind).find(' '), std::string_view::npos);
    }
  }
  EXPECT_EQ(describe(NatReport{}), "not measured yet");
  EXPECT_EQ(nat_label({NatMapping::endpoint_independent, NatFiltering::endpoint_independent}), "full_cone");
}

}  // namespace
}  // namespace ztna::path
