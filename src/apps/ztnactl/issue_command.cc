#include <memory>

#include "apps/ztnactl/commands.h"
#include "apps/ztnactl/files.h"
#include "identity/authority.h"

namespace ztna::ctl {

namespace {

using identity::Authority;
using identity::Issued;
using identity::Role;

struct IssueOptions {
  Role role = Role::agent;
  std::string name;
  std::vector<std::string> services;
  std::vector<std::string> hosts;
  std::string ca = "certs";
  std::string out;  // empty: NAME/certs
  std::string key_type = "p256";
  unsigned days = 30;
  unsigned hours = 0;  // not 0: instead of days
  bool force = false;
};

Result<Authority> load_authority(const std::string& directory) {
  const auto cert_file = join(directory, "ca.pem");
  const auto key_file = join(directory, "ca-key.pem");
  for (const auto& file : {cert_file, key_file}) {
    if (!exists(file)) {
      return fail(Errc::not_found,
                  "{} is missing; --ca DIR names the CA's directory, or make one: ztnactl ca init --out {}", file,
                  shell_quoted(directory));
    }
  }
  const auto cert = read_file(cert_file);
  if (!cert) return fail("cannot read the CA", cert.error());
  const auto key = read_file(key_file);
  if (!key) return fail("cannot read the CA's key", key.error());
  if (open_to_others(key_file)) {
    fmt::print(stderr, "ztnactl: warning: other users may read {}; mend it: chmod 600 {}\n", key_file,
               shell_quoted(key_file));
  }
  auto authority = Authority::load(*cert, *key);
  if (!authority) return fail(fmt::format("no usable CA in {} and {}", cert_file, key_file), authority.error());
  return authority;
}

struct OutFiles {
  std::string cert, key, ca, ca_key;
};

Result<void> check_free(const OutFiles& files, const std::string& anchor_pem, bool force) {
  for (const auto& file : {files.key, files.cert}) {
    if (!force && exists(file)) {
      return fail(Errc::conflict, "{} exists; choose another --out, or --force to replace certificate and key", file);
    }
  }
  if (!exists(files.ca)) return {};
  const auto present = read_file(files.ca);
  if (!present) return fail("cannot read", present.error());
  if (*present == anchor_pem) return {};
  if (exists(files.ca_key)) {  // --force is about certificates, never about a CA
    return fail(Errc::conflict, "{} is another CA, with its key beside it; choose another --out", files.ca);
  }
  if (force) return {};
  return fail(Errc::conflict, "{} is another CA's; choose another --out, or --force to replace it", files.ca);
}

Result<void> write_all(const OutFiles& files, const Issued& issued, const std::string& anchor_pem, bool force) {
  const auto replace = force ? Replace::yes : Replace::no;
  if (auto written = write_file(files.key, issued.key_pem, 0600, replace); !written) return written;
  if (auto written = write_file(files.cert, issued.cert_pem, 0644, replace); !written) return written;
  if (exists(files.ca) && !force) return {};  // the same CA: check_free looked
  // With --out and --ca the same directory this writes the CA's certificate over itself.
  return write_file(files.ca, anchor_pem, 0644, replace);
}

Result<int> issue(const IssueOptions& options) {
  const auto authority = load_authority(options.ca);
  if (!authority) return fail(authority.error());
  const auto lifetime = options.hours != 0 ? std::chrono::hours{options.hours} : std::chrono::hours{24} * options.days;
  const auto issued = authority->issue({.role = options.role,
                                        .name = options.name,
                                        .services = options.services,
                                        .hosts = options.hosts,
                                        .key_type = key_type_from(options.key_type),
                                        .lifetime = lifetime,
                                        .now = now()});
  if (!issued) return fail("cannot issue", issued.error());

  const auto& who = issued->identity;
  const auto out = options.out.empty() ? join(who.name, "certs") : options.out;
  const OutFiles files{join(out, "cert.pem"), join(out, "key.pem"), join(out, "ca.pem"), join(out, "ca-key.pem")};
  const auto anchor = authority->anchor_pem();
  if (auto free = check_free(files, anchor, options.force); !free) return fail(free.error());
  if (auto made = make_directories(out); !made) return fail("cannot make the directory", made.error());
  if (auto written = write_all(files, *issued, anchor, options.force); !written) {
    return fail("cannot write", written.error());
  }

  fmt::print("Issued: {}, {}, until {} ({})\n", who.text(),
             options.role == Role::intermediate
                 ? fmt::format("hosts {}", fmt::join(who.hosts, ", "))
                 : fmt::format("services {}", who.all_services ? "* (all)" : who.services_text()),
             date_text(who.not_after), span_text(who.not_after - now()));
  const auto width = files.cert.size();
  fmt::print("  {:<{}}  certificate\n", files.cert, width);
  fmt::print("  {:<{}}  private key, mode 0600\n", files.key, width);
  fmt::print("  {:<{}}  the CA's certificate\n", files.ca, width);
  fmt::print("These are the default files of {} when they lie in certs/ beside its config file.\n",
             options.role == Role::agent       ? "ztna-agent"
             : options.role == Role::connector ? "app-connector"
                                               : "intermediate-server");
  if (exists(files.ca_key)) {
    fmt::print(stderr, "ztnactl: warning: {} also holds the CA's key; copy only the three files above\n", out);
  }
  return kExitOk;
}

void add_role(CLI::App& issue_app, Command& chosen, Role role, const std::string& help) {
  auto* app = issue_app.add_subcommand(std::string{to_string(role)}, help);
  auto options = std::make_shared<IssueOptions>();
  options->role = role;
  app->add_option("--name", options->name, "who bears it: a-z, 0-9, '-', '_', '.'; unique within its role")
      ->required()
      ->type_name("NAME");
  if (role == Role::intermediate) {
    app->add_option("--host", options->hosts, "DNS name or IP address that others dial; repeat for more")
        ->required()
        ->type_name("HOST")
        ->allow_extra_args(false);
  } else {
    app->add_option("--service", options->services, "service id, or '*' (quoted) for all; repeat for more")
        ->required()
        ->type_name("ID")
        ->allow_extra_args(false);
  }
  app->add_option("--ca", options->ca, "directory of ca.pem and ca-key.pem")->capture_default_str()->type_name("DIR");
  app->add_option("--out", options->out, "directory to write cert.pem, key.pem and ca.pem to [NAME/certs]")
      ->type_name("DIR");
  auto* days = app->add_option("--days", options->days, "lifetime in days")
                   ->capture_default_str()
                   ->type_name("N")
                   ->check(range(1, 3650));
  app->add_option("--hours", options->hours, "lifetime in hours, instead of --days")
      ->type_name("N")
      ->check(range(1, 24 * 3650))
      ->excludes(days);
  add_key_type_option(*app, options->key_type);
  app->add_flag("--force", options->force, "replace existing files");
  app->callback([options, &chosen] { chosen = [options] { return issue(*options); }; });
}

}  // namespace

void add_issue_command(CLI::App& app, Command& chosen) {
  auto* issue_app = app.add_subcommand("issue", "Issue a certificate: cert.pem, key.pem and ca.pem");
  issue_app->require_subcommand(1);
  add_role(*issue_app, chosen, Role::agent, "For a user's machine: which services it may reach");
  add_role(*issue_app, chosen, Role::connector, "For an app-connector: which services it may offer");
  add_role(*issue_app, chosen, Role::intermediate, "For an intermediate-server: which hosts it is");
}

}  // namespace ztna::ctl
