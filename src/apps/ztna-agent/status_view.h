// The Agent's status on its way to the user: Snapshot to JSON (local socket, `status --json`), JSON to text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "agent/snapshot.h"

namespace ztna::apps {

nlohmann::json to_json(const agent::Snapshot& snapshot);
/// For people. Takes what a running agent of this or another release sent: what is missing or odd is left out.
std::string to_text(const nlohmann::json& status);

}  // namespace ztna::apps
