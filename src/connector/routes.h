// Routes that Intermediates have opened to us: the only paths on which a new tunnel may begin.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/rate.h"
#include "base/time.h"
#include "quic/types.h"
#include "tunnel/relay_paths.h"
#include "wire/ids.h"

namespace ztna::connector {

struct Route {
  wire::TunnelId tunnel;
  wire::RouteId id;
  std::size_t upstream = 0;  // which Intermediate opened it
  std::string agent;         // a name without trust domain, as the Intermediate says; the tunnel's certificate decides
  wire::InstanceId instance;
  TimePoint opened{};
  TimePoint lingers_until = kNever;  // the Intermediate has closed it: see Routes::linger
  /// Handshakes begun on it. An honest Agent begins one, and another when that came to nothing.
  Rate handshakes{kHandshakesPerSecond, kHandshakeBurst};

  static constexpr std::uint32_t kHandshakesPerSecond = 2;
  static constexpr std::uint32_t kHandshakeBurst = 8;
};

/// Keeps RelayPaths in step: a route that is here has an open relay path, and the other way round.
class Routes {
 public:
  /// A route on which no tunnel began within this is given up.
  static constexpr Duration kUnused = 30s;
  /// RouteClosed may overtake the last datagrams of its route, among them the tunnel's CONNECTION_CLOSE: they come by
  /// another connection, and at the Intermediate perhaps from another thread.
  static constexpr Duration kLinger = 1s;

  /// `relay` must outlive this.
  explicit Routes(tunnel::RelayPaths& relay) : relay_(relay) {}

  /// An id that is open already is replaced.
  void open(const Route& route, const SocketAddress& intermediate);
  void close(wire::RouteId id);
  /// Those of the tunnel that this Intermediate opened.
  void close(const wire::TunnelId& tunnel, std::size_t upstream);
  /// The same for what that Intermediate has closed: for kLinger they are still heard on, and good for nothing else.
  /// Of a tunnel only the last ones closed linger.
  void linger(const wire::TunnelId& tunnel, std::size_t upstream, TimePoint now);
  void close_all(const wire::TunnelId& tunnel);
  /// All of the tunnel's but the one with this path: the Agent has moved there.
  void close_others(const wire::TunnelId& tunnel, const quic::Path& in_use);

  /// Null: not a path of an open route. Borrowed until the next change.
  const Route* find(const quic::Path& path) const;
  /// Whether one more handshake may begin on this path. It counts as begun, as does whatever else the Endpoint asks
  /// about before it answers a packet of no connection.
  bool take_handshake(const quic::Path& path, TimePoint now);
  /// The Intermediate is reached at another address now, and its routes with it.
  void readdress(std::size_t upstream, const SocketAddress& intermediate);
  /// Without those that linger.
  std::vector<Route> of(const wire::TunnelId& tunnel) const;
  std::size_t size() const { return routes_.size(); }

  /// Calls `is_used(tunnel)` for routes that are old enough to be given up, and closes those for which it says no.
  /// Returns them. Those that have lingered long enough go, too.
  template <typename IsUsed>
  std::vector<Route> expire(TimePoint now, IsUsed&& is_used) {
    close_if([&](const Route& route) { return route.lingers_until <= now; });
    std::vector<Route> unused;
    for (const auto& [id, route] : routes_) {
      if (now - route.opened >= kUnused && !is_used(route.tunnel)) unused.push_back(route);
    }
    for (const auto& route : unused) close(route.id);
    return unused;
  }

 private:
  template <typename Which>
  void close_if(Which&& which) {
    for (auto it = routes_.begin(); it != routes_.end();) {
      const auto here = it++;
      if (which(here->second)) close(here->first);
    }
  }

  tunnel::RelayPaths& relay_;
  std::unordered_map<wire::RouteId, Route> routes_;
  std::unordered_map<quic::Path, wire::RouteId> by_path_;
};

}  // namespace ztna::connector
