#include "identity/san.h"

#include <algorithm>

namespace ztna::identity {

namespace {

constexpr std::size_t kMaxDnsName = 253;  // RFC 1035 2.3.4, without the root
constexpr std::size_t kMaxUri = 512;
constexpr std::string_view kScheme = "spiffe://";
constexpr std::string_view kSuffix = ".ztna";

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/// What no identity may contain, whatever its form. `what` begins the text.
SanResult<std::string> checked_fold(std::string_view what, std::string_view text, std::size_t limit) {
  if (text.find('\0') != std::string_view::npos) {
    return refuse(IdentityFault::embedded_nul, "{} \"{}\" has a NUL octet in it", what, printable(text));
  }
  if (!std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7F; })) {
    return refuse(IdentityFault::not_ascii, "{} \"{}\" has a space or a character outside printable ASCII", what,
                  printable(text));
  }
  if (text.size() > limit) {
    return refuse(IdentityFault::too_long, "{} \"{}\" has {} octets, limit {}", what, printable(text, 64), text.size(),
                  limit);
  }
  return fold_case(text);
}

/// `text` is folded. Labels are not empty, at most 63 octets, of [a-z0-9-_], without a hyphen at their ends.
SanResult<void> check_labels(IdentityFault fault, std::string_view what, std::string_view text) {
  if (text.empty()) return refuse(fault, "{} is empty", what);
  if (text.ends_with('.')) return refuse(fault, "{} \"{}\" ends in a dot", what, text);
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find('.', begin), text.size());
    const auto label = text.substr(begin, end - begin);
    begin = end + 1;
    if (label.empty()) return refuse(fault, "{} \"{}\" has an empty label", what, text);
    if (label.size() > wire::ServiceId::kMaxLabel) {
      return refuse(IdentityFault::too_long, "{} \"{}\" has a label of {} octets, limit {}", what, printable(text, 96),
                    label.size(), wire::ServiceId::kMaxLabel);
    }
    if (!std::ranges::all_of(label, [](char c) { return is_lower_or_digit(c) || c == '-' || c == '_'; })) {
      return refuse(fault, "{} \"{}\" has a character outside a-z, 0-9, '-' and '_'", what, text);
    }
    if (label.starts_with('-') || label.ends_with('-')) {
      return refuse(fault, "{} \"{}\" has a hyphen at the end of a label", what, text);
    }
  }
  return {};
}

SanResult<DnsEntry> parse_role_and_service(std::string_view name) {
  const auto inner = name.substr(0, name.size() - kSuffix.size());
  const auto dot = inner.find('.');
  const auto role_text = inner.substr(0, dot);
  const auto role = role_from(role_text);
  if (!role || *role == Role::intermediate) {
    if (role_text.find('*') != std::string_view::npos) {
      return refuse(IdentityFault::wildcard, "DNS name \"{}\": '*' cannot stand for a role", name);
    }
    return refuse(IdentityFault::unknown_role, "DNS name \"{}\": names in .ztna begin with agent or connector", name);
  }
  if (dot == std::string_view::npos) {
    return refuse(IdentityFault::bad_dns_name, "DNS name \"{}\" has no service between role and .ztna", name);
  }
  const auto service = inner.substr(dot + 1);
  DnsEntry entry;
  entry.role = *role;
  if (service == wire::kAllServices) {
    entry.all = true;
    return entry;
  }
  if (service.find('*') != std::string_view::npos) {
    return refuse(IdentityFault::wildcard, "DNS name \"{}\": '*' stands for one whole service id, not for a part",
                  name);
  }
  auto id = wire::ServiceId::parse(service);
  if (!id) {
    return refuse(id.error().code == Errc::too_large ? IdentityFault::too_long : IdentityFault::bad_dns_name,
                  "DNS name \"{}\": {}", name, id.error().text);
  }
  entry.service = std::move(*id);
  return entry;
}

}  // namespace

std::string fold_case(std::string_view text) {
  std::string out{text};
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

SanResult<DnsEntry> parse_dns_entry(std::string_view name) {
  const auto folded = checked_fold("DNS name", name, kMaxDnsName);
  if (!folded) return tl::unexpected{folded.error()};
  if (folded->ends_with(kSuffix)) return parse_role_and_service(*folded);
  if (folded->find('*') != std::string::npos) {
    return refuse(IdentityFault::wildcard, "DNS name \"{}\": '*' is only allowed as the service of a .ztna name",
                  *folded);
  }
  if (auto ok = check_labels(IdentityFault::bad_dns_name, "DNS name", *folded); !ok) return tl::unexpected{ok.error()};
  DnsEntry entry;
  entry.host = *folded;
  return entry;
}

SanResult<std::string> parse_trust_domain(std::string_view text) {
  auto folded = checked_fold("trust domain", text, Identity::kMaxTrustDomain);
  if (!folded) return folded;
  if (auto ok = check_labels(IdentityFault::bad_trust_domain, "trust domain", *folded); !ok) {
    return tl::unexpected{ok.error()};
  }
  return folded;
}

SanResult<std::string> parse_bearer_name(std::string_view text) {
  auto folded = checked_fold("name", text, Identity::kMaxName);
  if (!folded) return folded;
  if (folded->empty()) return refuse(IdentityFault::bad_name, "name is empty");
  const auto allowed = [](char c) { return is_lower_or_digit(c) || c == '-' || c == '_' || c == '.'; };
  if (!std::ranges::all_of(*folded, allowed)) {
    return refuse(IdentityFault::bad_name, "name \"{}\" has a character outside a-z, 0-9, '-', '_' and '.'", *folded);
  }
  // RFC 3986 5.2.4: "." and ".." are no names but steps in a path.
  if (std::ranges::all_of(*folded, [](char c) { return c == '.'; })) {
    return refuse(IdentityFault::bad_name, "name \"{}\" is only dots", *folded);
  }
  return folded;
}

SanResult<UriEntry> parse_uri_entry(std::string_view uri) {
  const auto folded = checked_fold("URI", uri, kMaxUri);
  if (!folded) return tl::unexpected{folded.error()};
  const std::string_view text = *folded;
  if (!text.starts_with(kScheme)) {
    return refuse(IdentityFault::bad_uri, "URI \"{}\" is not spiffe://<trust-domain>/<role>/<name>", text);
  }
  const auto rest = text.substr(kScheme.size());
  const auto domain_end = rest.find('/');
  const auto role_end = domain_end == std::string_view::npos ? domain_end : rest.find('/', domain_end + 1);
  if (role_end == std::string_view::npos || rest.find('/', role_end + 1) != std::string_view::npos) {
    return refuse(IdentityFault::bad_uri, "URI \"{}\" is not spiffe://<trust-domain>/<role>/<name>", text);
  }
  auto domain = parse_trust_domain(rest.substr(0, domain_end));
  if (!domain) return tl::unexpected{domain.error()};
  const auto role_text = rest.substr(domain_end + 1, role_end - domain_end - 1);
  const auto role = role_from(role_text);
  if (!role) {
    return refuse(IdentityFault::unknown_role, "URI \"{}\": role \"{}\" is not agent, connector or intermediate", text,
                  role_text);
  }
  auto name = parse_bearer_name(rest.substr(role_end + 1));
  if (!name) return tl::unexpected{name.error()};
  return UriEntry{std::move(*domain), *role, std::move(*name)};
}

}  // namespace ztna::identity
