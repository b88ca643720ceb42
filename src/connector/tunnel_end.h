// The one counted end of each tunnel that an Agent began.
#pragma once

#include <cstdint>
#include <string_view>

#include "quic/types.h"

namespace ztna::connector {

enum class TunnelEnd : std::uint8_t {
  identity_refused,  // the chain was good, the identity is not
  handshake_failed,  // also a certificate of another CA, or out of time: TLS refuses those
  protocol_violation,
  unsupported_version,
  replaced,  // the Agent was restarted, or began the same tunnel anew
  revoked,
  certificate_expired,
  idle,
  closed_by_agent,
  drained,
  limit,  // too many tunnels of one Agent, or too many requests
  other,
  count_
};
std::string_view to_string(TunnelEnd end);

/// `established`: the handshake had ended well, and the Agent's identity was taken. An identity that is refused shows
/// as handshake_failed: only who refuses it can tell.
TunnelEnd end_of(const quic::CloseReason& reason, bool established);

}  // namespace ztna::connector
