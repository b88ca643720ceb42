// Routes of the relay as QUIC paths. ngtcp2 knows paths by their addresses alone, so each route that is opened gets a
// fresh pair of synthetic addresses (fd7a:746e:6100::/48, never on a wire): every re-opened route is a new path to both
// ends, which resets a backed-off PTO on the server too (docs/architecture.md).
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/address.h"
#include "quic/types.h"
#include "wire/ids.h"

namespace ztna::tunnel {

/// Our end of one route.
struct RelayLeg {
  wire::RouteId route;         // our own id of it: sent and received
  SocketAddress intermediate;  // where routed datagrams go, and the only source they are accepted from
};

class RelayPaths {
 public:
  /// Gives a newly opened route its synthetic path.
  quic::Path open(const RelayLeg& leg);
  void close(wire::RouteId route);
  /// The Intermediate is at another address now. Nothing happens if the route is not open.
  void readdress(wire::RouteId route, const SocketAddress& intermediate);
  /// Another synthetic path for an open route, so that a connection can change its id: what arrives on the route is the
  /// new path's. On the one before it packets can still be sent until the next renew() or close(). Nothing: not open.
  std::optional<quic::Path> renew(wire::RouteId route);
  /// The connection did not take what renew() gave: the path before it is the route's again.
  void take_back(wire::RouteId route);

  const RelayLeg* leg(const quic::Path& path) const;  // null: not a relay path, or closed
  const quic::Path* path(wire::RouteId route) const;  // null: unknown route
  /// Whether an address is one that open() makes, open or not.
  static bool is_synthetic(const SocketAddress& address);
  std::size_t size() const { return paths_.size(); }

 private:
  struct Names {
    quic::Path current;
    std::optional<quic::Path> older;
  };
  quic::Path fresh();

  std::uint64_t next_ = 1;
  std::unordered_map<wire::RouteId, Names> paths_;
  std::unordered_map<quic::Path, RelayLeg> legs_;
};

}  // namespace ztna::tunnel
