// A deployment's own certificate authority: makes the CA and issues leaf certificates with ZTNA identities.
//
//   auto ca = Authority::create({.name = "lab CA", .trust_domain = "ztna.internal", .now = now});
//   auto leaf = ca->issue({.role = Role::agent, .name = "laptop-1", .services = {"web"}, .now = now});
//   leaf->cert_pem, leaf->key_pem, ca->anchor_pem()
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "identity/certificate.h"
#include "identity/identity.h"
#include "identity/private_key.h"

namespace ztna::identity {

/// notBefore lies this far in the past, for clocks that run behind.
inline constexpr std::chrono::seconds kBackdate = std::chrono::minutes{5};
inline constexpr std::string_view kDefaultTrustDomain = "ztna.internal";
inline constexpr std::chrono::hours kMaxLifetime{24 * 3650};

struct AuthorityRequest {
  std::string name = "ZTNA CA";  // common name, 1 to 64 printable ASCII
  std::string trust_domain{kDefaultTrustDomain};
  KeyType key_type = KeyType::p256;
  std::chrono::seconds lifetime = kMaxLifetime;  // from now
  WallTime now;
};

struct LeafRequest {
  Role role = Role::agent;
  std::string name;
  std::vector<std::string> services;  // ids or "*"; agents and connectors: at least one, intermediates: none
  std::vector<std::string> hosts;     // DNS names or addresses; intermediates: at least one, others: none
  KeyType key_type = KeyType::p256;
  std::chrono::seconds lifetime = std::chrono::hours{24 * 30};  // from now
  WallTime now;
};

struct Issued {
  std::string cert_pem;  // leaf first, then issuing CAs that are not themselves the root
  std::string key_pem;
  Certificate certificate;
  Identity identity;
};

class Authority {
 public:
  /// Self-signed: CA, path length 0, keyCertSign and cRLSign; the trust domain is a SAN URI spiffe://<trust-domain>.
  /// Errors: invalid_argument (the text names the field and the rule), crypto.
  static Result<Authority> create(const AuthorityRequest& request);
  /// `cert_pem` may go on with the certificates above it. Errors: malformed, not_found; invalid_argument (no CA, the
  /// key belongs to another certificate, no trust domain in it).
  static Result<Authority> load(std::string_view cert_pem, std::string_view key_pem);

  /// Makes a key and a certificate with a random 128-bit serial. Extended key usage by role: agent clientAuth,
  /// connector and intermediate clientAuth and serverAuth. The result has been read back by Identity::from_certificate.
  /// Errors: invalid_argument (bad name, service, host, lifetime, or the CA ends earlier), crypto.
  Result<Issued> issue(const LeafRequest& request) const;

  const Certificate& certificate() const { return chain_.front(); }
  const std::string& trust_domain() const { return trust_domain_; }
  /// What goes into ca.pem: everything that was created or loaded.
  std::string anchor_pem() const;
  Result<std::string> key_pem() const { return key_.to_pem(); }

 private:
  Authority(std::vector<Certificate> chain, PrivateKey key, std::string trust_domain);

  std::vector<Certificate> chain_;  // issuing CA first
  PrivateKey key_;
  std::string trust_domain_;
};

}  // namespace ztna::identity
