// Names of the layer's enums, as logs and metrics show them.
#include <iterator>

#include "wire/close_code.h"
#include "wire/control/codes.h"
#include "wire/control/message_type.h"
#include "wire/control/signaling.h"
#include "wire/first_byte.h"
#include "wire/nat.h"
#include "wire/probe.h"
#include "wire/role.h"
#include "wire/stream_header.h"

namespace ztna::wire {

std::string_view to_string(Role role) {
  switch (role) {
    case Role::agent: return "agent";
    case Role::connector: return "connector";
  }
  return "unknown";
}

std::string_view to_string(PayloadKind kind) {
  switch (kind) {
    case PayloadKind::routed_datagram: return "routed_datagram";
    case PayloadKind::probe: return "probe";
    case PayloadKind::quic: return "quic";
    case PayloadKind::unknown: return "unknown";
  }
  return "unknown";
}

std::string_view to_string(ProbeKind kind) {
  switch (kind) {
    case ProbeKind::request: return "request";
    case ProbeKind::response: return "response";
    case ProbeKind::open_request: return "open_request";
    case ProbeKind::open_response: return "open_response";
    case ProbeKind::open_request_other: return "open_request_other";
  }
  return "unknown";
}

std::string_view to_string(StreamResult result) {
  switch (result) {
    case StreamResult::connected: return "connected";
    case StreamResult::refused: return "refused";
    case StreamResult::unreachable: return "unreachable";
    case StreamResult::timed_out: return "timed_out";
    case StreamResult::denied: return "denied";
    case StreamResult::limit: return "limit";
  }
  return "unknown";
}

std::string_view to_string(StreamResetCode code) {
  switch (code) {
    case StreamResetCode::tcp_reset: return "tcp_reset";
    case StreamResetCode::local_failure: return "local_failure";
  }
  return "unknown";
}

std::string_view to_string(RegistrationStatus status) {
  switch (status) {
    case RegistrationStatus::ok: return "ok";
    case RegistrationStatus::not_permitted: return "not_permitted";
    case RegistrationStatus::bad_service_id: return "bad_service_id";
    case RegistrationStatus::address_conflict: return "address_conflict";
    case RegistrationStatus::limit: return "limit";
    case RegistrationStatus::wrong_role: return "wrong_role";
    case RegistrationStatus::draining: return "draining";
    case RegistrationStatus::pool_exhausted: return "pool_exhausted";
    case RegistrationStatus::no_such_service: return "no_such_service";
  }
  return "unknown";
}

std::string_view to_string(RouteCloseReason reason) {
  switch (reason) {
    case RouteCloseReason::asked_for: return "asked_for";
    case RouteCloseReason::no_such_service: return "no_such_service";
    case RouteCloseReason::not_permitted: return "not_permitted";
    case RouteCloseReason::peer_gone: return "peer_gone";
    case RouteCloseReason::limit: return "limit";
    case RouteCloseReason::unknown_tunnel: return "unknown_tunnel";
    case RouteCloseReason::shutting_down: return "shutting_down";
  }
  return "unknown";
}

std::string_view to_string(SignalingErrorCode code) {
  switch (code) {
    case SignalingErrorCode::unknown_session: return "unknown_session";
    case SignalingErrorCode::expired: return "expired";
    case SignalingErrorCode::not_yours: return "not_yours";
    case SignalingErrorCode::limit: return "limit";
    case SignalingErrorCode::peer_gone: return "peer_gone";
    case SignalingErrorCode::bad_candidate: return "bad_candidate";
    case SignalingErrorCode::disabled: return "disabled";
    case SignalingErrorCode::no_use: return "no_use";
  }
  return "unknown";
}

std::string_view to_string(PunchingMethod method) {
  switch (method) {
    case PunchingMethod::candidates: return "candidates";
    case PunchingMethod::birthday: return "birthday";
  }
  return "unknown";
}

std::string_view to_string(PunchingOutcome outcome) {
  switch (outcome) {
    case PunchingOutcome::failed: return "failed";
    case PunchingOutcome::reached: return "reached";
  }
  return "unknown";
}

std::string_view to_string(PathKind kind) {
  switch (kind) {
    case PathKind::relay: return "relay";
    case PathKind::direct: return "direct";
  }
  return "unknown";
}

std::string_view to_string(ServiceDownReason reason) {
  switch (reason) {
    case ServiceDownReason::withdrawn: return "withdrawn";
    case ServiceDownReason::connector_gone: return "connector_gone";
    case ServiceDownReason::unhealthy: return "unhealthy";
    case ServiceDownReason::not_permitted: return "not_permitted";
  }
  return "unknown";
}

std::string_view to_string(ServiceCloseReason reason) {
  switch (reason) {
    case ServiceCloseReason::asked_for: return "asked_for";
    case ServiceCloseReason::no_such_service: return "no_such_service";
    case ServiceCloseReason::not_permitted: return "not_permitted";
  }
  return "unknown";
}

std::string_view to_string(CandidateKind kind) {
  switch (kind) {
    case CandidateKind::host: return "host";
    case CandidateKind::server_reflexive: return "server_reflexive";
    case CandidateKind::peer_reflexive: return "peer_reflexive";
    case CandidateKind::port_mapped: return "port_mapped";
  }
  return "unknown";
}

std::string_view to_string(NatMapping mapping) {
  switch (mapping) {
    case NatMapping::unknown: return "unknown";
    case NatMapping::none: return "none";
    case NatMapping::endpoint_independent: return "endpoint_independent";
    case NatMapping::address_dependent: return "address_dependent";
    case NatMapping::address_and_port_dependent: return "address_and_port_dependent";
  }
  return "unknown";
}

std::string_view to_string(NatFiltering filtering) {
  switch (filtering) {
    case NatFiltering::unknown: return "unknown";
    case NatFiltering::none: return "none";
    case NatFiltering::endpoint_independent: return "endpoint_independent";
    case NatFiltering::address_dependent: return "address_dependent";
    case NatFiltering::address_and_port_dependent: return "address_and_port_dependent";
  }
  return "unknown";
}

std::string_view to_string(CloseCode code) { return close_code_name(static_cast<std::uint64_t>(code)); }

std::string_view close_code_name(std::uint64_t code) {
  static constexpr std::string_view kNames[] = {"no_error",
                                                "protocol_violation",
                                                "unsupported_version",
                                                "denied",
                                                "draining",
                                                "replaced",
                                                "revoked",
                                                "certificate_expired",
                                                "limit",
                                                "internal"};
  return code < std::size(kNames) ? kNames[code] : "unknown";
}

std::string_view to_string(MessageType type) {
  switch (type) {
    case MessageType::observed_address: return "ObservedAddress";
    case MessageType::probe_port: return "ProbePort";
    case MessageType::register_agent: return "RegisterAgent";
    case MessageType::register_connector: return "RegisterConnector";
    case MessageType::registration_ack: return "RegistrationAck";
    case MessageType::registration_nack: return "RegistrationNack";
    case MessageType::candidate_offer: return "CandidateOffer";
    case MessageType::candidate_answer: return "CandidateAnswer";
    case MessageType::start_punching: return "StartPunching";
    case MessageType::punching_result: return "PunchingResult";
    case MessageType::signaling_error: return "SignalingError";
    case MessageType::route_request: return "RouteRequest";
    case MessageType::route_opened: return "RouteOpened";
    case MessageType::route_closed: return "RouteClosed";
    case MessageType::path_report: return "PathReport";
    case MessageType::service_up: return "ServiceUp";
    case MessageType::service_down: return "ServiceDown";
    case MessageType::catalog: return "Catalog";
    case MessageType::drain: return "Drain";
    case MessageType::revoked: return "Revoked";
    case MessageType::hello: return "Hello";
    case MessageType::open_service: return "OpenService";
    case MessageType::service_opened: return "ServiceOpened";
    case MessageType::close_service: return "CloseService";
  }
  return "unknown";
}

}  // namespace ztna::wire
