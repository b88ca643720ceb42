#include <fmt/chrono.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/ztnactl/commands.h"
#include "apps/ztnactl/files.h"
#include "identity/identity.h"

namespace ztna::ctl {

namespace {

using identity::Certificate;
using identity::Identity;
using identity::printable;
using identity::Purpose;
using identity::Role;
using Chain = std::vector<Certificate>;

struct InspectOptions {
  std::string file;
  std::string ca;
  bool json = false;
};

/// All that is known about a file; the two printers only put it into words.
struct Findings {
  Chain chain;
  identity::IdentityResult identity;
  std::string usages;
  WallTime now;
  bool checked_chain = false;
  std::string chain_problem;  // empty: fine

  const Certificate& leaf() const { return chain.front(); }
  bool fit() const {
    return leaf().valid_at(now) && chain_problem.empty() && (leaf().is_authority || identity.has_value());
  }
};

/// PEM or DER.
Result<Chain> read_certificates(const std::string& path) {
  const auto content = read_file(path);
  if (!content) return fail(content.error());
  if (content->empty()) return fail(Errc::malformed, "{}: the file is empty", path);
  if (content->front() == '\x30') {
    auto one = Certificate::parse(as_bytes(*content));
    if (!one) return fail(path, one.error());
    Chain chain;
    chain.push_back(std::move(*one));
    return chain;
  }
  auto chain = Certificate::parse_chain(*content);
  if (chain) return chain;
  if (chain.error().code == Errc::not_found) {
    if (content->find("PRIVATE KEY-----") != std::string::npos) {
      return fail(Errc::malformed, "{}: this is a private key; give its certificate, e.g. cert.pem", path);
    }
    return fail(Errc::malformed, "{}: no certificate in it, neither PEM nor DER", path);
  }
  return fail(path, chain.error());
}

std::string usage_name(const std::string& oid) {
  if (oid == "1.3.6.1.5.5.7.3.1") return std::string{to_string(Purpose::server)};
  if (oid == "1.3.6.1.5.5.7.3.2") return std::string{to_string(Purpose::client)};
  return printable(oid);
}

std::string usages_text(const Certificate& c) {
  if (c.is_authority) return "certificate authority";
  std::vector<std::string> names;
  for (const auto& oid : c.extended_key_usage) names.push_back(usage_name(oid));
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

/// What a role does needs which usage; a certificate without identity is asked for what it claims itself.
std::vector<Purpose> purposes(const Findings& f) {
  if (f.identity) {
    switch (f.identity->role) {
      case Role::agent: return {Purpose::client};
      case Role::connector: return {Purpose::client, Purpose::server};
      case Role::intermediate: return {Purpose::server};
    }
  }
  return {f.leaf().allows(Purpose::server) ? Purpose::server : Purpose::client};
}

std::string find_chain_problem(const Findings& f, const Chain& anchors) {
  if (f.leaf().is_authority) {
    const bool same =
        std::ranges::any_of(anchors, [&](const Certificate& a) { return a.fingerprint == f.leaf().fingerprint; });
    return same ? "" : "it is another CA";
  }
  for (const auto purpose : purposes(f)) {
    if (auto ok = verify_chain(f.chain, anchors, purpose, f.now); !ok) return ok.error().text;
  }
  return "";
}

std::string validity_text(const Findings& f) {
  const auto& c = f.leaf();
  if (f.now < c.not_before) return fmt::format("NOT YET VALID, for another {}", span_text(c.not_before - f.now));
  if (f.now > c.not_after) return fmt::format("EXPIRED {} ago", span_text(f.now - c.not_after));
  return fmt::format("{} left", span_text(c.not_after - f.now));
}

template <typename... Args>
void row(std::string_view label, fmt::format_string<Args...> text, Args&&... args) {
  fmt::print("{:<13} {}\n", label, fmt::format(text, std::forward<Args>(args)...));
}

void print_names(const Certificate& c) {
  std::vector<std::string> names;
  for (const auto& name : c.uris) names.push_back("URI:" + printable(name));
  for (const auto& name : c.dns_names) names.push_back("DNS:" + printable(name));
  for (const auto& address : c.addresses) names.push_back("IP:" + ztna::to_string(address));
  if (!names.empty()) row("names", "{}", fmt::join(names, ", "));
}

void print_table(const InspectOptions& options, const Findings& f) {
  const auto& c = f.leaf();
  row("file", "{}", options.file);
  if (f.identity) {
    row("role", "{}", to_string(f.identity->role));
    row("name", "{}", f.identity->name);
    row("trust domain", "{}", f.identity->trust_domain);
    if (f.identity->role == Role::intermediate) {
      row("hosts", "{}", fmt::join(f.identity->hosts, ", "));
    } else {
      row("services", "{}", f.identity->all_services ? "* (all)" : f.identity->services_text());
    }
  } else if (c.is_authority) {
    row("role", "certificate authority (no identity of its own)");
    print_names(c);
  } else {
    row("role", "NO ZTNA IDENTITY: {}", f.identity.error().text);
    print_names(c);
  }
  row("valid from", "{}", date_text(c.not_before));
  row("valid until", "{}  ({})", date_text(c.not_after), validity_text(f));
  row("key", "{}", c.key_text);
  row("usage", "{}", f.usages);
  row("subject", "{}", printable(c.subject));
  row("issuer", "{}", printable(c.issuer));
  row("serial", "{}", identity::colon_hex(c.serial));
  row("SHA-256", "{}", identity::colon_hex(c.fingerprint));
  for (std::size_t i = 1; i < f.chain.size(); ++i) row(i == 1 ? "chain" : "", "{}", printable(f.chain[i].subject));
  if (f.checked_chain) {
    if (f.chain_problem.empty()) {
      row("verified", "yes, by {}", options.ca);
    } else {
      row("verified", "NO: {} ({})", f.chain_problem, options.ca);
    }
  }
}

void print_json(const InspectOptions& options, const Findings& f) {
  const auto& c = f.leaf();
  const auto iso = [](WallTime t) { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", t); };
  nlohmann::ordered_json out;
  out["file"] = printable(options.file, 4096);
  out["kind"] = f.identity ? "identity" : c.is_authority ? "authority" : "none";
  if (f.identity) {
    out["role"] = to_string(f.identity->role);
    out["name"] = f.identity->name;
    out["trust_domain"] = f.identity->trust_domain;
    out["uri"] = f.identity->uri();
    out["all_services"] = f.identity->all_services;
    out["services"] = nlohmann::ordered_json::array();
    for (const auto& service : f.identity->services) out["services"].push_back(service.str());
    out["hosts"] = f.identity->hosts;
  } else if (!c.is_authority) {
    out["fault"] = to_string(f.identity.error().fault);
    out["reason"] = f.identity.error().text;
  }
  out["not_before"] = iso(c.not_before);
  out["not_after"] = iso(c.not_after);
  out["seconds_left"] = (c.not_after - f.now).count();
  out["valid_now"] = c.valid_at(f.now);
  out["key_type"] = to_string(c.key_type);
  out["key"] = c.key_text;
  out["usage"] = nlohmann::ordered_json::array();
  for (const auto& oid : c.extended_key_usage) out["usage"].push_back(usage_name(oid));
  out["subject"] = printable(c.subject, 4096);
  out["issuer"] = printable(c.issuer, 4096);
  out["serial"] = to_hex(c.serial);
  out["sha256"] = to_hex(c.fingerprint);
  if (f.checked_chain) {
    out["verified"] = f.chain_problem.empty();
    if (!f.chain_problem.empty()) out["verify_error"] = f.chain_problem;
  }
  fmt::print("{}\n", out.dump(2));
}

Result<int> inspect(const InspectOptions& options) {
  auto chain = read_certificates(options.file);
  if (!chain) return fail(chain.error());
  auto who = Identity::from_certificate(chain->front());
  auto usages = usages_text(chain->front());
  Findings f{std::move(*chain), std::move(who), std::move(usages), now(), false, {}};
  if (!options.ca.empty()) {
    const auto anchors = read_certificates(options.ca);
    if (!anchors) return fail("--ca", anchors.error());
    f.checked_chain = true;
    f.chain_problem = find_chain_problem(f, *anchors);
  }
  if (options.json) {
    print_json(options, f);
  } else {
    print_table(options, f);
  }
  return f.fit() ? kExitOk : kExitUnfit;
}

}  // namespace

void add_inspect_command(CLI::App& app, Command& chosen) {
  auto* command = app.add_subcommand("inspect", "Show what a certificate says and whom it makes its bearer");
  auto options = std::make_shared<InspectOptions>();
  command->add_option("file", options->file, "certificate, PEM or DER")->required()->type_name("FILE");
  command->add_option("--ca", options->ca, "verify the chain up to these CA certificates")->type_name("FILE");
  command->add_flag("--json", options->json, "for programs");
  command->footer(
      "\nExit code: 0 the certificate is good now, 1 it is not (no ZTNA identity, not valid now, or not of this CA),\n"
      "2 it cannot be read.");
  command->callback([options, &chosen] { chosen = [options] { return inspect(*options); }; });
}

}  // namespace ztna::ctl
