// The two kinds of SAN entries that make an identity, as text. Internal to this folder; Identity puts them together.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "identity/identity.h"

namespace ztna::identity {

template <typename T>
using SanResult = tl::expected<T, IdentityError>;

/// Makes the error half: `return refuse(IdentityFault::wildcard, "...", ...)`.
template <typename... Args>
[[nodiscard]] tl::unexpected<IdentityError> refuse(IdentityFault fault, fmt::format_string<Args...> text,
                                                   Args&&... args) {
  return tl::unexpected<IdentityError>{
      IdentityError{{Errc::denied, fmt::format(text, std::forward<Args>(args)...)}, fault}};
}

/// ASCII only, for names that were checked to be ASCII.
std::string fold_case(std::string_view text);

/// A SAN dNSName: either DNS:<role>.<service>.ztna or an ordinary host name.
struct DnsEntry {
  std::string host;                        // lower case; set for an ordinary name, else empty
  Role role = Role::agent;                 // agent or connector; for an identity entry
  bool all = false;                        // `*`
  std::optional<wire::ServiceId> service;  // set unless `all` or a host
};
/// Faults: embedded_nul, not_ascii, too_long, bad_dns_name, wildcard, unknown_role.
SanResult<DnsEntry> parse_dns_entry(std::string_view name);

struct UriEntry {
  std::string trust_domain;
  Role role = Role::agent;
  std::string name;
};
/// spiffe://<trust-domain>/<role>/<name>, folded to lower case. Faults: embedded_nul, not_ascii, too_long, bad_uri,
/// bad_trust_domain, unknown_role, bad_name.
SanResult<UriEntry> parse_uri_entry(std::string_view uri);

/// The parts by themselves, for the authority's requests; they give the folded text.
SanResult<std::string> parse_trust_domain(std::string_view text);
SanResult<std::string> parse_bearer_name(std::string_view text);

}  // namespace ztna::identity
