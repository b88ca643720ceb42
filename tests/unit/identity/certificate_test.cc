// Certificates as octets: what is not exactly one readable certificate is refused without harm.
#include "identity/certificate.h"

#include <gtest/gtest.h>

#include "unit/identity/test_certificate.h"

namespace ztna::identity {
namespace {

using namespace test;

TEST(CertificateRefusal, Octets) {
  EXPECT_EQ(Certificate::parse({}).error().code, Errc::malformed);
  EXPECT_EQ(Certificate::parse(as_bytes("not a certificate")).error().code, Errc::malformed);
  EXPECT_EQ(Certificate::parse(ByteVector(Certificate::kMaxDer + 1, 0x30)).error().code, Errc::too_large);
  EXPECT_EQ(Certificate::parse(ByteVector(Certificate::kMaxDer, 0x30)).error().code, Errc::malformed);
}

TEST(CertificateRefusal, EveryPrefixAndATail) {
  auto der = make({dns("agent.web.ztna")});
  ASSERT_TRUE(Certificate::parse(der));
  for (std::size_t n = 0; n < der.size(); ++n) EXPECT_FALSE(Certificate::parse(Bytes{der}.first(n))) << n;
  der.push_back(0);
  EXPECT_FALSE(Certificate::parse(der)) << "octets behind the certificate";
}

TEST(CertificateRefusal, FlippedOctetsNeverCrash) {
  const auto der = make({dns("agent.web.ztna"), uri("spiffe://t/agent/a"), ip({192, 0, 2, 1})});
  for (std::size_t n = 0; n < der.size(); ++n) {
    for (const int flip : {0x01, 0x80, 0xFF}) {
      auto bad = der;
      bad[n] = static_cast<std::uint8_t>(bad[n] ^ flip);
      if (const auto c = Certificate::parse(bad)) {
        EXPECT_EQ(c->der, bad);
      }
    }
  }
}

TEST(CertificateRefusal, AddressOfThreeOctets) { EXPECT_FALSE(Certificate::parse(make({ip({192, 0, 2})}))); }

TEST(CertificateRefusal, TooManyNames) {
  const std::vector<Name> names(Certificate::kMaxNames + 1, dns("a.b"));
  const auto c = Certificate::parse(make(names));
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().code, Errc::too_large);
}

TEST(CertificateRefusal, Pem) {
  EXPECT_EQ(Certificate::parse_pem("").error().code, Errc::not_found);
  EXPECT_EQ(Certificate::parse_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").error().code,
            Errc::not_found);
  EXPECT_EQ(Certificate::parse_pem("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").error().code,
            Errc::malformed);
  EXPECT_EQ(Certificate::parse_pem("-----BEGIN CERTIFICATE-----\nAAAA\n").error().code, Errc::malformed);
  const auto one = Certificate::parse(make({dns("a.b")}))->to_pem();
  std::string many;
  for (int i = 0; i < 17; ++i) many += one;
  EXPECT_EQ(Certificate::parse_chain(many).error().code, Errc::too_large);
}

TEST(Certificate, Fields) {
  Shape shape;
  shape.names = {dns("agent.we\0b.ztna"),
                 {kEmail, "a@example.com"},
                 uri("spiffe://t/agent/a"),
                 ip({192, 0, 2, 1}),
                 ip({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})};
  shape.names[0].second = std::string("nul\0.ztna", 9);
  const auto c = Certificate::parse(make(shape));
  ASSERT_TRUE(c) << c.error().text;
  ASSERT_EQ(c->dns_names.size(), 1U);
  EXPECT_EQ(c->dns_names[0], std::string("nul\0.ztna", 9)) << "not cut at the NUL";
  EXPECT_EQ(c->uris, std::vector<std::string>{"spiffe://t/agent/a"});
  ASSERT_EQ(c->addresses.size(), 2U);
  EXPECT_EQ(to_string(c->addresses[0]), "192.0.2.1");
  EXPECT_EQ(to_string(c->addresses[1]), "2001:db8::1");
  EXPECT_EQ(c->other_names, 1U);
  EXPECT_EQ(c->not_before, shape.not_before);
  EXPECT_EQ(c->not_after, shape.not_after);
  EXPECT_EQ(c->key_type, KeyType::ed25519);
  EXPECT_FALSE(c->is_authority);
  EXPECT_TRUE(c->allows(Purpose::client));
  EXPECT_FALSE(c->allows(Purpose::server));
  const auto again = Certificate::parse_pem("text around is skipped\n" + c->to_pem());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->der, c->der);
  EXPECT_EQ(again->fingerprint, c->fingerprint);
}

TEST(Certificate, HostNamesMatchExactly) {
  const auto c = *Certificate::parse(make({dns("Relay.Example.com"), dns("*.wild.example"), ip({192, 0, 2, 1})}));
  for (const auto* host : {"", "example.com", "a.relay.example.com", "relay.example.com.", "a.wild.example",
                           "*.wild.example", "192.0.2.2", "::ffff:192.0.2.1"}) {
    EXPECT_FALSE(c.names_host(host)) << host;
  }
  EXPECT_TRUE(c.names_host("relay.EXAMPLE.com"));
  EXPECT_TRUE(c.names_host("192.0.2.1"));
  const auto text = *Certificate::parse(make({dns("192.0.2.1")}));
  EXPECT_FALSE(text.names_host("192.0.2.1")) << "an address is not proved by a DNS name";
}

TEST(Certificate, PrintableText) {
  EXPECT_EQ(printable("a\x1b[31m\n\0z"), "a\\x1b[31m\\x0a");
  EXPECT_EQ(printable(std::string(10, 'a'), 4), "aaaa...");
  EXPECT_EQ(colon_hex(ByteVector{0x0a, 0xff}), "0a:ff");
}

}  // namespace
}  // namespace ztna::identity
