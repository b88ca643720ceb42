#include "quic/tls_context.h"

#include <gtest/gtest.h>

#include "quic/tls_session.h"
#include "support/test_pki.h"

namespace ztna::quic {
namespace {

using test::LeafSpec;
using test::TestCa;

TlsOptions options() {
  static const TestCa kCa;
  static const auto kLeaf = kCa.issue({});
  TlsOptions o;
  o.ca_pem = kCa.pem();
  o.cert_pem = kLeaf.cert;
  o.key_pem = kLeaf.key;
  o.alpn = "ztna-v1";
  return o;
}

void expect_error(Side side, const TlsOptions& o, std::string_view text) {
  const auto context = TlsContext::create(side, o);
  ASSERT_FALSE(context);
  EXPECT_EQ(context.error().code, Errc::crypto);
  EXPECT_NE(context.error().text.find(text), std::string::npos) << context.error().text;
}

TEST(TlsContext, BadInputIsNamed) {
  auto o = options();
  o.ca_pem = "junk";
  expect_error(Side::server, o, "CA certificate");
  o = options();
  o.ca_pem.clear();
  expect_error(Side::server, o, "CA certificate");
  o = options();
  o.cert_pem = "junk";
  expect_error(Side::server, o, "certificate");
  o = options();
  o.key_pem = "junk";
  expect_error(Side::server, o, "private key");
  o = options();
  o.cert_pem.clear();
  o.key_pem.clear();
  expect_error(Side::server, o, "certificate");
  o = options();
  o.key_pem = TestCa{}.issue({}).key;
  expect_error(Side::client, o, "does not belong");
}

TEST(TlsContext, GoodInput) {
  EXPECT_TRUE(TlsContext::create(Side::server, options()));
  EXPECT_TRUE(TlsContext::create(Side::client, options()));
}

ByteVector der_of(const LeafSpec& spec) {
  const auto pem = TestCa{}.issue(spec).cert;
  const gnutls_datum_t in{reinterpret_cast<unsigned char*>(const_cast<char*>(pem.data())),
                          static_cast<unsigned>(pem.size())};
  gnutls_datum_t out{};
  EXPECT_EQ(gnutls_pem_base64_decode2("CERTIFICATE", &in, &out), 0);
  ByteVector der(out.data, out.data + out.size);
  gnutls_free(out.data);
  return der;
}

TEST(CertificateName, OnlyTheRightOnes) {
  const auto der = der_of(
      {.common_name = "cn.test", .dns = {"a.test", "*.wild.test", "*.top"}, .ips = {"192.0.2.1", "2001:db8::1"}});
  EXPECT_FALSE(certificate_names(der, "cn.test"));
  EXPECT_FALSE(certificate_names(der, "b.test"));
  EXPECT_FALSE(certificate_names(der, "x.a.test"));
  EXPECT_FALSE(certificate_names(der, "wild.test"));
  EXPECT_FALSE(certificate_names(der, "a.b.wild.test"));
  EXPECT_FALSE(certificate_names(der, ".wild.test"));
  EXPECT_FALSE(certificate_names(der, "x.top"));
  EXPECT_FALSE(certificate_names(der, "192.0.2.2"));
  EXPECT_FALSE(certificate_names(der, ""));
  EXPECT_FALSE(certificate_names({}, "a.test"));
  EXPECT_TRUE(certificate_names(der, "a.test"));
  EXPECT_TRUE(certificate_names(der, "A.TEST"));
  EXPECT_TRUE(certificate_names(der, "x.wild.test"));
  EXPECT_TRUE(certificate_names(der, "192.0.2.1"));
  EXPECT_TRUE(certificate_names(der, "2001:db8:0::1"));
}

}  // namespace
}  // namespace ztna::quic
