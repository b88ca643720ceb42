#include "connector/routes.h"

namespace ztna::connector {

void Routes::open(const Route& route, const SocketAddress& intermediate) {
  close(route.id);
  const auto path = relay_.open({route.id, intermediate});
  routes_.emplace(route.id, route);
  by_path_.emplace(path, route.id);
}

void Routes::close(wire::RouteId id) {
  if (const auto* path = relay_.path(id)) by_path_.erase(*path);
  relay_.close(id);
  routes_.erase(id);
}

void Routes::close(const wire::TunnelId& tunnel, std::size_t upstream) {
  close_if([&](const Route& route) { return route.tunnel == tunnel && route.upstream == upstream; });
}

void Routes::linger(const wire::TunnelId& tunnel, std::size_t upstream, TimePoint now) {
  close_if([&](const Route& route) { return route.tunnel == tunnel && route.lingers_until != kNever; });
  for (auto& [id, route] : routes_) {
    const bool meant = route.tunnel == tunnel && route.upstream == upstream && route.lingers_until == kNever;
    if (meant) route.lingers_until = now + kLinger;
  }
}

void Routes::close_all(const wire::TunnelId& tunnel) {
  close_if([&](const Route& route) { return route.tunnel == tunnel; });
}

void Routes::close_others(const wire::TunnelId& tunnel, const quic::Path& in_use) {
  const auto* keep = find(in_use);
  if (keep == nullptr || !(keep->tunnel == tunnel)) return;
  const auto id = keep->id;
  close_if([&](const Route& route) { return route.tunnel == tunnel && route.id != id; });
}

const Route* Routes::find(const quic::Path& path) const {
  const auto found = by_path_.find(path);
  return found == by_path_.end() ? nullptr : &routes_.find(found->second)->second;
}

bool Routes::take_handshake(const quic::Path& path, TimePoint now) {
  const auto found = by_path_.find(path);
  return found != by_path_.end() && routes_.find(found->second)->second.handshakes.take(now);
}

void Routes::readdress(std::size_t upstream, const SocketAddress& intermediate) {
  for (const auto& [id, route] : routes_) {
    if (route.upstream == upstream) relay_.readdress(id, intermediate);
  }
}

std::vector<Route> Routes::of(const wire::TunnelId& tunnel) const {
  std::vector<Route> out;
  for (const auto& [id, route] : routes_) {
    if (route.tunnel == tunnel && route.lingers_until == kNever) out.push_back(route);
  }
  return out;
}

}  // namespace ztna::connector
