#include <iostream>

#include "apps/common/command_line.h"
#include "apps/common/own_identity.h"
#include "apps/ztna-agent/client_commands.h"
#include "apps/ztna-agent/program.h"
#include "base/log.h"

int main(int argc, char** argv) {
  using namespace ztna;
  return apps::guarded_main("ztna-agent", [&] {
    apps::Environment environment;
    environment.check_identity = apps::check_own_identity;
    auto parsed = apps::parse_agent_command_line(argc, argv, environment);
    if (const auto* exit = std::get_if<apps::Exit>(&parsed)) return exit->code;
    auto& run = std::get<apps::AgentRun>(parsed);
    log::configure(run.config.log.level, run.config.log.format);
    for (const auto& line : run.warnings) log::warn(line);
    switch (run.command) {
      case apps::AgentCommand::status: return apps::run_status(run);
      case apps::AgentCommand::ping: return apps::run_ping(run);
      case apps::AgentCommand::doctor: return apps::run_doctor(run);
      case apps::AgentCommand::down: return apps::run_down(run);
      case apps::AgentCommand::up: break;
    }
    apps::AgentProgram program{std::move(run)};
    if (auto opened = program.open(); !opened) {
      return apps::refuse(std::cerr, "ztna-agent", opened.error().text).code;
    }
    return program.run();
  });
}
