// `ztna-agent status`, `ping` and `down`: ask the running agent, print, end.
#pragma once

#include "apps/common/command_line.h"

namespace ztna::apps {

/// The exit code: 0; 1 when the agent says no or does not answer; 2 when no agent runs.
int run_status(const AgentRun& run);
int run_ping(const AgentRun& run);
/// Also 1 when a check failed.
int run_doctor(const AgentRun& run);
/// Stops the running agent. With or without one, takes away the unreachable routes that hold its services' addresses.
int run_down(const AgentRun& run);

}  // namespace ztna::apps
