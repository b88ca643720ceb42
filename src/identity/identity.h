// Who a certificate's bearer is and what it may do: SAN entries DNS:<role>.<service>.ztna authorize a
// role for a service, URI:spiffe://<trust-domain>/<role>/<name> names the bearer. Both are required and must agree.
//
// Matching is our own: exact, per label, ASCII case-folded, no IDN, and `*` stands for one whole service id. Anything
// that only nearly fits refuses the certificate as a whole, so that a mistake at the CA is seen and not half obeyed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "identity/certificate.h"
#include "wire/service_id.h"

namespace ztna::identity {

/// Numbered as on the wire (docs/protocol.md 3, RouteOpened).
enum class Role : std::uint8_t { agent = 1, connector = 2, intermediate = 3 };
std::string_view to_string(Role role);
std::optional<Role> role_from(std::string_view text);

/// Why a certificate is refused; one counter each.
enum class IdentityFault : std::uint8_t {
  unparsable,  // not an X.509 certificate
  not_yet_valid,
  expired,
  wrong_usage,   // extended key usage does not allow what the bearer does
  is_authority,  // a CA's certificate is nobody's identity
  no_names,      // no subject alternative name at all
  no_uri,        // nothing names the bearer
  several_uris,
  no_service,  // agent or connector without a DNS:<role>.<service>.ztna
  no_host,     // intermediate without a DNS name or address
  embedded_nul,
  not_ascii,  // or not printable
  too_long,
  bad_dns_name,  // empty label, trailing dot, character outside [a-z0-9-_], hyphen at a label's end
  wildcard,      // `*` that is not one whole service id
  bad_uri,       // not spiffe://<trust-domain>/<role>/<name>
  bad_trust_domain,
  bad_name,
  unknown_role,       // in the URI or in front of a .ztna name
  several_roles,      // DNS names of more than one role
  role_mismatch,      // URI and DNS names disagree
  role_not_expected,  // a good identity, but not the role that may stand here (see expect_role)
  count_
};
std::string_view to_string(IdentityFault fault);

/// An Error (code `denied`, or what Certificate::parse said) that can also be counted.
struct IdentityError : Error {
  IdentityFault fault = IdentityFault::unparsable;
};
struct Identity;
using IdentityResult = tl::expected<Identity, IdentityError>;

struct Identity {
  static constexpr std::size_t kMaxName = 128;
  static constexpr std::size_t kMaxTrustDomain = 128;
  static constexpr std::string_view kAll = "*";

  Role role = Role::agent;
  std::string trust_domain;               // lower case
  std::string name;                       // lower case, [a-z0-9._-]
  bool all_services = false;              // a `*` entry
  std::vector<wire::ServiceId> services;  // the exact entries, sorted, without doubles
  std::vector<std::string> hosts;         // intermediates: DNS names (lower case) and addresses as text
  WallTime not_before;
  WallTime not_after;
  ByteVector serial;

  /// By the names alone; times and key usage are not looked at. For a leaf whose chain TLS has verified.
  static IdentityResult from_certificate(const Certificate& certificate);
  /// What a QUIC handler's verify_peer needs: parse, times, key usage, names.
  static IdentityResult from_leaf(Bytes der, WallTime now, Purpose purpose);

  /// May the bearer use (agent) or offer (connector) this service? Always false for an intermediate.
  bool permits(const wire::ServiceId& service) const;
  /// The same for text from a peer or a file; false if it is no service id.
  bool permits(std::string_view service) const;
  bool valid_at(WallTime now) const { return not_before <= now && now <= not_after; }

  /// "agent laptop-1": for logs. "spiffe://…": the URI in canonical form.
  std::string text() const;
  std::string uri() const;
  /// "db.eu, web", "*", "*, web": for people.
  std::string services_text() const;
};

/// Is every right of `inner` also one of `outer`: same role and trust domain, and services within? (Renewal,
/// delegation.)
bool covers(const Identity& outer, const Identity& inner);

/// Hands `result` on if the bearer has this role, else role_not_expected: `expect_role(Identity::from_leaf(…),
/// Role::agent)`.
IdentityResult expect_role(IdentityResult result, Role role);

}  // namespace ztna::identity
