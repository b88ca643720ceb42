// ztnactl: the operator's tool. Exit codes: 0 done, 1 inspect says no, 2 anything that kept it from
// working.
#include <cstdio>
#include <exception>
#include <string>

#include "apps/ztnactl/commands.h"

namespace ztna::ctl {

namespace {

/// One line, whatever the library wrote.
int refuse(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  fmt::print(stderr, "ztnactl: {}\n", text);
  return kExitUsage;
}

void add_later_commands(CLI::App& app, Command& chosen) {
  for (const char* name : {"status", "enroll", "renew", "policy", "revoke", "disconnect", "audit", "doctor"}) {
    auto* later = app.add_subcommand(name, "not in this release")->group("Later releases");
    later->allow_extras();
    later->prefix_command();
    later->callback([name, &chosen] {
      chosen = [name]() -> Result<int> { return fail(Errc::invalid_argument, "{}: not in this release", name); };
    });
  }
}

int run(int argc, char** argv) {
  CLI::App app{"Makes and reads the certificates of a ZTNA deployment.", "ztnactl"};
  app.set_version_flag("--version", "ztnactl " ZTNA_VERSION);
  app.set_help_flag("-h,--help", "this text");
  app.get_formatter()->column_width(34);
  app.require_subcommand(1);
  Command chosen;
  add_ca_command(app, chosen);
  add_issue_command(app, chosen);
  add_inspect_command(app, chosen);
  add_later_commands(app, chosen);
  // Last: subcommands inherit what is set before them.
  app.footer(
      "\nA deployment from nothing:\n"
      "  ztnactl ca init\n"
      "  ztnactl issue intermediate --name i1 --host relay.example.com\n"
      "  ztnactl issue connector --name c1 --service web\n"
      "  ztnactl issue agent --name laptop-1 --service web\n"
      "  ztnactl inspect laptop-1/certs/cert.pem --ca certs/ca.pem");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    std::string command = "ztnactl";
    const CLI::App* at = &app;
    while (!at->get_subcommands().empty()) {
      at = at->get_subcommands().front();
      command += " " + at->get_name();
    }
    std::string problem = e.what();
    if (at->get_require_subcommand_min() > 0 && at->remaining_size() > 0) {
      problem = fmt::format("unknown: \"{}\"", at->remaining().front());
    }
    return refuse(fmt::format("{}; see {} --help", problem, command));
  }
  const auto result = chosen();
  if (!result) return refuse(result.error().text);
  return *result;
}

}  // namespace

}  // namespace ztna::ctl

int main(int argc, char** argv) {
  try {
    return ztna::ctl::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "ztnactl: %s\n", e.what());
    return 1;
  }
}
