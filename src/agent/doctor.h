// `ztna-agent doctor`: what works on this network, and what to do about what does not. Pure: facts in, findings out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/snapshot.h"
#include "base/time.h"

namespace ztna::agent {

struct DoctorFacts {
  Snapshot status;
  std::vector<HostPort> servers;   // that the Agent was told
  std::size_t control_mtu = 0;     // largest UDP payload on the way to the Intermediate, octets; 0: not connected
  std::optional<bool> reentry_v4;  // the kernel answered at the re-entry listener; nothing: no such family
  std::optional<bool> reentry_v6;
  WallTime now;
  WallTime certificate_begins = WallTime::min();
  WallTime certificate_ends = WallTime::max();
};

enum class Verdict : std::uint8_t { ok, warn, fail };
std::string_view to_string(Verdict verdict);

struct Finding {
  std::string check;  // "control", "nat", "ipv6", "mtu", "firewall", "clock"
  Verdict verdict = Verdict::ok;
  std::string text;
  std::string remedy;  // empty: nothing needs to be done
};

/// What became of a birthday search (PathStatus::birthday), for people.
std::string_view birthday_text(std::string_view result);

/// One finding for each check, in the order of the list above; "nat-ipv6" after "nat" if IPv6 was measured, then
/// "birthday" if a service's NATs allow a direct path by a birthday search only.
std::vector<Finding> diagnose(const DoctorFacts& facts);

}  // namespace ztna::agent
