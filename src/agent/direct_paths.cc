// DirectPaths: tunnels and their migrations. direct_signaling.cc: messages and sessions; direct_search.cc: birthday
// searches; direct_status.cc: what people see.
#include "agent/direct_paths.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "tunnel/path_sample.h"

namespace ztna::agent {
namespace {

/// What was under way on the path before is declared lost by then; it is no loss of the new one.
constexpr Duration kUnderWay = 1s;

}  // namespace

DirectPaths::DirectPaths(TunnelContext& context, tunnel::UdpPort& udp, Random& random, ControlPort& control,
                         DirectOptions options, tunnel::SideSockets* side)
    : context_(context),
      control_(control),
      options_(std::move(options)),
      punching_(wire::Role::agent, udp, random, *this, options_.local, side) {
  context_.hub.set_probe_handler(&punching_);
}

DirectPaths::~DirectPaths() { context_.hub.set_probe_handler(nullptr); }

void DirectPaths::set_options(DirectOptions options) {
  options_ = std::move(options);
  punching_.set_options(options_.local, context_.now);
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto& e = (it++)->second;  // driving it may end it
    if (!options_.birthday) stop_search(e);
    e.manager.set_enabled(options_.enabled, context_.now);
    drive(e);
  }
}

DirectPaths::Entry* DirectPaths::entry(const wire::TunnelId& tunnel) {
  const auto found = entries_.find(tunnel);
  return found == entries_.end() || found->second.gone ? nullptr : &found->second;
}

// -- tunnels ---------------------------------------------------------------------------------------------------------

void DirectPaths::tunnel_ready(TunnelClient& tunnel) {
  auto& e = entries_.try_emplace(tunnel.id(), tunnel, options_.enabled).first->second;
  e.before = tunnel.stats();
  e.manager.set_relay(control_.ready(), context_.now);
  e.manager.set_signaling(control_.ready(), context_.now);
  e.manager.tunnel_ready(context_.now);
  drive(e);
}

void DirectPaths::tunnel_closed(const wire::TunnelId& tunnel) {
  auto* e = entry(tunnel);
  if (e == nullptr) return;
  end_session(*e);
  punching_.searching().end_tunnel(tunnel);
  e->gone = true;
  if (!e->driving) entries_.erase(tunnel);
}

Result<void> DirectPaths::take_route(TunnelClient& tunnel, const tunnel::RelayLeg& leg) {
  auto* e = entry(tunnel.id());
  if (e == nullptr) return tunnel.take_route(leg);  // during the handshake
  const bool validating = e->manager.state() == path::PathState::validating;
  e->rerouting = validating;
  auto taken = tunnel.take_route(leg);
  e = entry(tunnel.id());
  if (e == nullptr) return taken;
  e->rerouting = false;
  if (!taken) return taken;
  report_path(*e);  // of a new route the Intermediate knows nothing, or what was so before
  e->manager.set_relay(true, context_.now);
  if (validating && !tunnel.go_direct(e->manager.candidate())) e->manager.upgraded(false, context_.now);
  drive(*e);
  return taken;
}

void DirectPaths::route_lost(const wire::TunnelId& tunnel) {
  auto* e = entry(tunnel);
  if (e == nullptr) return;
  e->manager.set_relay(false, context_.now);
  drive(*e);
}

void DirectPaths::validated(TunnelClient& tunnel, bool ok) {
  auto* e = entry(tunnel.id());
  if (e == nullptr || (e->rerouting && !ok)) return;
  const bool was_direct = e->manager.direct();
  const auto changes = e->manager.changes().total();
  e->manager.upgraded(ok, context_.now);
  if (e->manager.changes().total() != changes) {
    changed_path(*e, was_direct ? path::PathCause::better : path::PathCause::punched);
  }
  drive(*e);
}

void DirectPaths::changed_path(Entry& e, path::PathCause cause) {
  changes_.add(cause);
  e.before = e.tunnel->stats();
  e.loss_from = context_.now + kUnderWay;
  const bool direct = e.manager.direct();
  auto& searching = punching_.searching();
  direct ? searching.use(e.tunnel->id(), e.manager.remote()) : searching.left(e.tunnel->id());
  log::info(direct ? "tunnel went direct" : "tunnel fell back to the relay",
            {{"connector", e.tunnel->connector()},
             {"remote", direct ? to_string(e.manager.remote()) : std::string{"relay"}},
             {"why", path::to_string(cause)}});
  report_path(e);
}

/// For the Intermediate, which counts direct tunnels; the Connector sees it by itself.
void DirectPaths::report_path(const Entry& e) {
  const auto kind = e.manager.direct() ? wire::PathKind::direct : wire::PathKind::relay;
  control_.send(wire::PathReport{e.tunnel->id(), kind, true});
}

// -- what the managers want ------------------------------------------------------------------------------------------

void DirectPaths::drive(Entry& e) {
  if (e.driving) return;
  const auto id = e.tunnel->id();
  e.driving = true;
  while (!e.gone) {
    const auto action = e.manager.poll(context_.now);
    if (!action) break;
    act(e, *action);
  }
  e.driving = false;
  if (e.gone) entries_.erase(id);
}

void DirectPaths::act(Entry& e, const path::PathAction& action) {
  using Kind = path::PathAction::Kind;
  const auto now = context_.now;
  switch (action.kind) {
    case Kind::punch: return begin_session(e);
    case Kind::abandon: return end_session(e);
    case Kind::ping: return e.tunnel->ping();
    case Kind::upgrade:
      if (auto moved = e.tunnel->go_direct(action.to); !moved && !e.gone) {
        log::debug("tunnel cannot go direct now", {{"connector", e.tunnel->connector()}, {"why", moved.error().text}});
        e.manager.upgraded(false, now);
      }
      return;
    case Kind::fall_back: {
      const auto moved = e.tunnel->go_relay();
      if (e.gone) return;
      e.manager.fell_back(moved.has_value(), now);
      // What ended the path may be a NAT that rebound, and then the relay does not know our address any more.
      if (moved && e.manager.last_cause() != path::PathCause::disabled) control_.suspect();
      if (moved) changed_path(e, e.manager.last_cause().value_or(path::PathCause::silent));
      return;
    }
  }
}

// -- time ------------------------------------------------------------------------------------------------------------

void DirectPaths::flushed() {
  for (auto& [id, e] : entries_) {
    const auto* connection = e.manager.direct() ? e.tunnel->connection() : nullptr;
    if (connection != nullptr) e.manager.sample(tunnel::path_sample(*connection), context_.now);
  }
  count();
}

TimePoint DirectPaths::deadline() const {
  auto first = punching_.deadline();
  for (const auto& [id, e] : entries_) first = std::min({first, e.manager.deadline(), e.loss_from});
  return first;
}

void DirectPaths::on_deadline() {
  const auto now = context_.now;
  if (now >= punching_.deadline()) punching_.on_deadline(now);
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto& e = (it++)->second;  // driving it may end it
    if (now >= e.loss_from) {
      e.before = e.tunnel->stats();
      e.loss_from = kNever;
    }
    drive(e);
  }
}

void DirectPaths::slept() {
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto& e = (it++)->second;
    e.manager.slept(context_.now);
    drive(e);
  }
}

void DirectPaths::network_changed(void (path::PathManager::*how)(TimePoint now)) {
  punching_.searching().network_changed([this](const wire::TunnelId& id) {
    const auto* e = entry(id);
    return e != nullptr && e->manager.direct();
  });
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto& e = (it++)->second;
    (e.manager.*how)(context_.now);
    drive(e);
  }
}

}  // namespace ztna::agent
