// What a connection has seen of its path, as the path layer judges it (path/path_health.h). Used by Agent and
// Connector.
#pragma once

#include "path/path_health.h"
#include "quic/connection.h"

namespace ztna::tunnel {

inline path::PathSample path_sample(const quic::Connection& connection) {
  const auto seen = connection.liveness();
  return {seen.since, seen.waiting_since, seen.heard, seen.payload, seen.large_since, seen.rtt, seen.rtt_variation};
}

}  // namespace ztna::tunnel
