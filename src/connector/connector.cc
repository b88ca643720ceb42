#include "connector/connector.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace ztna::connector {

Connector::Connector(ConnectorOptions options, ConnectorPorts ports)
    : options_(std::move(options)),
      ports_(std::move(ports)),
      endpoint_(quic::Endpoint::create(options_.endpoint, ports_.random, this)),
      names_(ports_.resolver),
      quotas_(options_.limits),
      upstream_shared_{*endpoint_, ports_.resolver,      ports_.random,
                       services_,  registration_counts_, refused_intermediates_,
                       now_,       ports_.wall_time,     options_.verify_peer},
      tunnel_shared_{{ports_.backends, names_, arena_, batch_, quotas_, fates_, udp_counts_},
                     {ports_.backends, names_, quotas_, stream_fates_, tcp_counts_, now_},
                     services_,
                     quotas_,
                     fates_,
                     datagram_fates_,
                     refused_agents_,
                     tunnel_counts_,
                     now_,
                     ports_.wall_time,
                     options_.software,
                     options_.instance,
                     draining_} {
  set_limits(options_.limits);
  hub_.emplace(*endpoint_, ports_.udp);
  routes_.emplace(hub_->relay());
  direct_.emplace(std::move(options_.direct), ports_.udp, ports_.random, now_, static_cast<DirectPathsOwner&>(*this),
                  ports_.side);
  hub_->set_probe_handler(&direct_->punching());
  services_.replace(options_.services);
  for (const auto& server : options_.servers) {
    tunnel::ControlClientOptions control;
    control.server = server;
    control.software = options_.software;
    control.instance = options_.instance;
    control.check_server_name = options_.verify_peer;
    upstreams_.push_back(std::make_unique<Upstream>(upstream_shared_, static_cast<UpstreamOwner&>(*this),
                                                    upstreams_.size(), std::move(control), options_.control_tls));
  }
}

Connector::~Connector() {
  auto tunnels = std::exchange(tunnels_, {});  // each is closed as it goes; on_tunnel_closed finds none
  tunnels.clear();
  upstreams_.clear();
}

void Connector::start(TimePoint now) {
  now_ = begun_ = last_online_ = now;
  next_tick_ = now + kTick;
  for (const auto& [id, service] : services_.all()) (void)names_.known(service->definition().backend_host, now);
  for (auto& upstream : upstreams_) {
    upstream->start();
    on_upstream_changed(*upstream);
  }
}

void Connector::receive(const SocketAddress& from, Bytes row, std::size_t segment, TimePoint now,
                        tunnel::SocketId socket) {
  now_ = now;
  hub_->receive(from, row, segment, now, socket);
}

void Connector::flush(TimePoint now) {
  now_ = now;
  batch_.flush(now);
  // In order of arrival; a tunnel that closed meanwhile is gone.
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    if (auto* tunnel = find(dirty_[i])) tunnel->flush();
  }
  dirty_.clear();
  end_drain();  // before the flush: its closes leave with it
  endpoint_->flush(now, *hub_);
  close_routes();
  plan_looks();
  arena_.release();
  retired_.clear();
}

void Connector::close_routes() {
  if (closing_.empty()) return;
  for (const auto& id : std::exchange(closing_, {})) {
    for (const auto& route : routes_->of(id)) {
      (void)upstreams_[route.upstream]->control().send(wire::RouteClosed{id, wire::RouteCloseReason::asked_for});
    }
    routes_->close_all(id);
  }
  endpoint_->flush(now_, *hub_);
}

TimePoint Connector::deadline() const {
  auto earliest = std::min({endpoint_->deadline(), next_tick_, drain_until_, direct_->deadline(), look_for_doubts_at_});
  for (const auto& upstream : upstreams_) earliest = std::min(earliest, upstream->deadline());
  return earliest;
}

void Connector::on_deadline(TimePoint now) {
  now_ = now;
  endpoint_->on_deadline(now);
  for (auto& upstream : upstreams_) upstream->on_deadline();
  direct_->on_deadline();
  if (now >= look_for_doubts_at_) look_for_doubts();
  if (now >= next_tick_) tick();
  end_drain();
}

void Connector::end_drain() {
  if (!draining_ || drained_) return;
  const bool flows = std::ranges::any_of(tunnels_, [](const auto& t) { return t.second->tcp_active() != 0; });
  if (!flows || now_ >= drain_until_) close_all();
}

void Connector::network_changed(TimePoint now, std::optional<std::vector<path::HostAddress>> hosts) {
  now_ = now;
  if (hosts) direct_->punching().set_hosts(std::move(*hosts), now);
  direct_->network_changed();
  for (auto& upstream : upstreams_) upstream->control().network_changed(now);
}

void Connector::set_mapped(std::vector<SocketAddress> mapped, TimePoint now) {
  now_ = now;
  direct_->punching().set_mapped(std::move(mapped), now);
}

void Connector::tick() {
  next_tick_ = now_ + kTick;
  uptime_seconds_.set(
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now_ - begun_).count()));
  look_for_intermediates();
  std::vector<wire::TunnelId> ids;
  for (const auto& [id, tunnel] : tunnels_) ids.push_back(id);
  for (const auto& id : ids) {
    if (auto* tunnel = find(id)) tunnel->tick();
  }
  direct_->tick();
  // The Intermediate would keep them until our control connection ends.
  for (const auto& route : routes_->expire(now_, [this](const wire::TunnelId& id) { return find(id) != nullptr; })) {
    (void)upstreams_[route.upstream]->control().send(
        wire::RouteClosed{route.tunnel, wire::RouteCloseReason::asked_for});
  }
}

/// Any one will do: Intermediates share what was revoked.
void Connector::look_for_intermediates() {
  const bool online = std::ranges::any_of(upstreams_, [](const auto& upstream) { return upstream->control().ready(); });
  if (online) last_online_ = now_;
  const bool admits = online || now_ - last_online_ < options_.offline_grace;
  if (admits != quotas_.admits_new_flows()) {
    log::warn(admits ? "an Intermediate is back: new flows are taken again"
                     : "no Intermediate for too long: only flows that live go on");
  }
  quotas_.admit_new_flows(admits);
}

void Connector::set_limits(const Limits& limits) {
  options_.limits = limits;
  quotas_.set_limits(limits);
  endpoint_->set_max_connections(limits.tunnels + kOtherConnections);
}

void Connector::reload(Reload next, TimePoint now) {
  now_ = now;
  options_.tunnel_tls = std::move(next.tunnel_tls);
  options_.tunnel_end = next.tunnel_end;
  options_.offline_grace = next.offline_grace;
  set_limits(next.limits);
  direct_->set_options(std::move(next.direct));
  for (const auto& upstream : upstreams_) on_upstream_changed(*upstream);
  const auto change = services_.replace(std::move(next.services));
  for (const auto& old : change.old) {
    for (auto& [id, tunnel] : tunnels_) tunnel->withdraw(*old);
  }
  for (const auto& [id, service] : services_.all()) (void)names_.known(service->definition().backend_host, now);
  for (auto& upstream : upstreams_) {
    upstream->remove(change.removed);
    for (const auto& id : change.changed) upstream->add(id);
    for (const auto& id : change.added) upstream->add(id);
    upstream->set_tls(next.control_tls);
  }
  log::info("services reloaded", {{"services", services_.size()},
                                  {"added", change.added.size()},
                                  {"changed", change.changed.size()},
                                  {"removed", change.removed.size()}});
}

void Connector::drain(TimePoint now) {
  if (draining_) return;
  now_ = now;
  draining_ = true;
  drain_until_ = now + kDrain;
  log::info("draining", {{"tunnels", tunnels_.size()}});
  on_deadline(now);
}

void Connector::close_all() {
  drain_until_ = kNever;
  drained_ = true;
  // Tunnels first: their close goes through the relay, which ends with the control connections.
  close_tunnels([](const AgentTunnel&) { return true; }, wire::CloseCode::draining, "connector is shutting down");
  endpoint_->flush(now_, *hub_);
  close_routes();
  for (auto& upstream : upstreams_) upstream->stop("connector is shutting down");
}

Connector::State Connector::state() const {
  if (draining_) return {false, "draining"};
  std::size_t best = 0;
  std::string why;
  for (const auto& upstream : upstreams_) {
    best = std::max(best, upstream->registered());
    if (why.empty()) why = upstream->refusal();
    if (why.empty() && !upstream->control().ready()) why = upstream->control().last_error();
  }
  if (best == services_.size()) return {true, "registered"};
  if (best != 0) return {false, fmt::format("registered {} of {} services: {}", best, services_.size(), why)};
  return {false, why.empty() ? "connecting" : "not registered: " + why};
}

// -- quic::Acceptor
// -----------------------------------------------------------------------------------------------------

quic::Acceptor::Admit Connector::admit(const quic::Path& path, bool, TimePoint now) {
  if (draining_) return Admit::ignore;
  const auto* route = routes_->find(path);
  if (route == nullptr || route->lingers_until != kNever) return Admit::ignore;
  // A stray packet of a tunnel that lives must not begin another.
  const auto found = tunnels_.find(route->tunnel);
  if (found != tunnels_.end() && found->second->established()) return Admit::ignore;
  return routes_->take_handshake(path, now) ? Admit::accept : Admit::ignore;
}

Result<quic::Acceptor::Accepted> Connector::accept(quic::Connection& connection, const quic::Path& path,
                                                   TimePoint now) {
  now_ = now;
  const auto* route = routes_->find(path);
  if (route == nullptr) return fail(Errc::denied, "no route");
  if (const auto old = tunnels_.find(route->tunnel); old != tunnels_.end()) {
    if (old->second->established()) return fail(Errc::conflict, "tunnel is in use");
    auto* unfinished = old->second.get();
    unfinished->close(wire::CloseCode::replaced, "begun anew");
  }
  if (tunnels_.size() >= quotas_.limits().tunnels) {
    log::warn("too many tunnels", {{"tunnels", tunnels_.size()}});
    return fail(Errc::exhausted, "too many tunnels");
  }
  auto tunnel = std::make_unique<AgentTunnel>(tunnel_shared_, static_cast<TunnelOwner&>(*this), route->tunnel,
                                              route->instance, options_.tunnel_end, connection);
  Accepted accepted;
  accepted.tls = options_.tunnel_tls;
  accepted.transport.idle_timeout = 15min;
  accepted.transport.stream_window = kStreamWindow;
  accepted.transport.max_peer_streams = quotas_.limits().tcp_connections_per_agent + 1;  // and the control stream
  accepted.handler = tunnel.get();
  tunnels_[route->tunnel] = std::move(tunnel);
  return accepted;
}

// -- TunnelOwner
// --------------------------------------------------------------------------------------------------------

void Connector::on_tunnel_verified(AgentTunnel& tunnel) {
  // Another run of the same Agent: it has forgotten its older tunnels. Who it is, its certificate says; which run, the
  // Intermediate (its own Hello is still to come).
  close_tunnels(
      [&](const AgentTunnel& other) {
        return other.established() && other.agent_uri() == tunnel.agent_uri() &&
               other.agent_instance() != tunnel.agent_instance();
      },
      wire::CloseCode::replaced, "the agent was restarted");
}

void Connector::on_tunnel_path_changed(AgentTunnel& tunnel, const quic::Path& path) {
  // The routes of a tunnel that went direct stay: it may come back any time.
  const bool direct = !tunnel::RelayPaths::is_synthetic(path.local);
  if (!direct) routes_->close_others(tunnel.id(), path);
  direct_->path_changed(tunnel.id(), direct, path.remote);
}

void Connector::on_tunnel_closed(AgentTunnel& tunnel) {
  const auto found = tunnels_.find(tunnel.id());
  if (found == tunnels_.end() || found->second.get() != &tunnel) return;
  const auto id = tunnel.id();
  direct_->tunnel_closed(id);
  if (tunnel.was_established()) {
    closing_.push_back(id);  // the route has served its purpose; a failed handshake keeps it: the Agent may try again
  }
  retired_.push_back(std::move(found->second));
  tunnels_.erase(found);
}

// -- UpstreamOwner
// ------------------------------------------------------------------------------------------------------

void Connector::on_route_opened(Upstream& upstream, const wire::RouteOpened& route, const SocketAddress& intermediate) {
  routes_opened_.add();
  const auto routes = routes_->of(route.tunnel);
  const auto other_routes = static_cast<std::size_t>(
      std::ranges::count_if(routes, [&](const Route& r) { return r.upstream != upstream.index(); }));
  const bool too_many = find(route.tunnel) == nullptr ? routes_->size() >= 2 * quotas_.limits().tunnels
                                                      : other_routes >= kMaxRoutesPerTunnel;
  if (draining_ || too_many) {
    const auto why = draining_ ? wire::RouteCloseReason::shutting_down : wire::RouteCloseReason::limit;
    (void)upstream.control().send(wire::RouteClosed{route.tunnel, why});
    return;
  }
  // An Intermediate has one route for a tunnel: it has closed the one before, and tells only who does not stay.
  routes_->linger(route.tunnel, upstream.index(), now_);
  log::debug("route opened", {{"agent", identity::printable(route.peer_name)},
                              {"tunnel", wire::to_string(route.tunnel)},
                              {"service", route.service.str()}});
  routes_->open({route.tunnel, route.route, upstream.index(), route.peer_name, route.peer_instance, now_},
                intermediate);
}

void Connector::on_route_closed(Upstream& upstream, const wire::RouteClosed& route) {
  log::debug("route closed", {{"tunnel", wire::to_string(route.tunnel)}, {"why", wire::to_string(route.reason)}});
  if (find(route.tunnel) == nullptr) return routes_->close(route.tunnel, upstream.index());
  routes_->linger(route.tunnel, upstream.index(), now_);
}

/// The Intermediate's word, and a name without trust domain: where it stands for several Agents, all are closed; those
/// that are not revoked come back.
void Connector::on_revoked(const std::string& name) {
  log::warn("agent revoked", {{"agent", identity::printable(name)}});
  close_tunnels([&](const AgentTunnel& tunnel) { return tunnel.agent() == name; }, wire::CloseCode::revoked, "revoked");
}

void Connector::on_upstream_ready(Upstream& upstream) {
  if (const auto server = upstream.control().server_address()) routes_->readdress(upstream.index(), *server);
}

void Connector::on_upstream_changed(Upstream& upstream) {
  if (!direct_->enabled()) return;  // no NAT is measured either
  direct_->punching().set_intermediate(upstream.index(), tunnel::view_of(upstream.control()), now_);
}

bool Connector::on_signaling(Upstream& upstream, const wire::ControlMessage& message) {
  return direct_->take(upstream.index(), message);
}

// -- rest
// ---------------------------------------------------------------------------------------------------------------

AgentTunnel* Connector::find(const wire::TunnelId& id) {
  const auto found = tunnels_.find(id);
  return found == tunnels_.end() ? nullptr : found->second.get();
}

template <typename Which>
void Connector::close_tunnels(Which&& which, wire::CloseCode code, std::string_view why) {
  std::vector<AgentTunnel*> chosen;
  for (const auto& [id, tunnel] : tunnels_) {
    if (which(*tunnel)) chosen.push_back(tunnel.get());
  }
  for (auto* tunnel : chosen) tunnel->close(code, why);
}

void Connector::declare_metrics(Metrics& metrics) const {
  const auto sum = [&metrics](std::string name, std::string help, const Counter& a, const Counter& b) {
    metrics.add({std::move(name), std::move(help), Metric::Kind::counter, {}, [&a, &b] {
                   return static_cast<double>(a.value() + b.value());
                 }});
  };
  sum("ztna_connector_forwarded_packets_total", "UDP datagrams forwarded between Agents and backends, both directions.",
      udp_counts_.packets_to_backend, udp_counts_.packets_to_agent);
  metrics.add({"ztna_connector_forwarded_bytes_total",
               "Octets of UDP and TCP payload forwarded between Agents and backends, both directions.",
               Metric::Kind::counter,
               {},
               [this] {
                 return static_cast<double>(
                     udp_counts_.octets_to_backend.value() + udp_counts_.octets_to_agent.value() +
                     tcp_counts_.octets_to_backend.value() + tcp_counts_.octets_to_agent.value());
               }});
  metrics.counter("ztna_connector_tcp_sessions_total", "TCP connections that a backend accepted for an Agent.",
                  tcp_counts_.sessions);
  metrics.add({"ztna_connector_tcp_errors_total",
               "TCP streams of Agents that ended otherwise than by FIN: refused, reset, timed out, not permitted.",
               Metric::Kind::counter,
               {},
               [this] {
                 std::uint64_t errors = 0;
                 for (std::size_t i = 0; i < CounterSet<StreamFate>::kSize; ++i) {
                   const auto fate = static_cast<StreamFate>(i);
                   if (is_error(fate)) errors += stream_fates_.value(fate);
                 }
                 return static_cast<double>(errors);
               }});
  metrics.counter("ztna_connector_reconnections_total", "Control connections that were lost and came back.",
                  registration_counts_.reconnections);
  metrics.gauge("ztna_connector_uptime_seconds", "Seconds since the program started.", uptime_seconds_);

  direct_->declare_metrics(metrics);
  metrics.gauge("ztna_connector_tunnels", "Agents' tunnels that are established now.", tunnel_counts_.active);
  metrics.counter("ztna_connector_tunnels_total", "Agents' tunnels that were established.", tunnel_counts_.established);
  metrics.counters("ztna_connector_tunnels_ended_total", "Agents' tunnels that ended or were refused, by reason.",
                   "reason", tunnel_counts_.ends);
  metrics.counter("ztna_connector_services_denied_total", "Requests of Agents for a service that were denied.",
                  tunnel_counts_.services_denied);
  metrics.counter("ztna_connector_routes_total", "Routes through a relay that Intermediates opened.", routes_opened_);
  metrics.counter("ztna_connector_registrations_total", "Registrations that Intermediates acknowledged.",
                  registration_counts_.registered);
  metrics.counter("ztna_connector_registration_rejections_total", "Registrations that Intermediates refused.",
                  registration_counts_.refused);
  metrics.gauge("ztna_connector_udp_flows", "UDP flows with an open socket now.", udp_counts_.flows);
  metrics.gauge("ztna_connector_tcp_sessions", "TCP connections to backends that are open now.", tcp_counts_.active);
  metrics.counters("ztna_connector_packets_total",
                   "Packets from tunnels and datagrams from backends, by what became of them.", "fate", fates_);
  metrics.counters("ztna_connector_streams_total", "TCP streams of Agents that ended, by how.", "fate", stream_fates_);
  metrics.counters("ztna_connector_datagrams_total",
                   "IP packets over tunnels, by what became of them in the tunnel layer.", "fate", datagram_fates_);
  metrics.counter("ztna_connector_datagrams_dropped_total",
                  "Datagrams that tunnels took and could not send: too large for the path, or the tunnel ended.",
                  endpoint_->datagrams_dropped());
  metrics.counter("ztna_connector_sent_to_closed_route_total",
                  "Rows of QUIC packets that were for a route of the relay which was closed.",
                  hub_->sent_to_closed_route());
  metrics.counters("ztna_connector_agents_refused_total", "Agents' certificates that were refused, by reason.",
                   "reason", refused_agents_);
  metrics.counters("ztna_connector_intermediates_refused_total",
                   "Intermediates' certificates that were refused, by reason.", "reason", refused_intermediates_);
  metrics.counters("ztna_connector_udp_payloads_total", "UDP payloads that arrived at the socket, by kind.", "fate",
                   hub_->fates());
  metrics.counters("ztna_connector_quic_packets_total", "QUIC packets that arrived, by what became of them.", "fate",
                   endpoint_->fates());
}

}  // namespace ztna::connector
