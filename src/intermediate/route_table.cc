#include "intermediate/route_table.h"

#include <mutex>

namespace ztna::intermediate {

bool RouteTable::open(wire::RouteId a, const quic::Path& owner_a, wire::RouteId b, const quic::Path& owner_b) {
  const std::unique_lock lock{mutex_};
  if (a == b || ends_.contains(a) || ends_.contains(b)) return false;
  auto pair = std::make_unique<Pair>();
  pair->a.id = a;
  pair->a.owner = owner_a;
  pair->a.peer = &pair->b;
  pair->b.id = b;
  pair->b.owner = owner_b;
  pair->b.peer = &pair->a;
  ends_.emplace(a, &pair->a);
  ends_.emplace(b, &pair->b);
  pairs_.emplace(a, std::move(pair));
  return true;
}

void RouteTable::close(wire::RouteId either) {
  const std::unique_lock lock{mutex_};
  const auto found = ends_.find(either);
  if (found == ends_.end()) return;
  const auto first = found->second->id;
  const auto second = found->second->peer->id;
  ends_.erase(first);
  ends_.erase(second);
  pairs_.erase(first);
  pairs_.erase(second);
}

void RouteTable::move(wire::RouteId id, const quic::Path& owner) {
  const std::unique_lock lock{mutex_};
  if (const auto found = ends_.find(id); found != ends_.end()) found->second->owner = owner;
}

std::size_t RouteTable::size() const {
  const std::shared_lock lock{mutex_};
  return pairs_.size();
}

}  // namespace ztna::intermediate
