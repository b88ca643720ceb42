// Routes through the relay (docs/protocol.md 3).
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/control/codes.h"
#include "wire/control/message_type.h"
#include "wire/ids.h"
#include "wire/role.h"
#include "wire/service_id.h"
#include "wire/writer.h"

namespace ztna::wire {

struct RouteRequest {
  static constexpr MessageType kType = MessageType::route_request;

  TunnelId tunnel;
  std::string service;  // as sent: give it to ServiceId::parse; a bad one is answered with RouteClosed no_such_service
  std::string connector;  // name of the one that holds the tunnel, so that it is asked again; empty for a new tunnel

  static Result<RouteRequest> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const RouteRequest&, const RouteRequest&) = default;
};

struct RouteOpened {
  static constexpr MessageType kType = MessageType::route_opened;

  TunnelId tunnel;
  RouteId route;  // that the receiver writes into its routed datagrams
  Role peer_role = Role::connector;
  InstanceId peer_instance;
  std::string peer_name;  // of the peer's SPIFFE id
  ServiceId service;

  static Result<RouteOpened> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const RouteOpened&, const RouteOpened&) = default;
};

struct RouteClosed {
  static constexpr MessageType kType = MessageType::route_closed;

  TunnelId tunnel;
  RouteCloseReason reason = RouteCloseReason::asked_for;

  static Result<RouteClosed> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const RouteClosed&, const RouteClosed&) = default;
};

struct PathReport {
  static constexpr MessageType kType = MessageType::path_report;

  TunnelId tunnel;
  PathKind kind = PathKind::relay;
  bool heard = false;

  static Result<PathReport> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const PathReport&, const PathReport&) = default;
};

}  // namespace ztna::wire
