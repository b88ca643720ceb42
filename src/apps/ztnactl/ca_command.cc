#include <memory>

#include "apps/ztnactl/commands.h"
#include "apps/ztnactl/files.h"
#include "identity/authority.h"

namespace ztna::ctl {

namespace {

struct CaOptions {
  std::string out = "certs";
  std::string name = "ZTNA CA";
  std::string trust_domain{identity::kDefaultTrustDomain};
  std::string key_type = "p256";
  unsigned days = 3650;
  bool force = false;
};

Result<int> ca_init(const CaOptions& options) {
  const auto cert_file = join(options.out, "ca.pem");
  const auto key_file = join(options.out, "ca-key.pem");
  for (const auto& file : {key_file, cert_file}) {
    if (!options.force && exists(file)) {
      return fail(Errc::conflict,
                  "{} exists; choose another --out, or --force to replace this CA (all that it issued ends)", file);
    }
  }
  auto authority = identity::Authority::create({.name = options.name,
                                                .trust_domain = options.trust_domain,
                                                .key_type = key_type_from(options.key_type),
                                                .lifetime = std::chrono::hours{24} * options.days,
                                                .now = now()});
  if (!authority) return fail("cannot make the CA", authority.error());
  const auto key_pem = authority->key_pem();
  if (!key_pem) return fail(key_pem.error());

  const auto replace = options.force ? Replace::yes : Replace::no;
  if (auto made = make_directories(options.out); !made) return fail("cannot make the directory", made.error());
  if (auto written = write_file(key_file, *key_pem, 0600, replace); !written)
    return fail("cannot write", written.error());
  if (auto written = write_file(cert_file, authority->anchor_pem(), 0644, replace); !written) {
    return fail("cannot write", written.error());
  }

  const auto& c = authority->certificate();
  fmt::print("CA made: {}, trust domain {}, {}, until {}\n", options.name, authority->trust_domain(), c.key_text,
             date_text(c.not_after));
  const auto width = key_file.size();
  fmt::print("  {:<{}}  certificate, for every program\n", cert_file, width);
  fmt::print("  {:<{}}  private key, mode 0600: keep it here, no program needs it\n", key_file, width);
  const auto ca_flag = options.out == "certs" ? "" : " --ca " + shell_quoted(options.out);
  fmt::print("Next: ztnactl issue intermediate --name i1 --host HOST{}\n", ca_flag);
  return kExitOk;
}

}  // namespace

void add_ca_command(CLI::App& app, Command& chosen) {
  auto* ca = app.add_subcommand("ca", "The deployment's certificate authority");
  ca->require_subcommand(1);
  auto* init = ca->add_subcommand("init", "Make a CA: ca.pem and ca-key.pem");
  auto options = std::make_shared<CaOptions>();
  init->add_option("--out", options->out, "directory to write to")->capture_default_str()->type_name("DIR");
  init->add_option("--name", options->name, "common name")->capture_default_str()->type_name("TEXT");
  init->add_option("--trust-domain", options->trust_domain,
                   "this deployment's name: spiffe://<trust-domain>/<role>/<name>")
      ->capture_default_str()
      ->type_name("DOMAIN");
  add_key_type_option(*init, options->key_type);
  init->add_option("--days", options->days, "lifetime in days")
      ->capture_default_str()
      ->type_name("N")
      ->check(range(1, 3650));
  init->add_flag("--force", options->force, "replace an existing CA");
  init->callback([options, &chosen] { chosen = [options] { return ca_init(*options); }; });
}

}  // namespace ztna::ctl
