#include "identity/authority.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <array>
#include <optional>

#include "identity/private_key_impl.h"
#include "identity/san.h"

namespace ztna::identity {

namespace {

constexpr std::size_t kMaxCommonName = 64;  // RFC 5280 appendix A.1, ub-common-name
constexpr std::size_t kMaxServices = 256;

/// Collects the first failure of a row of GnuTLS calls, so that a certificate reads as a list of what is in it.
class Builder {
 public:
  Builder() : crt_(new_crt()) {
    if (!crt_) rc_ = GNUTLS_E_MEMORY_ERROR;
  }
  template <typename Function, typename... Args>
  void set(Function function, Args... args) {
    if (rc_ >= 0) rc_ = function(crt_.get(), args...);
  }
  void common_name(std::string_view name) {
    const auto cut = name.substr(0, kMaxCommonName);
    set(gnutls_x509_crt_set_dn_by_oid, GNUTLS_OID_X520_COMMON_NAME, 0U, cut.data(), static_cast<unsigned>(cut.size()));
  }
  void alt_name(gnutls_x509_subject_alt_name_t type, Bytes name) {
    set(gnutls_x509_crt_set_subject_alt_name, type, name.data(), static_cast<unsigned>(name.size()),
        static_cast<unsigned>(GNUTLS_FSAN_APPEND));
  }
  void validity(WallTime now, WallTime end) {
    set(gnutls_x509_crt_set_activation_time, static_cast<std::time_t>((now - kBackdate).time_since_epoch().count()));
    set(gnutls_x509_crt_set_expiration_time, static_cast<std::time_t>(end.time_since_epoch().count()));
  }
  void random_serial() {
    std::array<std::uint8_t, 16> serial{};
    if (rc_ >= 0) rc_ = gnutls_rnd(GNUTLS_RND_NONCE, serial.data(), serial.size());
    // RFC 5280 4.1.2.2: positive. With bit 126 set every serial is 16 octets long; 126 bits stay random.
    serial[0] = static_cast<std::uint8_t>((serial[0] & 0x3F) | 0x40);
    set(gnutls_x509_crt_set_serial, static_cast<const void*>(serial.data()), serial.size());
  }
  void subject_key(const PrivateKey& key) {
    set(gnutls_x509_crt_set_key, key.impl().key.get());
    std::array<std::uint8_t, 32> id{};
    std::size_t size = id.size();
    if (rc_ >= 0) rc_ = gnutls_x509_crt_get_key_id(crt_.get(), GNUTLS_KEYID_USE_SHA1, id.data(), &size);
    set(gnutls_x509_crt_set_subject_key_id, static_cast<const void*>(id.data()), size);
  }
  /// A CA without a subject key id gets no authority key id in its certificates.
  void authority_key(gnutls_x509_crt_t issuer) {
    std::array<std::uint8_t, 64> id{};
    std::size_t size = id.size();
    if (rc_ >= 0 && gnutls_x509_crt_get_subject_key_id(issuer, id.data(), &size, nullptr) >= 0) {
      set(gnutls_x509_crt_set_authority_key_id, static_cast<const void*>(id.data()), size);
    }
  }
  /// `issuer` null: self-signed.
  Result<Certificate> sign(gnutls_x509_crt_t issuer, const PrivateKey& key) {
    // RFC 8032: Ed25519 hashes with SHA-512 itself; GnuTLS wants it said.
    const auto digest = key.type() == KeyType::ed25519 ? GNUTLS_DIG_SHA512 : GNUTLS_DIG_SHA256;
    if (rc_ >= 0) {
      rc_ = gnutls_x509_crt_sign2(crt_.get(), issuer != nullptr ? issuer : crt_.get(), key.impl().key.get(), digest, 0);
    }
    Datum der;
    if (rc_ >= 0) rc_ = gnutls_x509_crt_export2(crt_.get(), GNUTLS_X509_FMT_DER, der.out());
    if (rc_ < 0) return gnutls_failure(Errc::crypto, "making the certificate", rc_);
    return Certificate::parse(der.bytes());
  }

 private:
  CrtHandle crt_;
  int rc_ = 0;
};

Result<WallTime> end_of(WallTime now, std::chrono::seconds lifetime) {
  if (lifetime < std::chrono::minutes{1} || lifetime > kMaxLifetime) {
    return fail(Errc::invalid_argument, "lifetime: 1 minute to {} days", kMaxLifetime.count() / 24);
  }
  return now + lifetime;
}

tl::unexpected<Error> invalid(const IdentityError& error) { return fail(Errc::invalid_argument, "{}", error.text); }

/// A request with every text checked and folded.
struct Names {
  std::string uri;
  std::vector<std::string> dns;
  std::vector<IpAddress> addresses;
};

Result<void> add_services(const LeafRequest& request, Names& names) {
  if (request.role == Role::intermediate) {
    if (request.services.empty()) return {};
    return fail(Errc::invalid_argument, "services: an intermediate has none");
  }
  if (request.services.empty()) {
    return fail(Errc::invalid_argument, "services: the {} needs at least one, or '*' for all", to_string(request.role));
  }
  if (request.services.size() > kMaxServices) {
    return fail(Errc::invalid_argument, "services: {}, limit {}", request.services.size(), kMaxServices);
  }
  for (const auto& service : request.services) {
    const auto folded = fold_case(service);
    if (folded != wire::kAllServices) {
      if (service.find('*') != std::string::npos) {
        return fail(Errc::invalid_argument, "service \"{}\": '*' alone means all services, there are no patterns",
                    printable(service));
      }
      if (const auto id = wire::ServiceId::parse(folded); !id) {
        return fail(Errc::invalid_argument, "service \"{}\": {}", printable(service), id.error().text);
      }
    }
    auto name = fmt::format("{}.{}.ztna", to_string(request.role), folded);
    if (std::ranges::find(names.dns, name) == names.dns.end()) names.dns.push_back(std::move(name));
  }
  return {};
}

Result<void> add_hosts(const LeafRequest& request, Names& names) {
  if (request.role != Role::intermediate) {
    if (request.hosts.empty()) return {};
    return fail(Errc::invalid_argument, "hosts: only an intermediate has them");
  }
  if (request.hosts.empty()) {
    return fail(Errc::invalid_argument, "hosts: an intermediate needs the DNS name or IP address that others dial");
  }
  for (const auto& host : request.hosts) {
    if (const auto address = IpAddress::parse(host)) {
      names.addresses.push_back(*address);
      continue;
    }
    auto entry = parse_dns_entry(host);
    if (!entry) return fail(Errc::invalid_argument, "host: {}", entry.error().text);
    if (entry->host.empty()) return fail(Errc::invalid_argument, "host \"{}\": names in .ztna are identities", host);
    names.dns.push_back(std::move(entry->host));
  }
  return {};
}

Result<Names> names_of(const LeafRequest& request, std::string_view trust_domain) {
  const auto name = parse_bearer_name(request.name);
  if (!name) return invalid(name.error());
  Names names;
  names.uri = fmt::format("spiffe://{}/{}/{}", trust_domain, to_string(request.role), *name);
  if (auto added = add_services(request, names); !added) return fail(added.error());
  if (auto added = add_hosts(request, names); !added) return fail(added.error());
  return names;
}

/// spiffe://<trust-domain>, which `create` puts into a CA.
std::optional<std::string> trust_domain_of(const Certificate& ca) {
  constexpr std::string_view kScheme = "spiffe://";
  if (ca.uris.size() != 1 || !fold_case(ca.uris.front()).starts_with(kScheme)) return std::nullopt;
  const auto domain = parse_trust_domain(std::string_view{ca.uris.front()}.substr(kScheme.size()));
  return domain ? std::optional{*domain} : std::nullopt;
}

}  // namespace

Authority::Authority(std::vector<Certificate> chain, PrivateKey key, std::string trust_domain)
    : chain_(std::move(chain)), key_(std::move(key)), trust_domain_(std::move(trust_domain)) {}

Result<Authority> Authority::create(const AuthorityRequest& request) {
  if (request.name.empty() || request.name.size() > kMaxCommonName ||
      !std::ranges::all_of(request.name, [](char c) { return c >= 0x20 && c < 0x7F; })) {
    return fail(Errc::invalid_argument, "name: 1 to {} printable ASCII characters", kMaxCommonName);
  }
  auto trust_domain = parse_trust_domain(request.trust_domain);
  if (!trust_domain) return invalid(trust_domain.error());
  const auto end = end_of(request.now, request.lifetime);
  if (!end) return fail(end.error());
  auto key = PrivateKey::generate(request.key_type);
  if (!key) return fail(key.error());

  Builder builder;
  builder.set(gnutls_x509_crt_set_version, 3U);
  builder.random_serial();
  builder.validity(request.now, *end);
  builder.common_name(request.name);
  builder.alt_name(GNUTLS_SAN_URI, as_bytes("spiffe://" + *trust_domain));
  builder.set(gnutls_x509_crt_set_basic_constraints, 1U, 0);
  builder.set(gnutls_x509_crt_set_key_usage, static_cast<unsigned>(GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN));
  builder.subject_key(*key);
  auto certificate = builder.sign(nullptr, *key);
  if (!certificate) return fail(certificate.error());
  std::vector<Certificate> chain;
  chain.push_back(std::move(*certificate));
  return Authority{std::move(chain), std::move(*key), std::move(*trust_domain)};
}

Result<Authority> Authority::load(std::string_view cert_pem, std::string_view key_pem) {
  auto chain = Certificate::parse_chain(cert_pem);
  if (!chain) return fail(chain.error());
  auto key = PrivateKey::from_pem(key_pem);
  if (!key) return fail(key.error());
  if (!chain->front().is_authority) return fail(Errc::invalid_argument, "this certificate is no CA");
  if (!key->matches(chain->front())) return fail(Errc::invalid_argument, "the key belongs to another certificate");
  auto trust_domain = trust_domain_of(chain->front());
  if (!trust_domain) {
    return fail(Errc::invalid_argument, "this CA names no trust domain (a URI name spiffe://<trust-domain>)");
  }
  return Authority{std::move(*chain), std::move(*key), std::move(*trust_domain)};
}

Result<Issued> Authority::issue(const LeafRequest& request) const {
  const auto names = names_of(request, trust_domain_);
  if (!names) return fail(names.error());
  const auto end = end_of(request.now, request.lifetime);
  if (!end) return fail(end.error());
  if (*end > certificate().not_after) {
    return fail(Errc::invalid_argument,
                "lifetime: the CA ends on {:%Y-%m-%d %H:%M:%S} UTC, before the certificate would; ask for less",
                certificate().not_after);
  }
  auto key = PrivateKey::generate(request.key_type);
  if (!key) return fail(key.error());
  const auto issuer = new_crt();
  const auto issuer_der = datum_of(certificate().der);
  if (!issuer) return fail(Errc::internal, "certificate: out of memory");
  if (const int rc = gnutls_x509_crt_import(issuer.get(), &issuer_der, GNUTLS_X509_FMT_DER); rc < 0) {
    return gnutls_failure(Errc::crypto, "CA certificate", rc);
  }

  Builder builder;
  builder.set(gnutls_x509_crt_set_version, 3U);
  builder.random_serial();
  builder.validity(request.now, *end);
  builder.common_name(std::string_view{names->uri}.substr(names->uri.rfind('/') + 1));
  builder.alt_name(GNUTLS_SAN_URI, as_bytes(names->uri));
  for (const auto& dns : names->dns) builder.alt_name(GNUTLS_SAN_DNSNAME, as_bytes(dns));
  for (const auto& address : names->addresses) builder.alt_name(GNUTLS_SAN_IPADDRESS, address.octets());
  builder.set(gnutls_x509_crt_set_basic_constraints, 0U, -1);
  builder.set(gnutls_x509_crt_set_key_usage, static_cast<unsigned>(GNUTLS_KEY_DIGITAL_SIGNATURE));
  builder.set(gnutls_x509_crt_set_key_purpose_oid, static_cast<const void*>(GNUTLS_KP_TLS_WWW_CLIENT), 0U);
  if (request.role != Role::agent) {
    builder.set(gnutls_x509_crt_set_key_purpose_oid, static_cast<const void*>(GNUTLS_KP_TLS_WWW_SERVER), 0U);
  }
  builder.subject_key(*key);
  builder.authority_key(issuer.get());
  auto leaf = builder.sign(issuer.get(), key_);
  if (!leaf) return fail(leaf.error());
  auto identity = Identity::from_certificate(*leaf);
  if (!identity)
    return fail(Errc::internal, "the new certificate is not what was asked for: {}", identity.error().text);
  auto key_text = key->to_pem();
  if (!key_text) return fail(key_text.error());

  auto cert_pem = leaf->to_pem();
  for (const auto& above : chain_) {
    if (above.subject != above.issuer) cert_pem += above.to_pem();  // the peer has the root already
  }
  return Issued{std::move(cert_pem), std::move(*key_text), std::move(*leaf), std::move(*identity)};
}

std::string Authority::anchor_pem() const {
  std::string pem;
  for (const auto& c : chain_) pem += c.to_pem();
  return pem;
}

}  // namespace ztna::identity
