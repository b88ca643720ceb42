#include "intermediate/registry.h"

#include <gtest/gtest.h>

#include "unit/intermediate/registry_fixture.h"

namespace ztna::intermediate {
namespace {

using testing::ip;
using testing::RegistryTest;
using testing::sid;
using Status = wire::RegistrationStatus;

TEST_F(RegistryTest, RefusesRegistrationsThatTheCertificateDoesNotPermit) {
  const auto c = connector();
  const auto a = agent();
  EXPECT_EQ(nack(say(c, wire::RegisterConnector{"db", 0, {}})), Status::not_permitted);
  EXPECT_EQ(nack(say(a, wire::RegisterAgent{"db"})), Status::not_permitted);
  EXPECT_EQ(nack(say(a, wire::RegisterConnector{"web", 0, {}})), Status::wrong_role);
  EXPECT_EQ(nack(say(c, wire::RegisterAgent{"web"})), Status::wrong_role);
  for (const auto* bad : {"", "UPPER", "a..b", "-a", "a_b", "*"}) {
    EXPECT_EQ(nack(say(c, wire::RegisterConnector{bad, 0, {}})), Status::bad_service_id) << bad;
  }
  EXPECT_EQ(registry.counters().registrations.value(), 0U);
  EXPECT_EQ(registry.counters().registration_rejections.value(), 10U);
  EXPECT_EQ(registry.counters().services.value(), 0U);
}

TEST_F(RegistryTest, RefusesTakenAddressesAndTooMany) {
  const auto c = connector({"*"});
  say(c, wire::RegisterConnector{"a", 0, {ip("10.100.0.1")}});
  EXPECT_EQ(nack(say(c, wire::RegisterConnector{"b", 0, {ip("10.100.0.1")}})), Status::address_conflict);
  EXPECT_EQ(nack(say(c, wire::RegisterConnector{"b", 0, {ip("10.100.0.254")}})), Status::address_conflict);
  say(c, wire::RegisterConnector{"b", 0, {}});
  say(c, wire::RegisterConnector{"c", 0, {}});
  EXPECT_EQ(nack(say(c, wire::RegisterConnector{"d", 0, {}})), Status::limit);
  EXPECT_EQ(of<wire::RegistrationAck>(say(c, wire::RegisterConnector{"a", 0, {}})).size(), 1U);  // again is no new one
}

TEST_F(RegistryTest, RefusesRoutesWithoutPolicyServiceOrOwnership) {
  const auto c = connector({"web", "db"});
  say(c, wire::RegisterConnector{"web", 0, {}});
  say(c, wire::RegisterConnector{"db", 0, {}});
  const auto a = agent({"web", "ghost"});
  const auto why = [&](const Peer& p, const wire::TunnelId& t, const std::string& service) {
    const auto closed = of<wire::RouteClosed>(say(p, wire::RouteRequest{t, service}));
    return closed.size() == 1 ? closed[0].second.reason : wire::RouteCloseReason::asked_for;
  };
  const wire::TunnelId t{{1}};
  EXPECT_EQ(why(a, t, "db"), wire::RouteCloseReason::not_permitted);
  EXPECT_EQ(why(a, t, "ghost"), wire::RouteCloseReason::no_such_service);
  EXPECT_EQ(why(a, t, "BAD ID"), wire::RouteCloseReason::no_such_service);
  EXPECT_FALSE(registry.message(c.session, wire::RouteRequest{t, "web"}, now));  // only Agents ask

  say(a, wire::RouteRequest{t, "web"});
  EXPECT_EQ(routes.size(), 1U);
  const auto thief = join(identity::Role::agent, "thief", {"web"});
  EXPECT_EQ(why(thief, t, "web"), wire::RouteCloseReason::unknown_tunnel);
  say(thief, wire::RouteClosed{t, wire::RouteCloseReason::asked_for});
  EXPECT_EQ(routes.size(), 1U);
  EXPECT_TRUE(of<wire::PathReport>(say(thief, wire::PathReport{t, wire::PathKind::relay, true})).empty());
  EXPECT_EQ(registry.counters().rejections.value(Rejection::not_yours), 2U);
  EXPECT_EQ(registry.counters().path_reports.value(PathReportEnd::not_yours), 1U);

  say(a, wire::RouteRequest{wire::TunnelId{{2}}, "web"});
  EXPECT_EQ(why(a, wire::TunnelId{{3}}, "web"), wire::RouteCloseReason::limit);
}

TEST_F(RegistryTest, RefusesMessagesThatOnlyAnIntermediateSends) {
  const auto a = agent();
  EXPECT_FALSE(registry.message(a.session, wire::Drain{1}, now));
  EXPECT_FALSE(registry.message(a.session, wire::ServiceUp{sid("web"), {}}, now));
  EXPECT_FALSE(registry.message(a.session, wire::Hello{}, now));
  EXPECT_FALSE(registry.message(a.session, wire::ProbePort{1}, now));
  EXPECT_FALSE(registry.message(a.session, wire::StartPunching{}, now));
}

TEST_F(RegistryTest, OpensARouteForBothSides) {
  const auto c = join(identity::Role::connector, "c1", {"web"}, 7, 3);
  const auto ack = of<wire::RegistrationAck>(say(c, wire::RegisterConnector{"web", 0, {ip("10.100.0.9")}}));
  ASSERT_EQ(ack.size(), 1U);
  EXPECT_EQ(ack[0].second.virtual_ips, wire::VirtualIps{ip("10.100.0.9")});
  const auto a = join(identity::Role::agent, "laptop", {"web"}, 8, 5);
  EXPECT_EQ(of<wire::RegistrationAck>(say(a, wire::RegisterAgent{"web"}))[0].second.virtual_ips,
            wire::VirtualIps{ip("10.100.0.9")});
  const auto opened = of<wire::RouteOpened>(say(a, wire::RouteRequest{wire::TunnelId{{1}}, "web"}));
  ASSERT_EQ(opened.size(), 2U);
  EXPECT_EQ(opened[0].first, c.session);
  EXPECT_EQ(opened[0].second.peer_role, wire::Role::agent);
  EXPECT_EQ(opened[0].second.peer_instance, instance(8));
  EXPECT_EQ(worker_of(opened[0].second.route), 3);
  EXPECT_EQ(opened[1].first, a.session);
  EXPECT_EQ(opened[1].second.peer_name, "c1");
  EXPECT_EQ(worker_of(opened[1].second.route), 5);
  const RouteTable::Reader reader{routes};
  const auto* end = reader.find(opened[1].second.route);
  ASSERT_NE(end, nullptr);
  EXPECT_EQ(end->peer->id, opened[0].second.route);
}

TEST_F(RegistryTest, TellsAgentsOfServicesThatComeAndGo) {
  const auto all = join(identity::Role::agent, "all", {"*"});
  const auto one = agent({"web"});
  const auto other = join(identity::Role::agent, "other", {"db"});
  say(all, wire::RegisterAgent{"*"});
  say(one, wire::RegisterAgent{"web"});
  say(other, wire::RegisterAgent{"*"});
  const auto c = connector();
  const auto up = of<wire::ServiceUp>(say(c, wire::RegisterConnector{"web", 0, {}}));
  ASSERT_EQ(up.size(), 2U);
  const auto late = join(identity::Role::agent, "late", {"*"});
  const auto catalog = of<wire::Catalog>(say(late, wire::RegisterAgent{"*"}));
  ASSERT_EQ(catalog.size(), 1U);
  ASSERT_EQ(catalog[0].second.entries.size(), 1U);
  EXPECT_EQ(catalog[0].second.entries[0].service, sid("web"));
  EXPECT_EQ(of<wire::ServiceDown>(registry.client_down(c.session, now)).size(), 3U);
  EXPECT_EQ(registry.counters().services.value(), 0U);
}

TEST_F(RegistryTest, TheNewestConnectionOfAnIdentityReplacesTheOlder) {
  const auto c = connector();
  say(c, wire::RegisterConnector{"web", 0, {}});
  const auto a = agent();
  const auto opened = of<wire::RouteOpened>(say(a, wire::RouteRequest{wire::TunnelId{{1}}, "web"}));
  const auto again = connector();  // the same run of the program: a reconnect
  ASSERT_EQ(again.actions.kicks.size(), 1U);
  EXPECT_EQ(again.actions.kicks[0].session, c.session);
  EXPECT_TRUE(again.actions.deliveries.empty());
  EXPECT_EQ(registry.client_down(c.session, now).deliveries.size(), 0U);
  {
    const RouteTable::Reader reader{routes};
    const auto* end = reader.find(opened[0].second.route);
    ASSERT_NE(end, nullptr) << "the route lives on";
    EXPECT_EQ(end->owner, path(static_cast<std::uint16_t>(1000 + again.session.id)));
  }
  EXPECT_EQ(registry.counters().clients.value(), 2U);
}

TEST_F(RegistryTest, ARestartedConnectorLosesItsRoutesAndKeepsItsServicesForAMoment) {
  const auto c = connector();
  say(c, wire::RegisterConnector{"web", 0, {}});
  const auto a = agent();
  say(a, wire::RegisterAgent{"web"});
  const wire::TunnelId tunnel{{1}};
  say(a, wire::RouteRequest{tunnel, "web"});
  const auto restarted = join(identity::Role::connector, "c1", {"web"}, 2);
  const auto closed = of<wire::RouteClosed>(restarted.actions);
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_EQ(closed[0].first, a.session);
  EXPECT_EQ(closed[0].second.reason, wire::RouteCloseReason::peer_gone);
  EXPECT_TRUE(of<wire::ServiceDown>(restarted.actions).empty());
  EXPECT_EQ(routes.size(), 0U);
  // Not registered yet: no route, and when it is, the Agent hears of it.
  EXPECT_EQ(of<wire::RouteClosed>(say(a, wire::RouteRequest{tunnel, "web"})).size(), 1U);
  const auto up = of<wire::ServiceUp>(say(restarted, wire::RegisterConnector{"web", 0, {}}));
  EXPECT_EQ(up.size(), 1U);
  EXPECT_EQ(of<wire::RouteOpened>(say(a, wire::RouteRequest{tunnel, "web"})).size(), 2U);
}

TEST_F(RegistryTest, AServiceNotRegisteredAgainAfterARestartIsWithdrawn) {
  const auto c = connector();
  say(c, wire::RegisterConnector{"web", 0, {}});
  const auto a = agent();
  say(a, wire::RegisterAgent{"web"});
  join(identity::Role::connector, "c1", {"web"}, 2);
  now += Registry::kStaleServices - 1ms;
  EXPECT_TRUE(registry.tick(now).deliveries.empty());
  now += 1ms;
  EXPECT_EQ(of<wire::ServiceDown>(registry.tick(now)).size(), 1U);
}

TEST_F(RegistryTest, ARouteOutlivesALostControlConnectionForAWhile) {
  const auto c = connector();
  say(c, wire::RegisterConnector{"web", 0, {}});
  const auto a = agent();
  const wire::TunnelId tunnel{{1}};
  say(a, wire::RouteRequest{tunnel, "web"});
  registry.client_down(a.session, now);
  now += Registry::kRouteGrace - 1ms;
  registry.tick(now);
  EXPECT_EQ(routes.size(), 1U);
  const auto back = agent();
  const auto reopened = of<wire::RouteOpened>(say(back, wire::RouteRequest{tunnel, "web"}));
  EXPECT_EQ(reopened.size(), 2U);
  EXPECT_EQ(routes.size(), 1U);
  registry.client_down(back.session, now);
  now += Registry::kRouteGrace;
  const auto closed = of<wire::RouteClosed>(registry.tick(now));
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_EQ(closed[0].first, c.session);
  EXPECT_EQ(routes.size(), 0U);
}

TEST_F(RegistryTest, AReopenedRouteTellsNobodyThatTheOldOneClosed) {
  const auto c = connector();
  say(c, wire::RegisterConnector{"web", 0, {}});
  const auto a = agent();
  const wire::TunnelId tunnel{{1}};
  const auto first = of<wire::RouteOpened>(say(a, wire::RouteRequest{tunnel, "web"}));
  const auto again = say(a, wire::RouteRequest{tunnel, "web"});
  EXPECT_TRUE(of<wire::RouteClosed>(again).empty());
  const auto second = of<wire::RouteOpened>(again);
  ASSERT_EQ(second.size(), 2U);
  EXPECT_NE(second[0].second.route, first[0].second.route);
}

TEST_F(RegistryTest, ARestartedIntermediateWaitsForTheConnectorThatHoldsTheTunnel) {
  const auto other = join(identity::Role::connector, "c2", {"web"});
  say(other, wire::RegisterConnector{"web", 0, {}});
  const auto a = agent();
  const wire::RouteRequest request{wire::TunnelId{{1}}, "web", "c1"};
  const auto early = of<wire::RouteClosed>(say(a, request));
  ASSERT_EQ(early.size(), 1U);
  EXPECT_EQ(early[0].second.reason, wire::RouteCloseReason::peer_gone);
  const auto c = connector();
  say(c, wire::RegisterConnector{"web", 0, {}});
  const auto opened = of<wire::RouteOpened>(say(a, request));
  ASSERT_EQ(opened.size(), 2U);
  EXPECT_EQ(opened[1].second.peer_name, "c1");
}

TEST_F(RegistryTest, AnotherConnectorServesWhenTheHolderStaysAway) {
  const auto other = join(identity::Role::connector, "c2", {"web"});
  say(other, wire::RegisterConnector{"web", 0, {}});
  const auto a = agent();
  now += Registry::kRestartGrace;
  const auto opened = of<wire::RouteOpened>(say(a, wire::RouteRequest{wire::TunnelId{{1}}, "web", "c1"}));
  ASSERT_EQ(opened.size(), 2U);
  EXPECT_EQ(opened[1].second.peer_name, "c2");
}

TEST_F(RegistryTest, RefusesRegistrationsWhileDraining) {
  const auto c = connector();
  const auto drained = of<wire::Drain>(registry.drain(3s));
  ASSERT_EQ(drained.size(), 1U);
  EXPECT_EQ(drained[0].second.close_in_ms, 3000U);
  EXPECT_EQ(nack(say(c, wire::RegisterConnector{"web", 0, {}})), Status::draining);
}

TEST_F(RegistryTest, ARenewedCertificateWithFewerRightsEndsServices) {
  const auto c = connector({"web", "db"});
  say(c, wire::RegisterConnector{"web", 0, {}});
  say(c, wire::RegisterConnector{"db", 0, {}});
  const auto a = agent({"*"});
  say(a, wire::RegisterAgent{"*"});
  const auto fewer = connector({"web"});
  const auto down = of<wire::ServiceDown>(fewer.actions);
  ASSERT_EQ(down.size(), 1U);
  EXPECT_EQ(down[0].second.service, sid("db"));
}

TEST_F(RegistryTest, RefusesRoutesToConnectorsThatAreFull) {
  const auto c = connector();
  say(c, wire::RegisterConnector{"web", 0, {}});
  const auto first = agent();
  for (const std::uint8_t t : {std::uint8_t{1}, std::uint8_t{2}})
    say(first, wire::RouteRequest{wire::TunnelId{{t}}, "web"});
  const auto second = join(identity::Role::agent, "second", {"web"});
  say(second, wire::RouteRequest{wire::TunnelId{{3}}, "web"});
  const auto third = join(identity::Role::agent, "third", {"web"});
  const auto closed = of<wire::RouteClosed>(say(third, wire::RouteRequest{wire::TunnelId{{4}}, "web"}));
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_EQ(closed[0].second.reason, wire::RouteCloseReason::limit);
  // A tunnel that has its place keeps it.
  EXPECT_EQ(of<wire::RouteOpened>(say(second, wire::RouteRequest{wire::TunnelId{{3}}, "web"})).size(), 2U);
  const auto other = join(identity::Role::connector, "c2", {"web"});
  say(other, wire::RegisterConnector{"web", 0, {}});
  EXPECT_EQ(of<wire::RouteOpened>(say(third, wire::RouteRequest{wire::TunnelId{{4}}, "web"})).size(), 2U);
}

TEST_F(RegistryTest, OneAgentCannotFillAConnector) {
  Registry tight{{.routes_per_agent = 100, .routes_per_pair = 2}, pools, routes, random};
  const SessionRef c{0, 100};
  const SessionRef a{0, 101};
  tight.client_up(c, identity(identity::Role::connector, "c1", {"web"}), instance(1), path(1), now);
  tight.client_up(a, identity(identity::Role::agent, "laptop", {"web"}), instance(1), path(2), now);
  ASSERT_TRUE(tight.message(c, wire::RegisterConnector{"web", 0, {}}, now));
  for (std::uint8_t t = 1; t <= 5; ++t)
    ASSERT_TRUE(tight.message(a, wire::RouteRequest{wire::TunnelId{{t}}, "web"}, now));
  EXPECT_EQ(tight.counters().routes_opened.value(), 2U);
  EXPECT_EQ(tight.counters().rejections.value(Rejection::limit), 3U);
}

TEST_F(RegistryTest, SendsACatalogNotMoreOftenThanItMay) {
  const auto c = connector();
  say(c, wire::RegisterConnector{"web", 0, {}});
  const auto a = agent({"*"});
  EXPECT_EQ(of<wire::Catalog>(say(a, wire::RegisterAgent{"*"})).size(), 1U);
  for (int i = 0; i < 5; ++i) {
    const auto again = say(a, wire::RegisterAgent{"*"});
    EXPECT_EQ(of<wire::RegistrationAck>(again).size(), 1U);
    EXPECT_EQ(of<wire::Catalog>(again).size(), 0U);
  }
  EXPECT_EQ(of<wire::Catalog>(registry.tick(now)).size(), 0U);
  now += Registry::kCatalogEvery;
  EXPECT_EQ(of<wire::Catalog>(registry.tick(now)).size(), 1U);
  EXPECT_EQ(of<wire::Catalog>(registry.tick(now + 10s)).size(), 0U);
  const auto reconnected = agent({"*"});
  EXPECT_EQ(of<wire::Catalog>(say(reconnected, wire::RegisterAgent{"*"})).size(), 1U);
}

TEST_F(RegistryTest, AReconnectedConnectorServesOnAndLosesOnlyWhatItDoesNotRegisterAgain) {
  const auto c = connector({"web", "db"});
  say(c, wire::RegisterConnector{"web", 0, {}});
  say(c, wire::RegisterConnector{"db", 0, {}});
  const auto a = agent({"web", "db"});
  for (const auto* service : {"web", "db"}) say(a, wire::RegisterAgent{service});
  const auto again = connector({"web", "db"});  // the close of the old connection was lost
  EXPECT_TRUE(of<wire::ServiceDown>(again.actions).empty());
  EXPECT_EQ(of<wire::RouteOpened>(say(a, wire::RouteRequest{wire::TunnelId{{1}}, "web"})).size(), 2U);
  EXPECT_TRUE(of<wire::ServiceUp>(say(again, wire::RegisterConnector{"web", 0, {}})).empty());
  now += Registry::kStaleServices;
  const auto down = of<wire::ServiceDown>(registry.tick(now));
  ASSERT_EQ(down.size(), 1U);
  EXPECT_EQ(down[0].second.service, sid("db"));
}

TEST_F(RegistryTest, AReconnectDoesNotBringBackWhatARestartLost) {
  const auto c = connector();
  say(c, wire::RegisterConnector{"web", 0, {}});
  const auto a = agent();
  join(identity::Role::connector, "c1", {"web"}, 2);
  join(identity::Role::connector, "c1", {"web"}, 2);
  EXPECT_EQ(of<wire::RouteClosed>(say(a, wire::RouteRequest{wire::TunnelId{{1}}, "web"})).size(), 1U);
}

TEST_F(RegistryTest, ARenewedCertificateWithFewerRightsEndsRoutesAndInterest) {
  const auto c = connector({"web", "db"});
  say(c, wire::RegisterConnector{"web", 0, {}});
  const auto a = agent({"web", "db"});
  say(a, wire::RegisterAgent{"web"});
  say(a, wire::RegisterAgent{"db"});
  say(a, wire::RouteRequest{wire::TunnelId{{1}}, "web"});
  const auto fewer = agent({"db"});
  const auto closed = of<wire::RouteClosed>(fewer.actions);
  ASSERT_EQ(closed.size(), 2U);
  for (const auto& [to, message] : closed) EXPECT_EQ(message.reason, wire::RouteCloseReason::not_permitted);
  EXPECT_EQ(routes.size(), 0U);
  EXPECT_TRUE(of<wire::ServiceDown>(registry.client_down(c.session, now)).empty());  // "web" is not its business
  const auto back = connector({"web", "db"});
  EXPECT_TRUE(of<wire::ServiceUp>(say(back, wire::RegisterConnector{"web", 0, {}})).empty());
  EXPECT_EQ(of<wire::ServiceUp>(say(back, wire::RegisterConnector{"db", 0, {}})).size(), 1U);
}

}  // namespace
}  // namespace ztna::intermediate
