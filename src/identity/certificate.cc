#include "identity/certificate.h"

#include <algorithm>
#include <ctime>
#include <iterator>

#include "identity/gnutls.h"

namespace ztna::identity {

namespace {

constexpr std::size_t kMaxPem = 1024 * 1024;
constexpr unsigned kMaxChain = 16;
constexpr unsigned kMaxUsages = 64;
constexpr char kSubjectAltName[] = "2.5.29.17";

char fold(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_folded(std::string_view a, std::string_view b) { return std::ranges::equal(a, b, {}, fold, fold); }

Result<WallTime> wall_time(std::time_t seconds, std::string_view which) {
  if (seconds == static_cast<std::time_t>(-1)) return fail(Errc::malformed, "certificate: no readable {}", which);
  return WallTime{std::chrono::seconds{seconds}};
}

Result<void> add_name(Certificate& c, unsigned type, const gnutls_datum_t& name) {
  const Bytes octets{name.data, name.size};
  switch (type) {
    case GNUTLS_SAN_DNSNAME: c.dns_names.emplace_back(as_text(octets)); return {};
    case GNUTLS_SAN_URI: c.uris.emplace_back(as_text(octets)); return {};
    case GNUTLS_SAN_IPADDRESS:
      if (octets.size() == 4) {
        c.addresses.push_back(IpAddress::v4(octets.first<4>()));
      } else if (octets.size() == 16) {
        c.addresses.push_back(IpAddress::v6(octets.first<16>()));
      } else {
        return fail(Errc::malformed, "certificate: IP address name of {} octets", octets.size());
      }
      return {};
    default: ++c.other_names; return {};
  }
}

/// The extension is read as octets: GnuTLS's convenience calls hand names out as C strings, which end at a NUL.
Result<void> read_names(gnutls_x509_crt_t crt, Certificate& c) {
  Datum extension;
  int rc = gnutls_x509_crt_get_extension_by_oid2(crt, kSubjectAltName, 0, extension.out(), nullptr);
  if (rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) return {};
  if (rc < 0) return gnutls_failure(Errc::malformed, "certificate: subject alternative names", rc);
  Datum second;
  if (gnutls_x509_crt_get_extension_by_oid2(crt, kSubjectAltName, 1, second.out(), nullptr) !=
      GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
    return fail(Errc::malformed, "certificate: subject alternative names appear twice");
  }

  gnutls_subject_alt_names_t raw = nullptr;
  if (gnutls_subject_alt_names_init(&raw) < 0) return fail(Errc::internal, "certificate: out of memory");
  const NamesHandle names{raw};
  rc = gnutls_x509_ext_import_subject_alt_names(extension.out(), names.get(), 0);
  if (rc < 0) return gnutls_failure(Errc::malformed, "certificate: subject alternative names", rc);

  for (unsigned i = 0;; ++i) {
    unsigned type = 0;
    gnutls_datum_t name{};  // borrowed from `names`
    rc = gnutls_subject_alt_names_get(names.get(), i, &type, &name, nullptr);
    if (rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) return {};
    if (rc < 0) return gnutls_failure(Errc::malformed, "certificate: subject alternative name", rc);
    if (i >= Certificate::kMaxNames) {
      return fail(Errc::too_large, "certificate: more than {} subject alternative names", Certificate::kMaxNames);
    }
    if (auto added = add_name(c, type, name); !added) return added;
  }
}

Result<void> read_usages(gnutls_x509_crt_t crt, Certificate& c) {
  for (unsigned i = 0;; ++i) {
    char oid[128];
    std::size_t size = sizeof oid;
    const int rc = gnutls_x509_crt_get_key_purpose_oid(crt, i, oid, &size, nullptr);
    if (rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) return {};
    if (rc < 0) return gnutls_failure(Errc::malformed, "certificate: extended key usage", rc);
    if (i >= kMaxUsages) return fail(Errc::too_large, "certificate: more than {} extended key usages", kMaxUsages);
    c.extended_key_usage.emplace_back(oid);
  }
}

void read_key(gnutls_x509_crt_t crt, Certificate& c) {
  unsigned bits = 0;
  const int algorithm = gnutls_x509_crt_get_pk_algorithm(crt, &bits);
  if (algorithm < 0) {
    c.key_text = "unknown";
    return;
  }
  gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
  if (algorithm == GNUTLS_PK_EDDSA_ED25519) {
    c.key_type = KeyType::ed25519;
    c.key_text = "Ed25519";
  } else if (algorithm == GNUTLS_PK_ECDSA && gnutls_x509_crt_get_pk_ecc_raw(crt, &curve, nullptr, nullptr) == 0 &&
             curve == GNUTLS_ECC_CURVE_SECP256R1) {
    c.key_type = KeyType::p256;
    c.key_text = "P-256";
  } else {
    const char* name = gnutls_pk_algorithm_get_name(static_cast<gnutls_pk_algorithm_t>(algorithm));
    c.key_text = fmt::format("{}, {} bits", name != nullptr ? name : "unknown", bits);
  }
}

Result<std::string> distinguished_name(gnutls_x509_crt_t crt, bool issuer) {
  Datum dn;
  const int rc = issuer ? gnutls_x509_crt_get_issuer_dn3(crt, dn.out(), 0) : gnutls_x509_crt_get_dn3(crt, dn.out(), 0);
  if (rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) return std::string{};  // RFC 5280 4.1.2.6 allows an empty subject
  if (rc < 0) return gnutls_failure(Errc::malformed, issuer ? "certificate: issuer" : "certificate: subject", rc);
  return std::string{dn.text()};
}

Result<void> read_serial(gnutls_x509_crt_t crt, Certificate& c) {
  std::uint8_t serial[64];
  std::size_t size = sizeof serial;
  const int rc = gnutls_x509_crt_get_serial(crt, serial, &size);
  if (rc < 0) return gnutls_failure(Errc::malformed, "certificate: serial number", rc);
  const auto* first = std::find_if(serial, serial + size, [](std::uint8_t octet) { return octet != 0; });
  c.serial.assign(first, static_cast<const std::uint8_t*>(serial + size));
  return {};
}

}  // namespace

std::string_view to_string(KeyType type) {
  switch (type) {
    case KeyType::p256: return "p256";
    case KeyType::ed25519: return "ed25519";
    case KeyType::other: return "other";
  }
  return "unknown";
}

std::string_view to_string(Purpose purpose) {
  switch (purpose) {
    case Purpose::client: return "client authentication";
    case Purpose::server: return "server authentication";
  }
  return "unknown";
}

Result<Certificate> Certificate::parse(Bytes der) {
  if (der.empty()) return fail(Errc::malformed, "certificate: empty");
  if (der.size() > kMaxDer) return fail(Errc::too_large, "certificate: {} octets, limit {}", der.size(), kMaxDer);
  const auto crt = new_crt();
  if (!crt) return fail(Errc::internal, "certificate: out of memory");
  const auto input = datum_of(der);
  if (const int rc = gnutls_x509_crt_import(crt.get(), &input, GNUTLS_X509_FMT_DER); rc < 0) {
    return gnutls_failure(Errc::malformed, "certificate", rc);
  }

  Certificate c;
  c.der.assign(der.begin(), der.end());
  if (auto read = read_serial(crt.get(), c); !read) return fail(read.error());
  auto not_before = wall_time(gnutls_x509_crt_get_activation_time(crt.get()), "notBefore");
  if (!not_before) return fail(not_before.error());
  auto not_after = wall_time(gnutls_x509_crt_get_expiration_time(crt.get()), "notAfter");
  if (!not_after) return fail(not_after.error());
  c.not_before = *not_before;
  c.not_after = *not_after;
  auto subject = distinguished_name(crt.get(), false);
  if (!subject) return fail(subject.error());
  auto issuer = distinguished_name(crt.get(), true);
  if (!issuer) return fail(issuer.error());
  c.subject = std::move(*subject);
  c.issuer = std::move(*issuer);
  if (auto read = read_names(crt.get(), c); !read) return fail(read.error());
  if (auto read = read_usages(crt.get(), c); !read) return fail(read.error());
  // Unreadable basic constraints count as "CA": the careful side for a leaf.
  const int ca = gnutls_x509_crt_get_ca_status(crt.get(), nullptr);
  c.is_authority = ca != 0 && ca != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
  read_key(crt.get(), c);
  std::size_t size = c.fingerprint.size();
  if (const int rc = gnutls_fingerprint(GNUTLS_DIG_SHA256, &input, c.fingerprint.data(), &size); rc < 0) {
    return gnutls_failure(Errc::crypto, "certificate: fingerprint", rc);
  }
  return c;
}

Result<std::vector<Certificate>> Certificate::parse_chain(std::string_view pem) {
  if (pem.size() > kMaxPem) return fail(Errc::too_large, "PEM: {} octets, limit {}", pem.size(), kMaxPem);
  if (pem.find("-----BEGIN CERTIFICATE-----") == std::string_view::npos &&
      pem.find("-----BEGIN X509 CERTIFICATE-----") == std::string_view::npos) {
    return fail(Errc::not_found, "no certificate in this PEM text");
  }
  gnutls_x509_crt_t raw[kMaxChain] = {};
  unsigned count = kMaxChain;
  const auto input = datum_of(as_bytes(pem));
  const int rc =
      gnutls_x509_crt_list_import(raw, &count, &input, GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
  if (rc == GNUTLS_E_SHORT_MEMORY_BUFFER) return fail(Errc::too_large, "PEM: more than {} certificates", kMaxChain);
  if (rc < 0) return gnutls_failure(Errc::malformed, "PEM", rc);
  std::vector<CrtHandle> handles;
  for (int i = 0; i < rc; ++i) handles.emplace_back(raw[i]);

  std::vector<Certificate> chain;
  for (const auto& crt : handles) {
    Datum der;
    if (const int e = gnutls_x509_crt_export2(crt.get(), GNUTLS_X509_FMT_DER, der.out()); e < 0) {
      return gnutls_failure(Errc::malformed, "PEM", e);
    }
    auto parsed = parse(der.bytes());
    if (!parsed) return fail(parsed.error());
    chain.push_back(std::move(*parsed));
  }
  if (chain.empty()) return fail(Errc::not_found, "no certificate in this PEM text");
  return chain;
}

Result<Certificate> Certificate::parse_pem(std::string_view pem) {
  auto chain = parse_chain(pem);
  if (!chain) return fail(chain.error());
  return std::move(chain->front());
}

bool Certificate::allows(Purpose purpose) const {
  const std::string_view oid = purpose == Purpose::client ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER;
  return std::ranges::find(extended_key_usage, oid) != extended_key_usage.end();
}

bool Certificate::names_host(std::string_view host) const {
  if (host.empty() || host.find('*') != std::string_view::npos) return false;
  if (const auto address = IpAddress::parse(host)) return std::ranges::find(addresses, *address) != addresses.end();
  return std::ranges::any_of(dns_names, [&](const std::string& name) { return equal_folded(name, host); });
}

std::string Certificate::to_pem() const {
  Datum pem;
  const auto input = datum_of(der);
  if (gnutls_pem_base64_encode2("CERTIFICATE", &input, pem.out()) < 0) return {};
  std::string out{pem.text()};
  if (!out.ends_with('\n')) out += '\n';
  return out;
}

std::string colon_hex(Bytes bytes) {
  std::string out;
  for (const auto octet : bytes) fmt::format_to(std::back_inserter(out), "{}{:02x}", out.empty() ? "" : ":", octet);
  return out;
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  for (const char c : text) {
    if (out.size() >= limit) return out.substr(0, limit) + "...";
    if (c >= 0x20 && c < 0x7F) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace ztna::identity
