// The CA: what it refuses to issue, and that what it issues is read back as asked for and verifies.
#include "identity/authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "unit/identity/test_certificate.h"

namespace ztna::identity {
namespace {

using test::kNow;

Authority make_ca(KeyType type = KeyType::p256, std::chrono::seconds lifetime = kMaxLifetime) {
  auto ca = Authority::create({.key_type = type, .lifetime = lifetime, .now = kNow});
  EXPECT_TRUE(ca) << ca.error().text;
  return std::move(*ca);
}

LeafRequest agent(std::string name = "laptop-1", std::vector<std::string> services = {"web", "db.eu"}) {
  return {.role = Role::agent, .name = std::move(name), .services = std::move(services), .now = kNow};
}

TEST(AuthorityRefusal, Requests) {
  const auto ca = make_ca();
  std::vector<std::pair<std::string, LeafRequest>> table = {
      {"name", agent("")},
      {"name", agent("a b")},
      {"name", agent("a/b")},
      {"name", agent("..")},
      {"name", agent("caf\xc3\xa9")},
      {"name", agent(std::string(129, 'a'))},
      {"services", agent("a", {})},
      {"services", agent("a", std::vector<std::string>(257, "web"))},
      {"service", agent("a", {""})},
      {"service", agent("a", {"w*"})},
      {"service", agent("a", {"web", "*.eu"})},
      {"service", agent("a", {"my_db"})},
      {"service", agent("a", {std::string(201, 'a')})},
      {"service", agent("a", {std::string("we\0b", 4)})},
  };
  auto hosts = agent();
  hosts.hosts = {"example.com"};
  table.emplace_back("hosts", hosts);
  LeafRequest intermediate{.role = Role::intermediate, .name = "i1", .now = kNow};
  table.emplace_back("hosts", intermediate);
  for (const char* bad : {"", "*.example.com", "agent.web.ztna", "a..b", "a b", "example.com:443"}) {
    intermediate.hosts = {bad};
    table.emplace_back("host", intermediate);
  }
  intermediate.hosts = {"example.com"};
  intermediate.services = {"web"};
  table.emplace_back("services", intermediate);
  for (const auto lifetime : {0s, -5s, std::chrono::seconds{59}, std::chrono::seconds{kMaxLifetime} + 1s}) {
    auto request = agent();
    request.lifetime = lifetime;
    table.emplace_back("lifetime", request);
  }
  auto other_key = agent();
  other_key.key_type = KeyType::other;
  table.emplace_back("key type", other_key);
  for (const auto& [field, request] : table) {
    const auto issued = ca.issue(request);
    ASSERT_FALSE(issued) << field;
    EXPECT_EQ(issued.error().code, Errc::invalid_argument) << issued.error().text;
    EXPECT_THAT(issued.error().text, testing::StartsWith(field));
  }
}

TEST(AuthorityRefusal, LeafThatOutlivesTheCa) {
  const auto ca = make_ca(KeyType::p256, std::chrono::hours{48});
  auto request = agent();
  request.lifetime = std::chrono::hours{48} + 1s;
  const auto issued = ca.issue(request);
  ASSERT_FALSE(issued);
  EXPECT_THAT(issued.error().text, testing::HasSubstr("the CA ends"));
  request.lifetime = std::chrono::hours{48};
  EXPECT_TRUE(ca.issue(request));
}

TEST(AuthorityRefusal, CreateAndLoad) {
  EXPECT_FALSE(Authority::create({.name = "", .now = kNow}));
  EXPECT_FALSE(Authority::create({.name = std::string(65, 'a'), .now = kNow}));
  EXPECT_FALSE(Authority::create({.name = "a\nb", .now = kNow}));
  EXPECT_FALSE(Authority::create({.trust_domain = "", .now = kNow}));
  EXPECT_FALSE(Authority::create({.trust_domain = "a/b", .now = kNow}));
  EXPECT_FALSE(Authority::create({.lifetime = 0s, .now = kNow}));

  const auto ca = make_ca();
  const auto other = make_ca();
  const auto leaf = *ca.issue(agent());
  EXPECT_EQ(Authority::load("", "").error().code, Errc::not_found);
  EXPECT_EQ(Authority::load(ca.anchor_pem(), "").error().code, Errc::malformed);
  EXPECT_EQ(Authority::load(ca.anchor_pem(), ca.anchor_pem()).error().code, Errc::malformed);
  EXPECT_EQ(Authority::load(ca.anchor_pem(), *other.key_pem()).error().code, Errc::invalid_argument);
  EXPECT_EQ(Authority::load(leaf.cert_pem, leaf.key_pem).error().code, Errc::invalid_argument) << "a leaf is no CA";
  EXPECT_TRUE(Authority::load(ca.anchor_pem(), *ca.key_pem()));
}

TEST(AuthorityRefusal, Keys) {
  EXPECT_FALSE(PrivateKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"));
  const auto encrypted =
      PrivateKey::from_pem("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
  ASSERT_FALSE(encrypted);
  EXPECT_THAT(encrypted.error().text, testing::HasSubstr("encrypted"));
}

TEST(AuthorityRefusal, Verification) {
  const auto ca = make_ca();
  const auto other = make_ca();  // same name, another key
  const std::vector<Certificate> anchors = {ca.certificate()};
  const auto leaf = ca.issue(agent())->certificate;
  const auto why = [&](const std::vector<Certificate>& chain, const std::vector<Certificate>& trusted, Purpose purpose,
                       WallTime now, std::string_view host = {}) {
    const auto ok = verify_chain(chain, trusted, purpose, now, host);
    return ok ? std::string{} : ok.error().text;
  };
  using testing::HasSubstr;
  EXPECT_NE(why({}, anchors, Purpose::client, kNow), "");
  EXPECT_NE(why({leaf}, {}, Purpose::client, kNow), "");
  EXPECT_THAT(why({leaf}, {other.certificate()}, Purpose::client, kNow), HasSubstr("not issued by this CA"));
  EXPECT_NE(why({leaf}, {leaf}, Purpose::client, kNow), "") << "a leaf is no anchor";
  EXPECT_THAT(why({leaf}, anchors, Purpose::server, kNow), HasSubstr("server authentication"));
  EXPECT_THAT(why({leaf}, anchors, Purpose::client, kNow + std::chrono::hours{24 * 31}), HasSubstr("it expired"));
  EXPECT_THAT(why({leaf}, anchors, Purpose::client, kNow - kBackdate - 1s), HasSubstr("not valid before"));
  EXPECT_THAT(why({leaf}, anchors, Purpose::client, kNow, "laptop-1"), HasSubstr("does not name the host"));
  auto tampered = leaf.der;
  tampered[tampered.size() - 4] = static_cast<std::uint8_t>(tampered[tampered.size() - 4] ^ 1);
  if (const auto c = Certificate::parse(tampered)) {
    EXPECT_NE(why({*c}, anchors, Purpose::client, kNow), "");
  }
  EXPECT_EQ(why({leaf}, anchors, Purpose::client, kNow), "");

  const auto short_ca = make_ca(KeyType::p256, std::chrono::hours{1});
  auto request = agent();
  request.lifetime = std::chrono::hours{1};
  const auto brief = short_ca.issue(request)->certificate;
  EXPECT_NE(why({brief}, {short_ca.certificate()}, Purpose::client, kNow + std::chrono::hours{2}), "");
  // Two anchors of one name, one of them foreign: the right one counts.
  EXPECT_EQ(why({leaf}, {other.certificate(), ca.certificate()}, Purpose::client, kNow), "");
}

TEST(AuthorityRefusal, ALeafCannotIssue) {
  // pathlen 0 and CA:FALSE: an agent's key makes no further certificates. The chain is leaf <- agent <- CA.
  const auto ca = make_ca();
  const auto bearer = *ca.issue(agent());
  EXPECT_FALSE(Authority::load(bearer.cert_pem + ca.anchor_pem(), bearer.key_pem));
}

class EachKeyType : public testing::TestWithParam<std::tuple<KeyType, KeyType>> {};

TEST_P(EachKeyType, IssuedIsReadBackPermitsAndVerifies) {
  const auto [ca_type, leaf_type] = GetParam();
  const auto made = make_ca(ca_type);
  const auto loaded = Authority::load(made.anchor_pem(), *made.key_pem());  // as ztnactl issue does it
  ASSERT_TRUE(loaded) << loaded.error().text;
  EXPECT_EQ(loaded->trust_domain(), kDefaultTrustDomain);
  EXPECT_EQ(loaded->certificate().key_type, ca_type);
  const std::vector<Certificate> anchors = {loaded->certificate()};

  struct Row {
    LeafRequest request;
    bool client, server;
  };
  const std::vector<Row> rows = {
      {agent(), true, false},
      {{.role = Role::connector, .name = "c1", .services = {"*"}, .now = kNow}, true, true},
      {{.role = Role::intermediate,
        .name = "I1",
        .hosts = {"Relay.example.com", "192.0.2.1", "2001:db8::1"},
        .now = kNow},
       true,
       true},
  };
  for (auto row : rows) {
    row.request.key_type = leaf_type;
    const auto issued = loaded->issue(row.request);
    ASSERT_TRUE(issued) << issued.error().text;
    const auto chain = Certificate::parse_chain(issued->cert_pem);
    ASSERT_TRUE(chain);
    ASSERT_EQ(chain->size(), 1U) << "the root is not sent";
    const auto& c = chain->front();
    EXPECT_EQ(c.key_type, leaf_type);
    EXPECT_EQ(c.not_before, kNow - kBackdate);
    EXPECT_EQ(c.not_after, kNow + std::chrono::hours{24 * 30});
    EXPECT_EQ(c.serial.size(), 16U);
    EXPECT_EQ(verify_chain(*chain, anchors, Purpose::client, kNow).has_value(), row.client);
    EXPECT_EQ(verify_chain(*chain, anchors, Purpose::server, kNow).has_value(), row.server);
    EXPECT_EQ(Identity::from_leaf(c.der, kNow, Purpose::server).has_value(), row.server);
    const auto identity = Identity::from_leaf(c.der, kNow, Purpose::client);
    ASSERT_TRUE(identity) << identity.error().text;
    EXPECT_EQ(identity->role, row.request.role);
    EXPECT_EQ(identity->trust_domain, kDefaultTrustDomain);

    const auto key = PrivateKey::from_pem(issued->key_pem);
    ASSERT_TRUE(key);
    EXPECT_EQ(key->type(), leaf_type);
    EXPECT_TRUE(key->matches(c));
    EXPECT_FALSE(key->matches(loaded->certificate()));

    switch (identity->role) {
      case Role::agent:
        EXPECT_TRUE(identity->permits("web"));
        EXPECT_TRUE(identity->permits("db.eu"));
        EXPECT_FALSE(identity->permits("db"));
        break;
      case Role::connector: EXPECT_TRUE(identity->permits("anything.at-all")); break;
      case Role::intermediate:
        EXPECT_EQ(identity->name, "i1");
        EXPECT_TRUE(verify_chain(*chain, anchors, Purpose::server, kNow, "relay.example.com"));
        EXPECT_TRUE(verify_chain(*chain, anchors, Purpose::server, kNow, "2001:DB8::1"));
        EXPECT_FALSE(verify_chain(*chain, anchors, Purpose::server, kNow, "example.com"));
        break;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Authority, EachKeyType,
                         testing::Combine(testing::Values(KeyType::p256, KeyType::ed25519),
                                          testing::Values(KeyType::p256, KeyType::ed25519)),
                         [](const auto& row) {
                           return fmt::format("{}_by_{}", to_string(std::get<1>(row.param)),
                                              to_string(std::get<0>(row.param)));
                         });

TEST(Authority, UpperCaseIsFoldedAndDoublesAreOne) {
  const auto issued = make_ca().issue(agent("Laptop-1", {"Web", "web", "DB.eu"}));
  ASSERT_TRUE(issued) << issued.error().text;
  EXPECT_EQ(issued->identity.uri(), "spiffe://ztna.internal/agent/laptop-1");
  EXPECT_EQ(issued->certificate.dns_names.size(), 2U);
}

TEST(Authority, LongestNameStillFitsTheCommonName) {
  const auto issued = make_ca().issue(agent(std::string(128, 'a')));
  ASSERT_TRUE(issued) << issued.error().text;
  EXPECT_EQ(issued->certificate.subject, "CN=" + std::string(64, 'a'));
  EXPECT_EQ(issued->identity.name.size(), 128U);
}

TEST(Authority, SerialsAreRandom) {
  const auto ca = make_ca(KeyType::ed25519);
  std::set<ByteVector> serials;
  for (int i = 0; i < 50; ++i) serials.insert(ca.issue(agent())->certificate.serial);
  EXPECT_EQ(serials.size(), 50U);
}

}  // namespace
}  // namespace ztna::identity
