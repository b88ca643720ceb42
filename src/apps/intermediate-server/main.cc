#include <iostream>

#include "apps/common/command_line.h"
#include "apps/common/own_identity.h"
#include "apps/intermediate-server/server.h"
#include "base/log.h"

int main(int argc, char** argv) {
  using namespace ztna;
  return apps::guarded_main("intermediate-server", [&] {
    apps::Environment environment;
    environment.check_identity = apps::check_own_identity;
    auto parsed = apps::parse_intermediate_command_line(argc, argv, environment);
    if (const auto* exit = std::get_if<apps::Exit>(&parsed)) return exit->code;
    auto& run = std::get<apps::IntermediateRun>(parsed);
    log::configure(run.config.log.level, run.config.log.format);
    for (const auto& line : run.warnings) log::warn(line);
    apps::Server server{std::move(run)};
    if (auto opened = server.open(); !opened) {
      return apps::refuse(std::cerr, "intermediate-server", opened.error().text).code;
    }
    server.run();
    return apps::kExitOk;
  });
}
