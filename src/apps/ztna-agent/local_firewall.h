// `ztna-agent doctor`, from this process: does this machine's firewall let packets to services' addresses and back?
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"

namespace ztna::apps {

struct ServiceAddress {
  std::string service;
  IpAddress address;
};

/// Connects to a port of each address (the first 64) that the running agent answers for itself
/// (agent::TcpReentry::kCheckPort), and waits 1 s at most. Nothing: all answered; else a "firewall" finding that names
/// the others: check, verdict, text, remedy.
std::optional<nlohmann::json> check_local_firewall(const std::vector<ServiceAddress>& services);

}  // namespace ztna::apps
