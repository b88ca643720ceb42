// The key of one session's path probes, from the tunnel's TLS exporter (docs/protocol.md 5): both ends of the tunnel
// have it, and the Intermediate does not.
#pragma once

#include "base/random.h"
#include "base/result.h"
#include "quic/connection.h"
#include "quic/hmac.h"
#include "wire/ids.h"
#include "wire/probe.h"

namespace ztna::tunnel {

/// Error: crypto (the handshake is not done).
Result<quic::HmacSha256> export_probe_key(quic::Connection& connection, const wire::SessionId& session);

/// Both must outlive what is returned.
wire::ProbeMacFunction mac_function(quic::HmacSha256& key, Random& random);

}  // namespace ztna::tunnel
