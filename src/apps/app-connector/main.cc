#include <iostream>

#include "apps/app-connector/program.h"
#include "apps/common/command_line.h"
#include "apps/common/own_identity.h"
#include "base/log.h"

int main(int argc, char** argv) {
  using namespace ztna;
  return apps::guarded_main("app-connector", [&] {
    apps::Environment environment;
    environment.check_identity = apps::check_own_identity;
    auto parsed = apps::parse_connector_command_line(argc, argv, environment);
    if (const auto* exit = std::get_if<apps::Exit>(&parsed)) return exit->code;
    auto& run = std::get<apps::ConnectorRun>(parsed);
    log::configure(run.config.log.level, run.config.log.format);
    for (const auto& line : run.warnings) log::warn(line);
    apps::ConnectorProgram program{std::move(run)};
    if (auto opened = program.open(); !opened) {
      return apps::refuse(std::cerr, "app-connector", opened.error().text).code;
    }
    program.run();
    return apps::kExitOk;
  });
}
