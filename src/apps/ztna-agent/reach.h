// `ztna-agent doctor`, from this process: have the Intermediates' names addresses, and does UDP reach them?
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "config/types.h"

namespace ztna::apps {

/// Asks each address of each server a keyless probe (docs/protocol.md 5) and waits for its answer, 1.5 s at most for
/// each server. A "dns" and a "udp" finding for each server: check, verdict (ok, warn, fail), text, remedy.
std::vector<nlohmann::json> reach_servers(const std::vector<config::Server>& servers);

}  // namespace ztna::apps
