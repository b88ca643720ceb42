// Certificates that no honest CA would issue: names go into the extension as raw octets, NULs and all.
#pragma once

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"

namespace ztna::identity::test {

inline constexpr WallTime kNow{std::chrono::seconds{1'800'000'000}};

/// GeneralName tags, RFC 5280 4.2.1.6.
inline constexpr std::uint8_t kEmail = 0x81, kDns = 0x82, kUri = 0x86, kIp = 0x87;

using Name = std::pair<std::uint8_t, std::string>;

inline Name dns(std::string_view text) { return {kDns, std::string{text}}; }
inline Name uri(std::string_view text) { return {kUri, std::string{text}}; }
inline Name ip(std::initializer_list<int> octets) {
  std::string text;
  for (const int o : octets) text += static_cast<char>(o);
  return {kIp, text};
}

struct Shape {
  std::vector<Name> names;
  std::vector<std::string> usages = {GNUTLS_KP_TLS_WWW_CLIENT};
  bool ca = false;
  WallTime not_before = kNow - std::chrono::hours{1};
  WallTime not_after = kNow + std::chrono::hours{1};
};

inline void must(int rc) {
  if (rc < 0) std::abort();
}

inline std::string der_element(std::uint8_t tag, std::string_view content) {
  std::string out{static_cast<char>(tag)};
  if (content.size() < 128) {
    out += static_cast<char>(content.size());
  } else {
    out += '\x82';
    out += static_cast<char>(content.size() >> 8);
    out += static_cast<char>(content.size() & 0xFF);
  }
  out += content;
  return out;
}

/// Self-signed, DER.
inline ByteVector make(const Shape& shape) {
  gnutls_x509_privkey_t key = nullptr;
  gnutls_x509_crt_t crt = nullptr;
  must(gnutls_x509_privkey_init(&key));
  must(gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519,
                                    static_cast<unsigned>(GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_ED25519)), 0));
  must(gnutls_x509_crt_init(&crt));
  must(gnutls_x509_crt_set_version(crt, 3));
  must(gnutls_x509_crt_set_serial(crt, "\x01\x02", 2));
  must(gnutls_x509_crt_set_activation_time(crt, shape.not_before.time_since_epoch().count()));
  must(gnutls_x509_crt_set_expiration_time(crt, shape.not_after.time_since_epoch().count()));
  must(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, "agent.web.ztna", 14));
  must(gnutls_x509_crt_set_basic_constraints(crt, shape.ca ? 1 : 0, -1));
  for (const auto& oid : shape.usages) must(gnutls_x509_crt_set_key_purpose_oid(crt, oid.c_str(), 0));
  if (!shape.names.empty()) {
    std::string row;
    for (const auto& [tag, text] : shape.names) row += der_element(tag, text);
    const auto extension = der_element(0x30, row);
    must(gnutls_x509_crt_set_extension_by_oid(crt, "2.5.29.17", extension.data(), extension.size(), 0));
  }
  must(gnutls_x509_crt_set_key(crt, key));
  must(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA512, 0));
  gnutls_datum_t der{};
  must(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der));
  ByteVector out(der.data, der.data + der.size);
  gnutls_free(der.data);
  gnutls_x509_crt_deinit(crt);
  gnutls_x509_privkey_deinit(key);
  return out;
}

inline ByteVector make(std::vector<Name> names) {
  Shape shape;
  shape.names = std::move(names);
  return make(shape);
}

}  // namespace ztna::identity::test
