#include "support/test_pki.h"

#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <array>
#include <atomic>
#include <ctime>
#include <stdexcept>

namespace ztna::test {

namespace {

void check(int rv, const char* what) {
  if (rv < 0) throw std::runtime_error(std::string{what} + ": " + gnutls_strerror(rv));
}

std::atomic<std::time_t> clock_offset{0};
std::atomic<unsigned char> next_serial{1};

std::time_t shifted_time(std::time_t* out) {
  const auto t = std::time(nullptr) + clock_offset.load();
  if (out != nullptr) *out = t;
  return t;
}

gnutls_x509_privkey_t make_key(KeyKind kind) {
  gnutls_x509_privkey_t key = nullptr;
  check(gnutls_x509_privkey_init(&key), "key");
  if (kind == KeyKind::p256) {
    check(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
          "P-256 key");
  } else {
    check(gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, 256, 0), "Ed25519 key");
  }
  return key;
}

gnutls_x509_crt_t begin_cert(const std::string& name, gnutls_x509_privkey_t key, std::chrono::seconds from,
                             std::chrono::seconds to) {
  gnutls_x509_crt_t cert = nullptr;
  check(gnutls_x509_crt_init(&cert), "certificate");
  check(gnutls_x509_crt_set_version(cert, 3), "version");
  const std::array<unsigned char, 3> serial{1, 2, next_serial++};
  check(gnutls_x509_crt_set_serial(cert, serial.data(), serial.size()), "serial");
  const auto now = std::time(nullptr);
  check(gnutls_x509_crt_set_activation_time(cert, now + from.count()), "not before");
  check(gnutls_x509_crt_set_expiration_time(cert, now + to.count()), "not after");
  check(gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, name.data(),
                                      static_cast<unsigned>(name.size())),
        "name");
  check(gnutls_x509_crt_set_key(cert, key), "public key");
  return cert;
}

std::string take(gnutls_datum_t datum) {
  std::string out(reinterpret_cast<char*>(datum.data), datum.size);
  gnutls_free(datum.data);
  return out;
}

gnutls_digest_algorithm_t digest_for(gnutls_x509_privkey_t key) {
  return gnutls_x509_privkey_get_pk_algorithm(key) == GNUTLS_PK_EDDSA_ED25519 ? GNUTLS_DIG_SHA512 : GNUTLS_DIG_SHA256;
}

}  // namespace

struct TestCa::State {
  gnutls_x509_privkey_t key = nullptr;
  gnutls_x509_crt_t cert = nullptr;
  ~State() {
    if (cert != nullptr) gnutls_x509_crt_deinit(cert);
    if (key != nullptr) gnutls_x509_privkey_deinit(key);
  }
};

TestCa::TestCa(std::string name, KeyKind kind) : state_(std::make_unique<State>()) {
  state_->key = make_key(kind);
  state_->cert = begin_cert(name, state_->key, std::chrono::hours{-24}, std::chrono::hours{24 * 365});
  check(gnutls_x509_crt_set_basic_constraints(state_->cert, 1, -1), "basic constraints");
  check(gnutls_x509_crt_set_key_usage(state_->cert, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN), "key usage");
  check(gnutls_x509_crt_sign2(state_->cert, state_->cert, state_->key, digest_for(state_->key), 0), "sign");
  gnutls_datum_t out{};
  check(gnutls_x509_crt_export2(state_->cert, GNUTLS_X509_FMT_PEM, &out), "export");
  pem_ = take(out);
}

TestCa::~TestCa() = default;
TestCa::TestCa(TestCa&&) noexcept = default;

PemPair TestCa::issue(const LeafSpec& spec) const {
  auto* key = make_key(spec.key);
  auto* cert = begin_cert(spec.common_name, key, spec.not_before, spec.not_after);
  check(gnutls_x509_crt_set_basic_constraints(cert, 0, -1), "basic constraints");
  check(gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE), "key usage");
  const auto add = [&](gnutls_x509_subject_alt_name_t type, const void* data, std::size_t size) {
    check(gnutls_x509_crt_set_subject_alt_name(cert, type, data, static_cast<unsigned>(size), GNUTLS_FSAN_APPEND),
          "SAN");
  };
  for (const auto& name : spec.dns) add(GNUTLS_SAN_DNSNAME, name.data(), name.size());
  for (const auto& uri : spec.uris) add(GNUTLS_SAN_URI, uri.data(), uri.size());
  for (const auto& ip : spec.ips) {
    std::array<unsigned char, 16> octets{};
    const bool v6 = ip.find(':') != std::string::npos;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, ip.c_str(), octets.data()) != 1)
      throw std::runtime_error("bad address " + ip);
    add(GNUTLS_SAN_IPADDRESS, octets.data(), v6 ? 16 : 4);
  }
  if (spec.purpose == Purpose::client || spec.purpose == Purpose::both) {
    check(gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_CLIENT, 0), "EKU");
  }
  if (spec.purpose == Purpose::server || spec.purpose == Purpose::both) {
    check(gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_SERVER, 0), "EKU");
  }
  check(gnutls_x509_crt_sign2(cert, state_->cert, state_->key, digest_for(state_->key), 0), "sign");
  gnutls_datum_t out{};
  PemPair pair;
  check(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &out), "export");
  pair.cert = take(out);
  check(gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, nullptr, GNUTLS_PKCS_PLAIN, &out), "export key");
  pair.key = take(out);
  gnutls_x509_crt_deinit(cert);
  gnutls_x509_privkey_deinit(key);
  return pair;
}

ShiftedWallClock::ShiftedWallClock(std::chrono::seconds offset) {
  clock_offset = offset.count();
  gnutls_global_set_time_function(shifted_time);
}

ShiftedWallClock::~ShiftedWallClock() { clock_offset = 0; }

}  // namespace ztna::test
