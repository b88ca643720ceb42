#include "identity/identity.h"

#include <fmt/chrono.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "identity/san.h"

namespace ztna::identity {

namespace {

SanResult<void> add_dns_names(const Certificate& c, Identity& identity) {
  std::optional<Role> seen;
  for (const auto& name : c.dns_names) {
    auto entry = parse_dns_entry(name);
    if (!entry) return tl::unexpected{entry.error()};
    if (!entry->host.empty()) {
      // Agents and connectors may carry host names too; they mean nothing here.
      if (identity.role == Role::intermediate) identity.hosts.push_back(std::move(entry->host));
      continue;
    }
    if (seen && *seen != entry->role) {
      return refuse(IdentityFault::several_roles, "DNS names of two roles, agent and connector, in one certificate");
    }
    seen = entry->role;
    if (entry->all) identity.all_services = true;
    if (entry->service) identity.services.push_back(std::move(*entry->service));
  }
  if (seen && *seen != identity.role) {
    return refuse(IdentityFault::role_mismatch, "the URI names the role {}, a DNS name the role {}",
                  to_string(identity.role), to_string(*seen));
  }
  return {};
}

void sort_unique(auto& list) {
  std::ranges::sort(list);
  // Not std::ranges::unique: clang 14 cannot use libstdc++'s subrange.
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::agent: return "agent";
    case Role::connector: return "connector";
    case Role::intermediate: return "intermediate";
  }
  return "unknown";
}

std::optional<Role> role_from(std::string_view text) {
  for (const auto role : {Role::agent, Role::connector, Role::intermediate}) {
    if (text == to_string(role)) return role;
  }
  return std::nullopt;
}

std::string_view to_string(IdentityFault fault) {
  switch (fault) {
    case IdentityFault::unparsable: return "unparsable";
    case IdentityFault::not_yet_valid: return "not_yet_valid";
    case IdentityFault::expired: return "expired";
    case IdentityFault::wrong_usage: return "wrong_usage";
    case IdentityFault::is_authority: return "is_authority";
    case IdentityFault::no_names: return "no_names";
    case IdentityFault::no_uri: return "no_uri";
    case IdentityFault::several_uris: return "several_uris";
    case IdentityFault::no_service: return "no_service";
    case IdentityFault::no_host: return "no_host";
    case IdentityFault::embedded_nul: return "embedded_nul";
    case IdentityFault::not_ascii: return "not_ascii";
    case IdentityFault::too_long: return "too_long";
    case IdentityFault::bad_dns_name: return "bad_dns_name";
    case IdentityFault::wildcard: return "wildcard";
    case IdentityFault::bad_uri: return "bad_uri";
    case IdentityFault::bad_trust_domain: return "bad_trust_domain";
    case IdentityFault::bad_name: return "bad_name";
    case IdentityFault::unknown_role: return "unknown_role";
    case IdentityFault::several_roles: return "several_roles";
    case IdentityFault::role_mismatch: return "role_mismatch";
    case IdentityFault::role_not_expected: return "role_not_expected";
    case IdentityFault::count_: break;
  }
  return "unknown";
}

IdentityResult Identity::from_certificate(const Certificate& c) {
  if (c.is_authority) return refuse(IdentityFault::is_authority, "a CA certificate is nobody's identity");
  if (c.dns_names.empty() && c.uris.empty() && c.addresses.empty()) {
    return refuse(IdentityFault::no_names, "no subject alternative names");
  }
  if (c.uris.empty()) {
    return refuse(IdentityFault::no_uri, "no URI name: spiffe://<trust-domain>/<role>/<name> is required");
  }
  if (c.uris.size() > 1) {
    return refuse(IdentityFault::several_uris, "{} URI names, exactly one is required", c.uris.size());
  }
  auto bearer = parse_uri_entry(c.uris.front());
  if (!bearer) return tl::unexpected{bearer.error()};

  Identity identity;
  identity.role = bearer->role;
  identity.trust_domain = std::move(bearer->trust_domain);
  identity.name = std::move(bearer->name);
  identity.not_before = c.not_before;
  identity.not_after = c.not_after;
  identity.serial = c.serial;
  if (auto added = add_dns_names(c, identity); !added) return tl::unexpected{added.error()};

  if (identity.role == Role::intermediate) {
    for (const auto& address : c.addresses) identity.hosts.push_back(ztna::to_string(address));
    if (identity.hosts.empty()) {
      return refuse(IdentityFault::no_host, "an intermediate without a DNS name or IP address of its host");
    }
  } else if (!identity.all_services && identity.services.empty()) {
    return refuse(IdentityFault::no_service, "no DNS name {0}.<service>.ztna, so this {0} is allowed nothing",
                  to_string(identity.role));
  }
  sort_unique(identity.services);
  sort_unique(identity.hosts);
  return identity;
}

IdentityResult Identity::from_leaf(Bytes der, WallTime now, Purpose purpose) {
  const auto c = Certificate::parse(der);
  if (!c) return tl::unexpected{IdentityError{c.error(), IdentityFault::unparsable}};
  if (now < c->not_before) {
    return refuse(IdentityFault::not_yet_valid, "not valid before {:%Y-%m-%d %H:%M:%S} UTC", c->not_before);
  }
  if (now > c->not_after) {
    return refuse(IdentityFault::expired, "expired on {:%Y-%m-%d %H:%M:%S} UTC", c->not_after);
  }
  auto identity = from_certificate(*c);
  if (identity && !c->allows(purpose)) {
    return refuse(IdentityFault::wrong_usage, "extended key usage does not allow {}", to_string(purpose));
  }
  return identity;
}

bool Identity::permits(const wire::ServiceId& service) const {
  if (role == Role::intermediate) return false;
  return all_services || std::ranges::binary_search(services, service);
}

bool Identity::permits(std::string_view service) const {
  const auto id = wire::ServiceId::parse(service);
  return id && permits(*id);
}

std::string Identity::text() const { return fmt::format("{} {}", to_string(role), name); }

std::string Identity::uri() const { return fmt::format("spiffe://{}/{}/{}", trust_domain, to_string(role), name); }

std::string Identity::services_text() const {
  std::vector<std::string_view> parts;
  if (all_services) parts.push_back(kAll);
  for (const auto& service : services) parts.push_back(service.str());
  return fmt::format("{}", fmt::join(parts, ", "));
}

bool covers(const Identity& outer, const Identity& inner) {
  if (outer.role != inner.role || outer.trust_domain != inner.trust_domain) return false;
  if (inner.all_services && !outer.all_services) return false;
  return std::ranges::all_of(inner.services, [&](const auto& s) { return outer.permits(s); }) &&
         std::ranges::includes(outer.hosts, inner.hosts);
}

IdentityResult expect_role(IdentityResult result, Role role) {
  if (result && result->role != role) {
    return refuse(IdentityFault::role_not_expected, "this is the {}, expected the role {}", result->text(),
                  to_string(role));
  }
  return result;
}

}  // namespace ztna::identity
