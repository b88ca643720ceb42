// Signaling sessions and PathReports (docs/protocol.md 3.1): refusals first.
#include <gtest/gtest.h>

#include "unit/intermediate/registry_fixture.h"

namespace ztna::intermediate {
namespace {

using testing::at;
using testing::ip;
using testing::sid;
using Code = wire::SignalingErrorCode;

wire::SessionId session_id(std::uint8_t n) { return wire::SessionId{{9, 9, n}}; }

const wire::TunnelId kTunnel{{1}};

struct SignalingTest : testing::RegistryTest {
  Peer c, a, stranger;

  void SetUp() override {
    registry.set_own_addresses({{ip("203.0.113.7")}, 4433, 4435});
    c = connector();
    say(c, wire::RegisterConnector{"web", 0, {}});
    a = agent();
    stranger = join(identity::Role::agent, "stranger", {"web"});
    say(a, wire::RouteRequest{kTunnel, "web"});
  }

  static wire::CandidateOffer offer(std::uint8_t n, std::vector<std::string> candidates = {"192.0.2.1:5000"}) {
    wire::CandidateOffer m{
        session_id(n), kTunnel, wire::NatMapping::endpoint_independent, wire::NatFiltering::address_dependent, {}};
    for (const auto& text : candidates) m.candidates.push_back({wire::CandidateKind::host, 1, at(text)});
    return m;
  }
  static wire::CandidateAnswer answer(std::uint8_t n, std::vector<std::string> candidates = {"198.51.100.2:4434"}) {
    const auto o = offer(n, std::move(candidates));
    return {o.session, o.tunnel, o.mapping, o.filtering, o.candidates};
  }
  static wire::PunchingResult reached(std::uint8_t n) {
    return {session_id(n), wire::PunchingOutcome::reached, at("192.0.2.1:5000")};
  }
  static wire::PunchingResult failed(std::uint8_t n) { return {session_id(n), wire::PunchingOutcome::failed, {}}; }
  Actions say_from(const Peer& p, const wire::ControlMessage& m, Duration rtt) {
    auto actions = registry.message(p.session, m, now, rtt);
    EXPECT_TRUE(actions);
    return actions ? *actions : Actions{};
  }
  /// The one error in `actions`, for `to`, and nothing else.
  static std::optional<Code> only_error(const Actions& actions, const Peer& to) {
    const auto errors = of<wire::SignalingError>(actions);
    EXPECT_EQ(actions.deliveries.size(), 1U);
    if (errors.size() != 1 || errors[0].first != to.session) return std::nullopt;
    return errors[0].second.code;
  }
  /// Only the signaling errors of `actions`.
  static Actions of_errors(const Actions& actions) {
    Actions errors;
    for (const auto& [to, error] : of<wire::SignalingError>(actions)) errors.deliveries.push_back({to, error});
    return errors;
  }
  std::uint64_t refused(SignalingRefusal why) const { return registry.signaling_counters().refusals.value(why); }
  std::uint64_t ended(SignalingEnd how) const { return registry.signaling_counters().ends.value(how); }
  std::uint64_t live() const { return registry.signaling_counters().live.value(); }
};

TEST_F(SignalingTest, RefusesOffersOfTunnelsThatAreNotTheSenders) {
  EXPECT_EQ(only_error(say(stranger, offer(1)), stranger), Code::not_yours);
  auto unknown = offer(1);
  unknown.tunnel = wire::TunnelId{{99}};
  EXPECT_EQ(only_error(say(a, unknown), a), Code::not_yours);
  EXPECT_EQ(refused(SignalingRefusal::not_yours), 2U);
  EXPECT_EQ(live(), 0U);
}

TEST_F(SignalingTest, RefusesMessagesOfTheOtherRole) {
  EXPECT_FALSE(registry.message(c.session, offer(1), now));
  EXPECT_FALSE(registry.message(a.session, answer(1), now));
  EXPECT_FALSE(registry.message(a.session, wire::StartPunching{session_id(1), 0}, now));
  EXPECT_EQ(live(), 0U);
}

TEST_F(SignalingTest, RefusesStrangersInASession) {
  say(a, offer(1));
  const auto other_connector = join(identity::Role::connector, "c2", {"web"});
  EXPECT_EQ(only_error(say(other_connector, answer(1)), other_connector), Code::not_yours);
  EXPECT_EQ(only_error(say(stranger, reached(1)), stranger), Code::not_yours);
  EXPECT_EQ(only_error(say(other_connector, failed(1)), other_connector), Code::not_yours);
  EXPECT_TRUE(say(stranger, wire::SignalingError{session_id(1), Code::expired, "go"}).deliveries.empty());
  // The same session id for a tunnel of the stranger's own.
  auto twin = offer(1);
  twin.tunnel = wire::TunnelId{{2}};
  say(stranger, wire::RouteRequest{twin.tunnel, "web"});
  EXPECT_EQ(only_error(say(stranger, twin), stranger), Code::not_yours);
  EXPECT_EQ(refused(SignalingRefusal::not_yours), 5U);
  EXPECT_EQ(live(), 1U);
  EXPECT_EQ(of<wire::CandidateAnswer>(say(c, answer(1))).size(), 1U) << "the session goes on";
}

TEST_F(SignalingTest, RefusesASessionsMessageOfAnotherTunnel) {
  say(a, wire::RouteRequest{wire::TunnelId{{2}}, "web"});
  say(a, offer(1));
  auto other = offer(1);
  other.tunnel = wire::TunnelId{{2}};
  EXPECT_EQ(only_error(say(a, other), a), Code::not_yours);
  auto wrong = answer(1);
  wrong.tunnel = wire::TunnelId{{2}};
  EXPECT_EQ(only_error(say(c, wrong), c), Code::not_yours);
}

TEST_F(SignalingTest, RefusesUnknownSessionsAndAnswersNoErrors) {
  EXPECT_EQ(only_error(say(c, answer(1)), c), Code::unknown_session);
  EXPECT_EQ(only_error(say(c, reached(1)), c), Code::unknown_session);
  EXPECT_TRUE(say(a, wire::SignalingError{session_id(1), Code::limit, ""}).deliveries.empty());
  EXPECT_EQ(refused(SignalingRefusal::unknown_session), 3U);
}

TEST_F(SignalingTest, RefusesCandidatesThatCannotBeMeant) {
  for (const auto* bad : {"127.0.0.1:5000", "[::1]:5000", "224.0.0.1:5000", "[ff02::1]:5000", "0.0.0.0:5000",
                          "[::]:5000", "192.0.2.1:0", "169.254.1.1:5000", "[fe80::1]:5000", "255.255.255.255:5000",
                          "0.1.2.3:5000", "240.0.0.1:5000", "[::ffff:192.0.2.1]:5000", "10.100.0.7:5000",
                          "203.0.113.7:4433", "203.0.113.7:4435", "198.18.3.2:4433" /* where clients reach us */}) {
    EXPECT_EQ(only_error(say(a, offer(1, {"192.0.2.1:5000", bad})), a), Code::bad_candidate) << bad;
  }
  EXPECT_EQ(live(), 0U);
  for (const auto* good : {"192.168.1.2:5000", "10.1.2.3:5000", "100.64.0.1:1", "[fd00::1]:5000", "[2001:db8::1]:65535",
                           "203.0.113.7:5000" /* another program of that machine */}) {
    EXPECT_EQ(of<wire::CandidateOffer>(say(a, offer(1, {good}))).size(), 1U) << good;
  }
  EXPECT_EQ(only_error(say(c, answer(1, {"127.0.0.1:53"})), c), Code::bad_candidate);
  EXPECT_EQ(
      only_error(say(c, wire::PunchingResult{session_id(1), wire::PunchingOutcome::reached, at("127.0.0.1:53")}), c),
      Code::bad_candidate);
  EXPECT_EQ(refused(SignalingRefusal::bad_candidate), 19U);
  EXPECT_EQ(live(), 1U) << "a refusal ends no session";
}

/// Server-reflexive candidates are what we observe, or they are not passed on.
TEST_F(SignalingTest, DropsWhatIsNotWhereItsSenderIsObserved) {
  registry.client_moved(a.session, path(7001));
  registry.client_moved(c.session, path(7002));
  const auto reflexive = [](const char* text) {
    return wire::Candidate{wire::CandidateKind::server_reflexive, 1, at(text)};
  };
  auto claims = offer(1);
  for (const auto* claim : {"192.0.2.66:7001", "198.18.1.2:7001", "198.18.1.2:7002", "[2001:db8::66]:7001"})
    claims.candidates.push_back(reflexive(claim));
  const auto passed = of<wire::CandidateOffer>(say(a, claims));
  ASSERT_EQ(passed.size(), 1U);
  auto expected = offer(1);
  expected.candidates.push_back(reflexive("198.18.1.2:7001"));
  expected.candidates.push_back(reflexive("[2001:db8::66]:7001"));  // we do not see that family of it
  EXPECT_EQ(passed[0].second, expected);
  EXPECT_EQ(registry.signaling_counters().claims_dropped.value(), 2U);

  auto lie = answer(1, {});
  lie.candidates.push_back(reflexive("198.18.1.2:7001"));  // the Agent's own
  const auto out = say(c, lie);
  ASSERT_EQ(of<wire::CandidateAnswer>(out).size(), 1U);
  EXPECT_TRUE(of<wire::CandidateAnswer>(out)[0].second.candidates.empty());
  EXPECT_EQ(registry.signaling_counters().claims_dropped.value(), 3U);
  EXPECT_EQ(refused(SignalingRefusal::bad_candidate), 0U);
}

TEST_F(SignalingTest, TellsEachWhereTheOtherIsNow) {
  registry.client_moved(a.session, path(7001));
  registry.client_moved(c.session, path(7002));
  auto first = offer(1);
  first.method = wire::PunchingMethod::birthday;
  say(a, first);
  registry.client_moved(a.session, path(7003));
  auto second = answer(1);
  second.method = wire::PunchingMethod::birthday;
  const auto out = say(c, second);
  EXPECT_EQ(of<wire::CandidateAnswer>(out)[0].second.method, wire::PunchingMethod::birthday);
  const auto starts = of<wire::StartPunching>(out);
  ASSERT_EQ(starts.size(), 2U);
  for (const auto& [to, start] : starts)
    EXPECT_EQ(start.peer, at(to == a.session ? "198.18.1.2:7002" : "198.18.1.2:7003"));
}

TEST_F(SignalingTest, RefusesTooManyCandidatesAndListsOfASession) {
  EXPECT_EQ(only_error(say(a, offer(1, std::vector<std::string>(65, "192.0.2.1:5000"))), a), Code::limit);
  EXPECT_EQ(live(), 0U);
  say(a, offer(1, std::vector<std::string>(63, "192.0.2.1:5000")));
  EXPECT_EQ(only_error(say(a, offer(1, {"192.0.2.1:1", "192.0.2.1:2"})), a), Code::limit);
  EXPECT_EQ(of<wire::CandidateOffer>(say(a, offer(1))).size(), 1U);
  for (std::size_t i = 0; i < SignalingLimits{}.lists_per_side; ++i) {
    EXPECT_EQ(of<wire::CandidateAnswer>(say(c, answer(1, {}))).size(), 1U);
  }
  EXPECT_EQ(only_error(say(c, answer(1, {})), c), Code::limit);
}

TEST_F(SignalingTest, RefusesTooManySessionsOfAnAgent) {
  for (std::uint8_t n = 0; n < Signaling::kStartBurst; ++n) {
    EXPECT_EQ(of<wire::CandidateOffer>(say(a, offer(n))).size(), 1U) << int{n};
  }
  EXPECT_EQ(only_error(say(a, offer(100)), a), Code::limit);
  say(stranger, wire::RouteRequest{wire::TunnelId{{2}}, "web"});
  auto others = offer(101);
  others.tunnel = wire::TunnelId{{2}};
  EXPECT_EQ(of<wire::CandidateOffer>(say(stranger, others)).size(), 1U) << "another Agent has limits of its own";
  // Ended sessions make room, the rate stays.
  now += Signaling::kExpiry;
  registry.tick(now);
  EXPECT_EQ(live(), 0U);
  std::size_t opened = 0;
  for (std::uint8_t n = 0; n < 255; ++n) {
    opened += of<wire::CandidateOffer>(say(a, offer(n))).size();
    say(a, wire::SignalingError{session_id(n), Code::expired, ""});
  }
  EXPECT_EQ(opened, Signaling::kStartBurst);
  now += 1s;
  opened = 0;
  for (std::uint8_t n = 0; n < 255; ++n) opened += of<wire::CandidateOffer>(say(a, offer(n))).size();
  EXPECT_EQ(opened, Signaling::kStartsPerSecond);
}

TEST_F(SignalingTest, RefusesSessionsBeyondThoseOfAllAgents) {
  Registry tight{{.signaling = {.sessions = 1}}, pools, routes, random};
  const SessionRef cs{0, 100}, as{0, 101};
  tight.client_up(cs, identity(identity::Role::connector, "c1", {"web"}), instance(1), path(1), now);
  tight.client_up(as, identity(identity::Role::agent, "laptop", {"web"}), instance(1), path(2), now);
  ASSERT_TRUE(tight.message(cs, wire::RegisterConnector{"web", 0, {}}, now));
  ASSERT_TRUE(tight.message(as, wire::RouteRequest{wire::TunnelId{{3}}, "web"}, now));
  auto m = offer(1);
  m.tunnel = wire::TunnelId{{3}};
  ASSERT_TRUE(tight.message(as, m, now));
  m.session = session_id(2);
  ASSERT_TRUE(tight.message(as, m, now));
  EXPECT_EQ(tight.signaling_counters().refusals.value(SignalingRefusal::limit), 1U);
  EXPECT_EQ(tight.signaling_counters().sessions.value(), 1U);
}

TEST_F(SignalingTest, RefusesOffersToAConnectorThatIsAway) {
  registry.client_down(c.session, now);
  EXPECT_EQ(only_error(say(a, offer(1)), a), Code::peer_gone);
}

TEST_F(SignalingTest, ExpiresWithoutProgress) {
  say(a, offer(1));
  now += Signaling::kExpiry - 1ms;
  EXPECT_TRUE(of<wire::SignalingError>(registry.tick(now)).empty());
  say(c, answer(1));  // progress
  now += Signaling::kExpiry - 1ms;
  EXPECT_TRUE(of<wire::SignalingError>(registry.tick(now)).empty());
  now += 1ms;
  const auto told = of<wire::SignalingError>(registry.tick(now));
  ASSERT_EQ(told.size(), 2U);
  for (const auto& [to, error] : told) EXPECT_EQ(error.code, Code::expired);
  EXPECT_NE(told[0].first, told[1].first);
  EXPECT_EQ(ended(SignalingEnd::expired), 1U);
  EXPECT_EQ(of<wire::CandidateOffer>(say(a, offer(2))).size(), 1U) << "a new one may follow";
}

TEST_F(SignalingTest, AMessageThatComesTooLateFindsTheSessionExpired) {
  say(a, offer(1));
  now += Signaling::kExpiry;
  const auto late = say(c, answer(1));  // before the tick
  EXPECT_TRUE(of<wire::CandidateAnswer>(late).empty());
  const auto told = of<wire::SignalingError>(late);
  ASSERT_EQ(told.size(), 2U);
  for (const auto& [to, error] : told) EXPECT_EQ(error.code, Code::expired);
  EXPECT_EQ(live(), 0U);
}

TEST_F(SignalingTest, EndsWithEitherControlConnection) {
  say(a, offer(1));
  EXPECT_EQ(only_error(of_errors(registry.client_down(c.session, now)), a), Code::peer_gone);
  c = connector();
  say(c, wire::RegisterConnector{"web", 0, {}});
  say(a, offer(2));
  const auto again = agent();  // the same Agent on a new connection
  EXPECT_EQ(only_error(of_errors(again.actions), c), Code::peer_gone);
  EXPECT_EQ(ended(SignalingEnd::peer_gone), 2U);
  EXPECT_EQ(only_error(say(c, answer(2)), c), Code::unknown_session);
}

TEST_F(SignalingTest, EndsWithTheRoute) {
  say(a, offer(1));
  const auto closed = say(c, wire::RouteClosed{kTunnel, wire::RouteCloseReason::asked_for});
  EXPECT_EQ(of<wire::SignalingError>(closed).size(), 2U);
  EXPECT_EQ(ended(SignalingEnd::route_closed), 1U);
  EXPECT_EQ(only_error(say(a, offer(1)), a), Code::not_yours);
}

TEST_F(SignalingTest, SurvivesAPathChange) {
  say(a, offer(1));
  registry.client_moved(a.session, path(7777));
  registry.client_moved(c.session, path(7778));
  EXPECT_EQ(of<wire::CandidateAnswer>(say(c, answer(1))).size(), 1U);
  EXPECT_EQ(live(), 1U);
}

TEST_F(SignalingTest, CarriesListsAndStartsBothAtTheSameMoment) {
  const auto first = say_from(a, offer(1), 20ms);
  ASSERT_EQ(first.deliveries.size(), 1U);
  EXPECT_EQ(first.deliveries[0].to, c.session);
  EXPECT_EQ(std::get<wire::CandidateOffer>(first.deliveries[0].message), offer(1));
  EXPECT_TRUE(of<wire::StartPunching>(say_from(a, offer(1, {}), 20ms)).empty()) << "the Connector has not answered";

  const auto second = say_from(c, answer(1), 100ms);
  const auto answers = of<wire::CandidateAnswer>(second);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0], std::pair(a.session, answer(1)));
  const auto starts = of<wire::StartPunching>(second);
  ASSERT_EQ(starts.size(), 2U);
  for (const auto& [to, start] : starts) {
    EXPECT_EQ(start.session, session_id(1));
    EXPECT_EQ(start.delay_ms, to == a.session ? 40 : 0);  // 20/2 + 40 == 100/2
  }
  EXPECT_NE(starts[0].first, starts[1].first);

  // Trickled: passed on, and nothing starts twice.
  EXPECT_EQ(say(c, answer(1)).deliveries.size(), 1U);
  EXPECT_EQ(say(a, offer(1)).deliveries.size(), 1U);
  EXPECT_EQ(registry.signaling_counters().sessions.value(), 1U);
}

TEST_F(SignalingTest, DelaysAreBoundedAndNeedBothRoundTrips) {
  const auto delays = [&](std::uint8_t n, Duration of_agent, Duration of_connector) {
    say_from(a, offer(n), of_agent);
    std::pair<int, int> found{-1, -1};
    for (const auto& [to, start] : of<wire::StartPunching>(say_from(c, answer(n), of_connector))) {
      (to == a.session ? found.first : found.second) = start.delay_ms;
    }
    return found;
  };
  EXPECT_EQ(delays(1, 100ms, 20ms), std::pair(0, 40));
  EXPECT_EQ(delays(2, 30ms, 30ms), std::pair(0, 0));
  EXPECT_EQ(delays(3, 1ms, 3600s), std::pair(1000, 0));
  EXPECT_EQ(delays(4, 0s, 100ms), std::pair(0, 0));
  EXPECT_EQ(delays(5, 100ms, 0s), std::pair(0, 0));
}

TEST_F(SignalingTest, EndsWhenBothResultsAreIn) {
  say(a, offer(1));
  say(c, answer(1));
  const auto first = of<wire::PunchingResult>(say(c, failed(1)));
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0], std::pair(a.session, failed(1)));
  EXPECT_EQ(only_error(say(c, failed(1)), c), Code::unknown_session) << "one result each";
  EXPECT_EQ(of<wire::CandidateOffer>(say(a, offer(1))).size(), 1U) << "the other side still may";
  EXPECT_EQ(live(), 1U);
  const auto second = of<wire::PunchingResult>(say(a, reached(1)));
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].first, c.session);
  EXPECT_EQ(live(), 0U);
  EXPECT_EQ(ended(SignalingEnd::reached), 1U);
  say(a, offer(2));
  say(a, failed(2));
  say(c, failed(2));
  EXPECT_EQ(ended(SignalingEnd::failed), 1U);
}

TEST_F(SignalingTest, AnErrorOfOneEndEndsTheSessionForTheOther) {
  say(a, offer(1));
  const auto told = of<wire::SignalingError>(say(c, wire::SignalingError{session_id(1), Code::limit, "full\n\x1b[2J"}));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].first, a.session);
  EXPECT_EQ(told[0].second.code, Code::limit);
  EXPECT_EQ(told[0].second.text.find('\x1b'), std::string::npos) << told[0].second.text;
  EXPECT_EQ(ended(SignalingEnd::given_up), 1U);
  EXPECT_EQ(live(), 0U);
}

TEST_F(SignalingTest, PathReportsGoOnlyToTheOtherEnd) {
  const wire::PathReport report{kTunnel, wire::PathKind::direct, true};
  EXPECT_TRUE(say(stranger, report).deliveries.empty());
  EXPECT_TRUE(say(a, wire::PathReport{wire::TunnelId{{99}}, wire::PathKind::direct, true}).deliveries.empty());
  EXPECT_FALSE(registry.last_path_report(kTunnel));
  const auto& counts = registry.counters().path_reports;
  EXPECT_EQ(counts.value(PathReportEnd::not_yours), 1U);
  EXPECT_EQ(counts.value(PathReportEnd::no_route), 1U);

  const auto sent = of<wire::PathReport>(say(a, report));
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0], std::pair(c.session, report));
  EXPECT_EQ(registry.last_path_report(kTunnel), report);
  EXPECT_EQ(registry.counters().direct.value(), 1U);
  say(a, wire::RouteRequest{kTunnel, "web"});  // the route is opened again, the tunnel is the same
  EXPECT_EQ(registry.last_path_report(kTunnel), report);
  EXPECT_EQ(registry.counters().direct.value(), 1U);
  const auto back = of<wire::PathReport>(say(c, wire::PathReport{kTunnel, wire::PathKind::direct, false}));
  ASSERT_EQ(back.size(), 1U);
  EXPECT_EQ(back[0].first, a.session);
  EXPECT_EQ(registry.counters().direct.value(), 0U);
  EXPECT_EQ(counts.value(PathReportEnd::forwarded), 2U);

  registry.client_down(c.session, now);
  EXPECT_TRUE(say(a, report).deliveries.empty());
  EXPECT_EQ(counts.value(PathReportEnd::peer_away), 1U);
  EXPECT_EQ(registry.counters().direct.value(), 1U);
  say(a, wire::RouteClosed{kTunnel, wire::RouteCloseReason::asked_for});
  EXPECT_FALSE(registry.last_path_report(kTunnel));
  EXPECT_EQ(registry.counters().direct.value(), 0U);
}

}  // namespace
}  // namespace ztna::intermediate
