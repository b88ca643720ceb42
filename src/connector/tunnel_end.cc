#include "connector/tunnel_end.h"

#include "wire/close_code.h"

namespace ztna::connector {
namespace {

TunnelEnd end_by_us(std::uint64_t code) {
  switch (static_cast<wire::CloseCode>(code)) {
    case wire::CloseCode::protocol_violation: return TunnelEnd::protocol_violation;
    case wire::CloseCode::unsupported_version: return TunnelEnd::unsupported_version;
    case wire::CloseCode::replaced: return TunnelEnd::replaced;
    case wire::CloseCode::revoked: return TunnelEnd::revoked;
    case wire::CloseCode::certificate_expired: return TunnelEnd::certificate_expired;
    case wire::CloseCode::draining: return TunnelEnd::drained;
    case wire::CloseCode::limit: return TunnelEnd::limit;
    default: return TunnelEnd::other;
  }
}

}  // namespace

std::string_view to_string(TunnelEnd end) {
  switch (end) {
    case TunnelEnd::identity_refused: return "identity_refused";
    case TunnelEnd::handshake_failed: return "handshake_failed";
    case TunnelEnd::protocol_violation: return "protocol_violation";
    case TunnelEnd::unsupported_version: return "unsupported_version";
    case TunnelEnd::replaced: return "replaced";
    case TunnelEnd::revoked: return "revoked";
    case TunnelEnd::certificate_expired: return "certificate_expired";
    case TunnelEnd::idle: return "idle";
    case TunnelEnd::closed_by_agent: return "closed_by_agent";
    case TunnelEnd::drained: return "drained";
    case TunnelEnd::limit: return "limit";
    case TunnelEnd::other: return "other";
    case TunnelEnd::count_: break;
  }
  return "unknown";
}

TunnelEnd end_of(const quic::CloseReason& reason, bool established) {
  using By = quic::CloseReason::By;
  if (reason.by == By::local && reason.application) return end_by_us(reason.code);
  if (!established) return TunnelEnd::handshake_failed;
  if (reason.by == By::idle) return TunnelEnd::idle;
  // A stateless reset is a restarted Agent's way to say that it has forgotten the tunnel.
  if (reason.by == By::peer || reason.by == By::stateless_reset) return TunnelEnd::closed_by_agent;
  return TunnelEnd::other;
}

}  // namespace ztna::connector
