// A registry with clients that only say things.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "intermediate/registry.h"
#include "support/seeded_random.h"
#include "unit/intermediate/addresses.h"

namespace ztna::intermediate::testing {

inline wire::ServiceId sid(const std::string& text) { return *wire::ServiceId::parse(text); }

struct RegistryTest : ::testing::Test {
  test::SeededRandom random{1};
  RouteTable routes;
  std::vector<Pool> pools{{*Prefix::parse("10.100.0.0/24"), {ip("10.100.0.254"), ip("10.100.0.253")}}};
  Registry registry{{.registrations_per_client = 3,
                     .routes_per_agent = 2,
                     .routes_per_pair = 2,
                     .routes_per_connector = 3,
                     .services = 100},
                    pools,
                    routes,
                    random};
  TimePoint now{};
  std::uint64_t next_session = 1;

  static identity::Identity identity(identity::Role role, const std::string& name, std::vector<std::string> services) {
    identity::Identity i;
    i.role = role;
    i.trust_domain = "test";
    i.name = name;
    for (const auto& s : services) {
      if (s == "*")
        i.all_services = true;
      else
        i.services.push_back(sid(s));
    }
    std::ranges::sort(i.services);  // as Identity keeps them
    return i;
  }
  static quic::Path path(std::uint16_t port) {
    return {*SocketAddress::parse("198.18.3.2:4433"), {ip("198.18.1.2"), port}};
  }
  static wire::InstanceId instance(std::uint8_t n) { return wire::InstanceId{{n}}; }

  struct Peer {
    SessionRef session;
    Actions actions;
  };
  Peer join(identity::Role role, const std::string& name, std::vector<std::string> services, std::uint8_t run = 1,
            std::uint8_t worker = 0) {
    Peer p;
    p.session = {worker, next_session++};
    const auto port = static_cast<std::uint16_t>(1000 + p.session.id);
    p.actions =
        registry.client_up(p.session, identity(role, name, std::move(services)), instance(run), path(port), now);
    return p;
  }
  Actions say(const Peer& p, const wire::ControlMessage& m) {
    auto actions = registry.message(p.session, m, now);
    EXPECT_TRUE(actions) << (actions ? "" : actions.error().text);
    return actions ? *actions : Actions{};
  }
  template <typename M>
  static std::vector<std::pair<SessionRef, M>> of(const Actions& actions) {
    std::vector<std::pair<SessionRef, M>> found;
    for (const auto& d : actions.deliveries) {
      if (const auto* m = std::get_if<M>(&d.message)) found.emplace_back(d.to, *m);
    }
    return found;
  }
  wire::RegistrationStatus nack(const Actions& actions) {
    const auto nacks = of<wire::RegistrationNack>(actions);
    EXPECT_EQ(nacks.size(), 1U);
    return nacks.empty() ? wire::RegistrationStatus::ok : nacks[0].second.status;
  }
  Peer agent(std::vector<std::string> services = {"web"}) { return join(identity::Role::agent, "laptop", services); }
  Peer connector(std::vector<std::string> services = {"web"}) {
    return join(identity::Role::connector, "c1", services);
  }
};

}  // namespace ztna::intermediate::testing
