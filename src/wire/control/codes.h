// The code tables of docs/protocol.md 3 and 4. A parser refuses a value that its table does not have.
#pragma once

#include <cstdint>
#include <string_view>

namespace ztna::wire {

enum class RegistrationStatus : std::uint8_t {
  ok = 0,
  not_permitted = 1,  // by the certificate
  bad_service_id = 2,
  address_conflict = 3,
  limit = 4,
  wrong_role = 5,
  draining = 6,
  pool_exhausted = 7,
  no_such_service = 8,  // a good id, but not one of the Connector's
};
std::string_view to_string(RegistrationStatus status);
constexpr bool is_known(RegistrationStatus s) { return s <= RegistrationStatus::no_such_service; }

/// Why a route closes.
enum class RouteCloseReason : std::uint8_t {
  asked_for = 1,
  no_such_service = 2,
  not_permitted = 3,
  peer_gone = 4,  // the peer's control connection
  limit = 5,
  unknown_tunnel = 6,
  shutting_down = 7,
};
std::string_view to_string(RouteCloseReason reason);
constexpr bool is_known(RouteCloseReason r) {
  return r >= RouteCloseReason::asked_for && r <= RouteCloseReason::shutting_down;
}

enum class SignalingErrorCode : std::uint8_t {
  unknown_session = 1,
  expired = 2,
  not_yours = 3,
  limit = 4,
  peer_gone = 5,
  bad_candidate = 6,
  disabled = 7,  // by the configuration of who says so
  no_use = 8,    // what the session is for cannot help these two ends now
};
std::string_view to_string(SignalingErrorCode code);
constexpr bool is_known(SignalingErrorCode c) {
  return c >= SignalingErrorCode::unknown_session && c <= SignalingErrorCode::no_use;
}

/// What a session tries.
enum class PunchingMethod : std::uint8_t {
  candidates = 0,  // the addresses that both ends offer
  birthday = 1,    // ports of the one address that the Intermediate observes of each (docs/direct-paths.md)
};
std::string_view to_string(PunchingMethod method);
constexpr bool is_known(PunchingMethod m) { return m <= PunchingMethod::birthday; }

enum class PunchingOutcome : std::uint8_t { failed = 0, reached = 1 };
std::string_view to_string(PunchingOutcome outcome);
constexpr bool is_known(PunchingOutcome o) { return o <= PunchingOutcome::reached; }

enum class PathKind : std::uint8_t { relay = 1, direct = 2 };
std::string_view to_string(PathKind kind);
constexpr bool is_known(PathKind k) { return k == PathKind::relay || k == PathKind::direct; }

/// Why a service goes away.
enum class ServiceDownReason : std::uint8_t {
  withdrawn = 1,       // its Connectors no longer offer it
  connector_gone = 2,  // the last Connector's control connection
  unhealthy = 3,       // no healthy backend
  not_permitted = 4,   // policy no longer permits it to this Agent
};
std::string_view to_string(ServiceDownReason reason);
constexpr bool is_known(ServiceDownReason r) {
  return r >= ServiceDownReason::withdrawn && r <= ServiceDownReason::not_permitted;
}

/// Why a service of a tunnel closes.
enum class ServiceCloseReason : std::uint8_t { asked_for = 1, no_such_service = 2, not_permitted = 3 };
std::string_view to_string(ServiceCloseReason reason);
constexpr bool is_known(ServiceCloseReason r) {
  return r >= ServiceCloseReason::asked_for && r <= ServiceCloseReason::not_permitted;
}

}  // namespace ztna::wire
