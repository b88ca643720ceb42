// Checks the mac of a probe. Inside this layer only.
#pragma once

#include <cstdint>

#include "wire/probe.h"
#include "wire/role.h"

namespace ztna::path {

constexpr wire::Role peer_of(wire::Role role) {
  return role == wire::Role::agent ? wire::Role::connector : wire::Role::agent;
}

/// The time does not depend on where two macs differ.
inline bool is_authentic(const wire::Probe& probe, wire::Role sender, const wire::ProbeMacFunction& mac) {
  const auto expected = mac(wire::ProbeMacInput{sender, probe}.view());
  std::uint8_t difference = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference = static_cast<std::uint8_t>(difference | (expected[i] ^ probe.mac[i]));
  }
  return difference == 0;
}

}  // namespace ztna::path
