// All messages as one type, and their frames `type | length | body` (docs/protocol.md 3, 4).
#pragma once

#include <cstdint>
#include <variant>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/control/catalog.h"
#include "wire/control/hello.h"
#include "wire/control/lifecycle.h"
#include "wire/control/observed_address.h"
#include "wire/control/open_service.h"
#include "wire/control/probe_port.h"
#include "wire/control/registration.h"
#include "wire/control/route.h"
#include "wire/control/signaling.h"

namespace ztna::wire {

/// Control stream of an Intermediate's connection, section 3.
using ControlMessage =
    std::variant<Hello, ObservedAddress, ProbePort, RegisterAgent, RegisterConnector, RegistrationAck, RegistrationNack,
                 CandidateOffer, CandidateAnswer, StartPunching, PunchingResult, SignalingError, RouteRequest,
                 RouteOpened, RouteClosed, PathReport, ServiceUp, ServiceDown, Catalog, Drain, Revoked>;

/// Control stream of a tunnel, section 4.
using TunnelMessage = std::variant<Hello, OpenService, ServiceOpened, CloseService>;

/// Parses the body of one frame. Errors: those of the message's parser; unknown_type: skip it if is_extension(type),
/// else protocol_violation. Whether the receiver's role may get the type is the receiver's to check.
Result<ControlMessage> parse_control_message(std::uint8_t type, Bytes body);
Result<TunnelMessage> parse_tunnel_message(std::uint8_t type, Bytes body);

/// Appends a frame with `body`, at most kMaxBody octets, to `out`.
void append_raw_frame(ByteVector& out, MessageType type, Bytes body);

/// Appends a message's frame to `out`.
template <typename Message>
void append_frame(ByteVector& out, const Message& message) {
  ByteVector body;
  Writer w{body};
  message.encode(w);
  append_raw_frame(out, Message::kType, body);
}
/// As many Catalog frames as the list needs; only the last one can have `last` set.
void append_frame(ByteVector& out, const Catalog& catalog);
void append_frame(ByteVector& out, const ControlMessage& message);
void append_frame(ByteVector& out, const TunnelMessage& message);

template <typename Message>
ByteVector encode_frame(const Message& message) {
  ByteVector out;
  append_frame(out, message);
  return out;
}

}  // namespace ztna::wire
