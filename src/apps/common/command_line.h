// The command lines of the three daemons: flags over file over defaults.
//
//   int main(int argc, char** argv) {
//     auto parsed = apps::parse_connector_command_line(argc, argv);
//     if (auto* exit = std::get_if<apps::Exit>(&parsed)) return exit->code;
//     auto& run = std::get<apps::ConnectorRun>(parsed);
//     log::configure(run.config.log.level, run.config.log.format);
//     for (const auto& line : run.warnings) log::warn(line);
//     ...
//     on SIGHUP: auto next = run.reload();  // the same flags over the file as it is now
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <variant>
#include <vector>

#include "apps/common/exit.h"
#include "apps/common/identity_files.h"
#include "config/agent.h"
#include "config/connector.h"
#include "config/intermediate.h"
#include "identity/certificate.h"
#include "identity/identity.h"

namespace ztna::apps {

/// What the parsers take from the world; tests give their own.
struct Environment {
  std::ostream* out = nullptr;           // null: std::cout
  std::ostream* err = nullptr;           // null: std::cerr
  std::string system_dir = "/etc/ztna";  // auto-detection looks here first,
  std::string local_dir;                 // then here (empty: the working directory)
  /// Called by --check-config when the files can be read; the programs give check_own_identity.
  std::function<Result<void>(const config::IdentityFiles&, identity::Role, identity::Purpose)> check_identity;
};

template <typename Config>
struct Run {
  Config config;                      // defaults, then file, then flags
  std::string config_file;            // empty: none was found and none was asked for
  std::vector<std::string> warnings;  // to log after logging is configured
  /// Reads the file anew under the same flags (SIGHUP). The running configuration stays if there are problems.
  std::function<config::Parsed<Config>()> reload;
};

enum class AgentCommand : std::uint8_t { up, down, status, ping, doctor };

struct AgentRun : Run<config::AgentConfig> {
  AgentCommand command = AgentCommand::up;
  bool status_json = false;
  bool status_watch = false;
  bool doctor_json = false;
  std::string ping_service;
  unsigned ping_count = 4;
};
using ConnectorRun = Run<config::ConnectorConfig>;
using IntermediateRun = Run<config::IntermediateConfig>;

/// Each either gives what to run, or has printed help, version, the result of --check-config or what is wrong.
/// `down`, `status`, `ping` and `doctor` need no server and no certificates: only config.control_socket is to be used
/// then.
std::variant<AgentRun, Exit> parse_agent_command_line(int argc, const char* const* argv, const Environment& env = {});
std::variant<ConnectorRun, Exit> parse_connector_command_line(int argc, const char* const* argv,
                                                              const Environment& env = {});
std::variant<IntermediateRun, Exit> parse_intermediate_command_line(int argc, const char* const* argv,
                                                                    const Environment& env = {});

}  // namespace ztna::apps
