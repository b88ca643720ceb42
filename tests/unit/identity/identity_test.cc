// Who may be whom: refusals first, then what exactly a name permits.
#include "identity/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "unit/identity/test_certificate.h"

namespace ztna::identity {
namespace {

using namespace test;
using namespace std::string_literals;

const std::string kAgentUri = "spiffe://ztna.internal/agent/laptop-1";
const std::string kIntermediateUri = "spiffe://ztna.internal/intermediate/i1";

IdentityResult read(const Shape& shape, Purpose purpose = Purpose::client) {
  return Identity::from_leaf(make(shape), kNow, purpose);
}
IdentityResult read(std::vector<Name> names) {
  return Identity::from_leaf(make(std::move(names)), kNow, Purpose::client);
}

struct Refusal {
  const char* what;
  std::vector<Name> names;
  IdentityFault fault;
};

TEST(IdentityRefusal, Names) {
  const std::string long_service =
      std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + ".ddddddddd";  // 201 octets
  ASSERT_EQ(long_service.size(), 201U);
  const auto agent = uri(kAgentUri);
  const auto web = dns("agent.web.ztna");
  const std::vector<Refusal> table = {
      {"no SAN", {}, IdentityFault::no_names},
      {"only DNS", {web}, IdentityFault::no_uri},
      {"only an address", {ip({192, 0, 2, 1})}, IdentityFault::no_uri},
      {"only a URI", {agent}, IdentityFault::no_service},
      {"URI and ordinary host", {agent, dns("host.example.com")}, IdentityFault::no_service},
      {"URI and address", {agent, ip({192, 0, 2, 1})}, IdentityFault::no_service},
      {"intermediate without host", {uri(kIntermediateUri)}, IdentityFault::no_host},
      {"two URIs", {agent, uri("spiffe://ztna.internal/agent/other"), web}, IdentityFault::several_uris},
      {"the same URI twice", {agent, agent, web}, IdentityFault::several_uris},
      {"a web address beside the URI", {agent, uri("https://example.com/"), web}, IdentityFault::several_uris},
      {"agent URI, connector DNS", {agent, dns("connector.web.ztna")}, IdentityFault::role_mismatch},
      {"intermediate URI, agent DNS", {uri(kIntermediateUri), web}, IdentityFault::role_mismatch},
      {"intermediate URI, host, agent DNS",
       {uri(kIntermediateUri), dns("i.example"), web},
       IdentityFault::role_mismatch},
      {"two roles", {agent, web, dns("connector.web.ztna")}, IdentityFault::several_roles},
      {"part wildcard behind", {agent, dns("agent.w*.ztna")}, IdentityFault::wildcard},
      {"part wildcard before", {agent, dns("agent.*b.ztna")}, IdentityFault::wildcard},
      {"wildcard label of an id", {agent, dns("agent.*.eu.ztna")}, IdentityFault::wildcard},
      {"wildcard label at the end", {agent, dns("agent.db.*.ztna")}, IdentityFault::wildcard},
      {"two stars", {agent, dns("agent.**.ztna")}, IdentityFault::wildcard},
      {"star for the role", {agent, dns("*.web.ztna")}, IdentityFault::wildcard},
      {"star for role and service", {agent, dns("*.ztna")}, IdentityFault::wildcard},
      {"star alone", {agent, web, dns("*")}, IdentityFault::wildcard},
      {"wildcard host", {uri(kIntermediateUri), dns("*.example.com")}, IdentityFault::wildcard},
      {"a bad name beside a good one", {agent, web, dns("agent.w*.ztna")}, IdentityFault::wildcard},
      {"trailing dot", {agent, dns("agent.web.ztna.")}, IdentityFault::bad_dns_name},
      {"leading dot", {agent, dns(".agent.web.ztna")}, IdentityFault::unknown_role},
      {"empty label", {agent, dns("agent..ztna")}, IdentityFault::bad_dns_name},
      {"empty label in the id", {agent, dns("agent.db..eu.ztna")}, IdentityFault::bad_dns_name},
      {"no service", {agent, dns("agent.ztna")}, IdentityFault::bad_dns_name},
      {"hyphen at an end", {agent, dns("agent.-web.ztna")}, IdentityFault::bad_dns_name},
      {"underscore in an id", {agent, dns("agent.my_db.ztna")}, IdentityFault::bad_dns_name},
      {"slash in a host", {agent, web, dns("a/b")}, IdentityFault::bad_dns_name},
      {"unknown role", {agent, dns("admin.web.ztna")}, IdentityFault::unknown_role},
      {"intermediate as a DNS role", {uri(kIntermediateUri), dns("intermediate.x.ztna")}, IdentityFault::unknown_role},
      {"NUL behind", {agent, dns("agent.web.ztna\0.example.com"s)}, IdentityFault::embedded_nul},
      {"NUL inside", {agent, dns("agent.we\0b.ztna"s)}, IdentityFault::embedded_nul},
      {"NUL in a second name", {agent, web, dns("\0"s)}, IdentityFault::embedded_nul},
      {"NUL in the URI", {uri(kAgentUri + "\0x"s), web}, IdentityFault::embedded_nul},
      {"UTF-8", {agent, dns("agent.caf\xc3\xa9.ztna")}, IdentityFault::not_ascii},
      {"Latin-1", {agent, dns("agent.caf\xe9.ztna")}, IdentityFault::not_ascii},
      {"space", {agent, dns("agent.we b.ztna")}, IdentityFault::not_ascii},
      {"newline", {agent, dns("agent.web.ztna\n")}, IdentityFault::not_ascii},
      {"UTF-8 in the URI", {uri("spiffe://ztna.internal/agent/caf\xc3\xa9"), web}, IdentityFault::not_ascii},
      {"id of 201 octets", {agent, dns("agent." + long_service + ".ztna")}, IdentityFault::too_long},
      {"name of 254 octets", {agent, dns("agent." + std::string(243, 'a') + ".ztna")}, IdentityFault::too_long},
      {"name of 40,000 octets", {agent, dns(std::string(40'000, 'a'))}, IdentityFault::too_long},
      {"host label of 64", {uri(kIntermediateUri), dns(std::string(64, 'a') + ".example")}, IdentityFault::too_long},
      {"bearer of 129", {uri("spiffe://t/agent/" + std::string(129, 'a')), web}, IdentityFault::too_long},
      {"trust domain of 129",
       {uri("spiffe://" + std::string(63, 'a') + "." + std::string(65, 'b') + "/agent/x"), web},
       IdentityFault::too_long},
      {"other scheme", {uri("https://ztna.internal/agent/x"), web}, IdentityFault::bad_uri},
      {"not a URI", {uri("agent/x"), web}, IdentityFault::bad_uri},
      {"no name", {uri("spiffe://ztna.internal/agent"), web}, IdentityFault::bad_uri},
      {"a longer path", {uri("spiffe://ztna.internal/agent/x/y"), web}, IdentityFault::bad_uri},
      {"trailing slash", {uri("spiffe://ztna.internal/agent/x/"), web}, IdentityFault::bad_uri},
      {"empty name", {uri("spiffe://ztna.internal/agent/"), web}, IdentityFault::bad_name},
      {"dots", {uri("spiffe://ztna.internal/agent/.."), web}, IdentityFault::bad_name},
      {"percent-encoding", {uri("spiffe://ztna.internal/agent/a%2fb"), web}, IdentityFault::bad_name},
      {"query", {uri("spiffe://ztna.internal/agent/x?y"), web}, IdentityFault::bad_name},
      {"fragment", {uri("spiffe://ztna.internal/agent/x#y"), web}, IdentityFault::bad_name},
      {"empty trust domain", {uri("spiffe:///agent/x"), web}, IdentityFault::bad_trust_domain},
      {"port", {uri("spiffe://ztna.internal:443/agent/x"), web}, IdentityFault::bad_trust_domain},
      {"user", {uri("spiffe://u@ztna.internal/agent/x"), web}, IdentityFault::bad_trust_domain},
      {"dot behind the trust domain", {uri("spiffe://ztna.internal./agent/x"), web}, IdentityFault::bad_trust_domain},
      {"unknown role in the URI", {uri("spiffe://ztna.internal/root/x"), web}, IdentityFault::unknown_role},
      {"empty role in the URI", {uri("spiffe://ztna.internal//x"), web}, IdentityFault::unknown_role},
  };
  for (const auto& row : table) {
    const auto identity = read(row.names);
    ASSERT_FALSE(identity) << row.what;
    EXPECT_EQ(identity.error().fault, row.fault) << row.what << ": " << identity.error().text;
    EXPECT_EQ(identity.error().code, Errc::denied) << row.what;
    // The text goes to the peer and into the log.
    EXPECT_FALSE(identity.error().text.empty()) << row.what;
    EXPECT_LT(identity.error().text.size(), 512U) << row.what;
    for (const char c : identity.error().text) EXPECT_TRUE(c >= 0x20 && c < 0x7F) << row.what;
  }
}

TEST(IdentityRefusal, EmptyNamesAreNotEvenParsed) {
  for (const auto& empty : {dns(""), uri("")}) {
    const auto identity = read({uri(kAgentUri), dns("agent.web.ztna"), empty});
    ASSERT_FALSE(identity);
    EXPECT_EQ(identity.error().fault, IdentityFault::unparsable) << identity.error().text;
  }
}

TEST(IdentityRefusal, CommonNameIsNoIdentity) {
  // Every test certificate has CN=agent.web.ztna; "no SAN" above would pass if anybody looked at it.
  const auto c = Certificate::parse(make({uri(kAgentUri)}));
  ASSERT_TRUE(c);
  EXPECT_EQ(c->subject, "CN=agent.web.ztna");
  EXPECT_FALSE(Identity::from_certificate(*c));
}

TEST(IdentityRefusal, TimesUsageAndAuthority) {
  Shape good;
  good.names = {uri(kAgentUri), dns("agent.web.ztna")};
  ASSERT_TRUE(read(good));

  auto expired = good;
  expired.not_after = kNow - 1s;
  EXPECT_EQ(read(expired).error().fault, IdentityFault::expired);
  auto early = good;
  early.not_before = kNow + 1s;
  EXPECT_EQ(read(early).error().fault, IdentityFault::not_yet_valid);
  auto edge = good;
  edge.not_before = kNow;
  edge.not_after = kNow;
  EXPECT_TRUE(read(edge)) << "both ends belong to the time, RFC 5280 4.1.2.5";

  EXPECT_EQ(read(good, Purpose::server).error().fault, IdentityFault::wrong_usage);
  auto none = good;
  none.usages.clear();
  EXPECT_EQ(read(none).error().fault, IdentityFault::wrong_usage);
  auto any = good;
  any.usages = {GNUTLS_KP_ANY};
  EXPECT_EQ(read(any).error().fault, IdentityFault::wrong_usage);

  auto ca = good;
  ca.ca = true;
  EXPECT_EQ(read(ca).error().fault, IdentityFault::is_authority);

  const auto garbage = Identity::from_leaf(as_bytes("garbage"), kNow, Purpose::client);
  ASSERT_FALSE(garbage);
  EXPECT_EQ(garbage.error().fault, IdentityFault::unparsable);
  EXPECT_EQ(garbage.error().code, Errc::malformed);
}

TEST(IdentityRefusal, EveryFaultHasItsOwnName) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < static_cast<std::size_t>(IdentityFault::count_); ++i) {
    names.insert(to_string(static_cast<IdentityFault>(i)));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(IdentityFault::count_));
  EXPECT_FALSE(names.contains("unknown"));
}

TEST(IdentityRefusal, ExpectRole) {
  const std::vector<Name> names = {uri(kAgentUri), dns("agent.web.ztna")};
  EXPECT_TRUE(expect_role(read(names), Role::agent));
  const auto refused = expect_role(read(names), Role::connector);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, IdentityFault::role_not_expected);
  EXPECT_EQ(expect_role(read(Shape{}), Role::agent).error().fault, IdentityFault::no_names) << "the first fault stays";
}

struct Match {
  std::vector<std::string> names;
  std::string service;
  bool permitted;
};

TEST(Identity, MatchingTable) {
  const std::vector<Match> table = {
      {{"agent.web.ztna"}, "web", true},
      {{"agent.web.ztna"}, "web2", false},
      {{"agent.web.ztna"}, "we", false},
      {{"agent.web.ztna"}, "eu.web", false},
      {{"agent.web.ztna"}, "web.eu", false},
      {{"agent.web.ztna"}, "", false},
      {{"agent.web.ztna"}, "*", false},
      {{"agent.web.ztna"}, "WEB", false},  // no service id: ids are lower case, docs/protocol.md 3
      {{"AGENT.Web.ZTNA"}, "web", true},
      {{"agent.db.eu.ztna"}, "db.eu", true},
      {{"agent.db.eu.ztna"}, "db", false},
      {{"agent.db.eu.ztna"}, "eu", false},
      {{"agent.db.eu.ztna"}, "db-eu", false},
      {{"agent.connector.ztna"}, "connector", true},
      {{"agent.ztna.ztna"}, "ztna", true},
      {{"agent.xn--caf-dma.ztna"}, "xn--caf-dma", true},
      {{"agent.a.ztna", "agent.b.ztna"}, "b", true},
      {{"agent.a.ztna", "agent.b.ztna"}, "c", false},
      {{"agent.a.ztna", "host.example.com"}, "host", false},
      {{"agent.*.ztna"}, "web", true},
      {{"agent.*.ztna"}, "db.eu", true},  // one whole service id, dots and all
      {{"agent.*.ztna"}, "*", false},
      {{"agent.*.ztna"}, "", false},
      {{"agent.*.ztna"}, "a b", false},
      {{"agent.*.ztna"}, std::string(201, 'a'), false},
      {{"agent.a.ztna", "agent.*.ztna"}, "z", true},
  };
  for (const auto& row : table) {
    std::vector<Name> names = {uri(kAgentUri)};
    for (const auto& name : row.names) names.push_back(dns(name));
    const auto identity = read(names);
    ASSERT_TRUE(identity) << row.names.front() << ": " << identity.error().text;
    EXPECT_EQ(identity->permits(row.service), row.permitted) << row.names.front() << " and " << row.service;
    if (const auto id = wire::ServiceId::parse(row.service)) {
      EXPECT_EQ(identity->permits(*id), row.permitted);
    }
  }
}

TEST(Identity, FieldsOfAnAgent) {
  const auto identity = read({dns("agent.web.ztna"), uri("SPIFFE://Ztna.Internal/Agent/Laptop-1"),
                              dns("agent.db.eu.ztna"), dns("Agent.WEB.ztna"), dns("host.example.com")});
  ASSERT_TRUE(identity) << identity.error().text;
  EXPECT_EQ(identity->role, Role::agent);
  EXPECT_EQ(identity->name, "laptop-1");
  EXPECT_EQ(identity->trust_domain, "ztna.internal");
  EXPECT_FALSE(identity->all_services);
  EXPECT_EQ(identity->services_text(), "db.eu, web");
  EXPECT_TRUE(identity->hosts.empty());
  EXPECT_EQ(identity->text(), "agent laptop-1");
  EXPECT_EQ(identity->uri(), kAgentUri);
  EXPECT_EQ(identity->not_after, kNow + std::chrono::hours{1});
  EXPECT_EQ(identity->serial, (ByteVector{1, 2}));
  EXPECT_TRUE(identity->valid_at(kNow));
  EXPECT_FALSE(identity->valid_at(kNow + std::chrono::hours{2}));
}

TEST(Identity, IntermediateHasHostsAndNoServices) {
  Shape shape;
  shape.names = {uri(kIntermediateUri), dns("Relay.Example.com"), ip({192, 0, 2, 1})};
  shape.usages = {GNUTLS_KP_TLS_WWW_SERVER};
  const auto identity = read(shape, Purpose::server);
  ASSERT_TRUE(identity) << identity.error().text;
  EXPECT_EQ(identity->role, Role::intermediate);
  EXPECT_THAT(identity->hosts, testing::ElementsAre("192.0.2.1", "relay.example.com"));
  EXPECT_FALSE(identity->permits("web"));
  // "ztna" as the last label makes an identity; elsewhere it is a label like others.
  EXPECT_TRUE(read({uri(kIntermediateUri), dns("agent.ztna.example")}));
  EXPECT_TRUE(read({uri(kIntermediateUri), dns("ztna")}));
}

TEST(Identity, LongestServiceId) {
  const std::string id = std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + ".dddddddd";
  ASSERT_EQ(id.size(), 200U);
  const auto identity = read({uri(kAgentUri), dns("agent." + id + ".ztna")});
  ASSERT_TRUE(identity) << identity.error().text;
  EXPECT_TRUE(identity->permits(id));
}

TEST(Identity, Covers) {
  const auto with = [](std::vector<std::string> names, const std::string& bearer = kAgentUri) {
    std::vector<Name> list = {uri(bearer)};
    for (const auto& name : names) list.push_back(dns(name));
    return *read(list);
  };
  const auto all = with({"agent.*.ztna"});
  const auto a = with({"agent.a.ztna"});
  const auto ab = with({"agent.a.ztna", "agent.b.ztna"});
  EXPECT_FALSE(covers(a, ab));
  EXPECT_FALSE(covers(ab, all));
  EXPECT_FALSE(covers(all, with({"agent.a.ztna"}, "spiffe://other/agent/laptop-1")));
  EXPECT_FALSE(covers(all, with({"connector.a.ztna"}, "spiffe://ztna.internal/connector/laptop-1")));
  EXPECT_TRUE(covers(ab, a));
  EXPECT_TRUE(covers(ab, ab));
  EXPECT_TRUE(covers(all, ab));
  const auto one_host = with({"i.example"}, kIntermediateUri);
  const auto two_hosts = with({"i.example", "j.example"}, kIntermediateUri);
  EXPECT_FALSE(covers(one_host, two_hosts));
  EXPECT_TRUE(covers(two_hosts, one_host));
}

}  // namespace
}  // namespace ztna::identity
