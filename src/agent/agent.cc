#include "agent/agent.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace ztna::agent {
namespace {

std::unique_ptr<quic::Endpoint> make_endpoint(const AgentOptions& options, Random& random) {
  quic::EndpointOptions endpoint;
  endpoint.reset_secret = options.reset_secret;
  endpoint.token_secret = random.array<32>();
  endpoint.send_stateless_reset = false;  // a client answers nobody
  return quic::Endpoint::create(endpoint, random, nullptr);
}

}  // namespace

/// Tells the Agent which of its Intermediates speaks.
class Agent::Uplink final : public tunnel::ControlClientOwner {
 public:
  Uplink(Agent& agent, std::size_t server) : agent_(agent), server_(server) {}
  void start(TimePoint now) {
    tunnel::ControlClientOptions options;
    options.server = agent_.options_.servers[server_];
    options.software = agent_.options_.software;
    options.instance = agent_.options_.instance;
    options.check_server_name = agent_.options_.check_server_name;
    client_.emplace(std::move(options), *agent_.endpoint_, agent_.ports_.resolver, agent_.ports_.random,
                    agent_.tls_.control, static_cast<tunnel::ControlClientOwner&>(*this));
    client_->start(now);
  }
  std::size_t server() const { return server_; }
  tunnel::ControlClient& client() { return *client_; }

 private:
  Result<void> verify_intermediate(Bytes leaf_der) override { return agent_.verify_intermediate(leaf_der); }
  void on_control_ready() override { agent_.on_control_ready(*this); }
  void on_control_lost(const quic::CloseReason&) override { agent_.on_control_lost(*this); }
  void on_control_silent() override { agent_.on_control_silent(*this); }
  void on_control_heard() override { agent_.on_control_heard(*this); }
  bool on_control_message(const wire::ControlMessage& message) override {
    return agent_.on_control_message(*this, message);
  }

  Agent& agent_;
  std::size_t server_;
  std::optional<tunnel::ControlClient> client_;
};

Result<std::unique_ptr<Agent>> Agent::create(AgentOptions options, AgentPorts ports, AgentTls tls) {
  std::unique_ptr<Agent> agent{new Agent{std::move(options), std::move(ports), std::move(tls)}};
  if (auto ok = agent->registrar_.want(agent->options_.services); !ok) return fail(ok.error());
  return agent;
}

Agent::Agent(AgentOptions options, AgentPorts ports, AgentTls tls)
    : options_(std::move(options)),
      ports_(std::move(ports)),
      tls_(std::move(tls)),
      endpoint_(make_endpoint(options_, ports_.random)),
      hub_(*endpoint_, ports_.udp),
      context_{*endpoint_, hub_, now_, ports_.wall_time, datagram_fates_, options_.software, options_.instance},
      services_(options_.addresses),
      errors_(ports_.tun, options_.addresses),
      pinger_(ports_.random),
      reentry_(options_.addresses, ports_.tun, errors_, *this),
      direct_(context_, ports_.udp, ports_.random, *this, options_.direct, ports_.side),
      tunnels_(context_, ports_.random, *this, *this),
      registrar_(services_, tunnels_, *this, ports_.random),
      gate_(options_.addresses, services_, reentry_, *this, pinger_, errors_, ports_.tun) {
  tunnels_.set_tls({tls_.tunnel, tls_.certificate, tls_.ends});
  tunnels_.set_offline_grace(options_.offline_grace);
  tunnels_.set_paths(&direct_);
}

Agent::~Agent() { stop(now_); }

void Agent::start(TimePoint now) {
  now_ = now;
  uplink_ = dial(0, now);
  uplink_->start(now);
}

std::unique_ptr<Agent::Uplink> Agent::dial(std::size_t server, TimePoint now) {
  server_patience_ = options_.servers.size() > 1 ? now + patience_ : kNever;
  patience_ = std::min<Duration>(2 * patience_, kLongestServerPatience);
  return std::make_unique<Uplink>(*this, server);
}

/// After the one that was dialled last, and never the one in use, which dials for itself.
std::size_t Agent::next_server() const {
  const auto& last = next_uplink_ != nullptr ? *next_uplink_ : *uplink_;
  const auto next = (last.server() + 1) % options_.servers.size();
  return next == uplink_->server() ? (next + 1) % options_.servers.size() : next;
}

/// Whichever is ready first is used; each dials again by itself.
void Agent::dial_next() {
  const auto next = next_server();
  if (next_uplink_ != nullptr) {
    if (next_uplink_->server() == next) return;  // there are no others
    next_uplink_->client().stop("took too long");
    old_uplinks_.push_back(std::move(next_uplink_));
  }
  log::info("dialling the next Intermediate", {{"server", options_.servers[next].host}});
  next_uplink_ = dial(next, now_);
  next_uplink_->start(now_);
}

const HostPort& Agent::server_in_use() const { return options_.servers[uplink_ == nullptr ? 0 : uplink_->server()]; }

tunnel::ControlClient* Agent::control() const { return uplink_ == nullptr ? nullptr : &uplink_->client(); }

// -- inputs ----------------------------------------------------------------------------------------------------------

/// It is `now`. A machine that slept comes back with whatever happens first.
void Agent::at(TimePoint now) {
  now_ = now;
  const auto slept = due_ == kNever || now <= due_ ? Duration{} : now - due_;
  if (slept < kOversleep) return;
  due_ = kNever;
  log::info("the machine slept", {{"seconds", std::chrono::duration_cast<std::chrono::seconds>(slept).count()}});
  reentry_.slept(slept);
  direct_.slept();
  network_changed(now);
}

void Agent::udp_received(const SocketAddress& from, Bytes row, std::size_t segment, TimePoint now,
                         tunnel::SocketId socket) {
  at(now);
  hub_.receive(from, row, segment, now, socket);
}

void Agent::tun_packet(const PacketOffload& offload, MutableBytes packet, TimePoint now) {
  at(now);
  gate_.from_tun(offload, packet, now);
}

TcpEvents* Agent::accepted(const SocketAddress& peer, std::unique_ptr<tunnel::TcpPort> port, TimePoint now) {
  at(now);
  const auto flow = reentry_.accepted(peer, now);
  if (!flow) {
    port->abort();
    return nullptr;
  }
  return tunnels_.attach(*flow, std::move(port));
}

void Agent::set_hosts(std::vector<path::HostAddress> hosts, TimePoint now) {
  now_ = now;
  direct_.punching().set_hosts(std::move(hosts), now);
}

void Agent::network_changed(TimePoint now) {
  now_ = now;
  if (stopped_) return;
  // First the control connection: the Intermediate sends a relayed packet only where it has validated that connection.
  if (control() != nullptr) control()->network_changed(now);
  direct_.punching().network_changed(now);
  direct_.network_changed();
}

void Agent::set_mapped(std::vector<SocketAddress> mapped, TimePoint now) {
  now_ = now;
  direct_.punching().set_mapped(std::move(mapped), now);
}

void Agent::flush(TimePoint now) {
  now_ = now;
  tunnels_.flush();
  endpoint_->flush(now, hub_);
  if (tunnels_.flushed()) endpoint_->flush(now, hub_);
  direct_.flushed();
  old_uplinks_.clear();
  gate_.flushed();
  finish_examination();
  flows_open_.set(reentry_.flows());
  tunnels_open_.set(tunnels_.size());
  due_ = std::max(deadline(), now);  // a deadline may lie in the past: at once
}

TimePoint Agent::deadline() const {
  const auto uplink = control() == nullptr ? kNever : control()->deadline();
  const auto next = next_uplink_ == nullptr ? kNever : next_uplink_->client().deadline();
  return std::min({endpoint_->deadline(), uplink, next, tunnels_.deadline(), direct_.deadline(), reentry_.deadline(),
                   gate_.deadline(), pinger_.deadline(), registrar_.deadline(), server_patience_, examine_until_});
}

void Agent::on_deadline(TimePoint now) {
  at(now);
  if (now >= endpoint_->deadline()) endpoint_->on_deadline(now);
  if (control() != nullptr && now >= control()->deadline()) control()->on_deadline(now);
  if (next_uplink_ != nullptr && now >= next_uplink_->client().deadline()) next_uplink_->client().on_deadline(now);
  tunnels_.on_deadline();
  direct_.on_deadline();
  reentry_.expire(now);
  gate_.expire(now);
  pinger_.expire(now);
  registrar_.on_deadline(now);
  if (now < server_patience_) return;
  server_patience_ = kNever;
  if (stopped_ || (ready() && next_uplink_ == nullptr)) return;
  dial_next();
}

// -- control ---------------------------------------------------------------------------------------------------------

void Agent::set_tls(AgentTls tls, TimePoint now) {
  now_ = now;
  tls_ = std::move(tls);
  tunnels_.set_tls({tls_.tunnel, tls_.certificate, tls_.ends});
  if (control() != nullptr) control()->set_tls(tls_.control);
  if (next_uplink_ != nullptr) next_uplink_->client().set_tls(tls_.control);
}

void Agent::set_direct(DirectOptions options, TimePoint now) {
  now_ = now;
  direct_.set_options(std::move(options));
}

Result<void> Agent::set_services(const std::vector<WantedService>& services, TimePoint now) {
  now_ = now;
  return registrar_.want(services);
}

void Agent::stop(TimePoint now) {
  if (std::exchange(stopped_, true)) return;
  now_ = now;
  draining_ = true;
  server_patience_ = kNever;
  connected_.set(0);
  registered_.set(0);
  tunnels_.close_all(wire::CloseCode::no_error, "agent stops");
  tunnels_.flush();
  if (control() != nullptr) control()->stop("agent stops");
  if (next_uplink_ != nullptr) next_uplink_->client().stop("agent stops");
}

void Agent::ping(const std::string& service, std::function<void(const Pong&)> done, TimePoint now) {
  now_ = now;
  Pong pong;
  const auto refuse = [&](std::string why) {
    pong.problem = std::move(why);
    done(pong);
  };
  const auto id = wire::ServiceId::parse(service);
  const auto* known = id ? services_.by_id(*id) : nullptr;
  if (known == nullptr) return refuse(fmt::format("no service \"{}\": `ztna-agent status` lists them", service));
  if (!is_reachable(*known)) {
    const auto refused = registrar_.refusal(service);
    return refuse(refused.empty() ? fmt::format("service is down: {}", wire::to_string(known->down_reason))
                                  : fmt::format("service is refused: {}", refused));
  }
  for (const auto family : {Family::v4, Family::v6}) {
    const auto& to = known->address(family);
    const auto& from = options_.addresses.tun(family);
    if (!to || !from) continue;
    pong.address = *to;
    auto answer = [this, service_id = *id, pong, done](std::optional<Duration> rtt) mutable {
      const auto link = tunnels_.link(service_id);
      if (link && link->tunnel != nullptr) {
        pong.relayed = link->tunnel->relayed();
        pong.connector = link->tunnel->connector();
      }
      pong.ok = rtt.has_value();
      pong.rtt = rtt.value_or(Duration{});
      if (!rtt) {
        const bool reason = link && !link->last_error.empty();
        pong.problem = reason ? link->last_error : !ready() ? "no connection to the Intermediate" : "no answer";
      }
      done(pong);
    };
    auto packet = pinger_.begin(*from, *to, now, std::move(answer));
    if (packet.empty()) return refuse("too many pings at once");
    return gate_.send_own(*id, std::move(packet));
  }
  refuse("service has no virtual address of a family that the TUN has");
}

// -- the Intermediate -------------------------------------------------------------------------------------------------

Result<void> Agent::verify_intermediate(Bytes leaf_der) const {
  const auto identity =
      identity::expect_role(identity::Identity::from_leaf(leaf_der, ports_.wall_time(), identity::Purpose::server),
                            identity::Role::intermediate);
  if (!identity) return fail(static_cast<const Error&>(identity.error()));
  return {};  // the host's name was checked by the connection (check_name)
}

void Agent::on_control_ready(Uplink& uplink) {
  if (next_uplink_ != nullptr && &uplink == next_uplink_.get()) {
    // Routes of the old Intermediate bring packets until it stops; tunnels ask the new one for theirs now.
    auto old = std::exchange(uplink_, std::move(next_uplink_));
    if (old->client().ready()) {
      registrar_.control_lost();
      tunnels_.control_lost();
      direct_.control_lost();
    }
    old->client().stop("moved to another Intermediate");
    old_uplinks_.push_back(std::move(old));
    log::info("moved to another Intermediate", {{"server", options_.servers[uplink.server()].host}});
  } else {
    if (std::exchange(ever_ready_, true)) reconnections_.add();
    if (next_uplink_ != nullptr) {  // the one that was going to stop is back first
      next_uplink_->client().stop("not needed");
      old_uplinks_.push_back(std::move(next_uplink_));
    }
  }
  server_patience_ = kNever;
  patience_ = kServerPatience;
  leaving_ = false;
  connected_.set(1);
  registrar_.control_ready();
  tunnels_.control_ready();
  direct_.set_intermediate(tunnel::view_of(*control()));
  direct_.control_ready();
}

void Agent::on_control_lost(const Uplink& uplink) {
  if (&uplink != uplink_.get()) return;
  connected_.set(0);
  registered_.set(0);
  if (options_.servers.size() > 1) server_patience_ = std::min(server_patience_, now_ + patience_);
  registrar_.control_lost();
  tunnels_.control_lost();
  direct_.set_intermediate(tunnel::view_of(*control()));
  direct_.control_lost();
}

void Agent::on_drain(const wire::Drain& drain) {
  log::info("the Intermediate is going to stop", {{"in_ms", drain.close_in_ms}});
  leaving_ = true;
  if (options_.servers.size() < 2 || next_uplink_ != nullptr || stopped_) return;
  dial_next();
}

/// It may be gone without a word: what waits for it to come back waits long.
void Agent::on_control_silent(const Uplink& uplink) {
  if (&uplink != uplink_.get() || options_.servers.size() < 2 || next_uplink_ != nullptr || stopped_) return;
  log::warn("the Intermediate is silent", {{"server", server_in_use().host}});
  dial_next();
}

void Agent::on_control_heard(const Uplink& uplink) {
  if (&uplink != uplink_.get() || leaving_ || next_uplink_ == nullptr || !ready()) return;
  next_uplink_->client().stop("not needed");
  old_uplinks_.push_back(std::move(next_uplink_));
  server_patience_ = kNever;
  patience_ = kServerPatience;
}

bool Agent::on_control_message(const Uplink& uplink, const wire::ControlMessage& message) {
  if (&uplink != uplink_.get()) return true;  // what we left
  if (registrar_.take(message, now_)) {
    registered_.set(registrar_.registered() ? 1 : 0);
    return true;
  }
  if (const auto* opened = std::get_if<wire::RouteOpened>(&message)) {
    tunnels_.on_route_opened(*opened);
    return true;
  }
  if (const auto* closed = std::get_if<wire::RouteClosed>(&message)) {
    tunnels_.on_route_closed(*closed);
    return true;
  }
  if (const auto* revoked = std::get_if<wire::Revoked>(&message)) {
    log::warn("certificate revoked", {{"name", revoked->name}});
    tunnels_.connector_revoked(revoked->name);
    return true;
  }
  if (const auto* drain = std::get_if<wire::Drain>(&message)) {
    on_drain(*drain);
    return true;
  }
  if (std::holds_alternative<wire::ObservedAddress>(message) || std::holds_alternative<wire::ProbePort>(message)) {
    if (direct_.set_intermediate(tunnel::view_of(*control()))) tunnels_.seen_elsewhere();
    return true;
  }
  return direct_.take(message);
}

void Agent::suspect() {
  if (control() != nullptr) control()->suspect(now_);
}

void Agent::be_seen() {
  if (control() != nullptr) control()->be_seen();
}

SocketAddress Agent::intermediate() const {
  return control() == nullptr ? SocketAddress{} : control()->server_address().value_or(SocketAddress{});
}

Duration Agent::rtt() const {
  auto* connection = control() == nullptr ? nullptr : control()->connection();
  return connection == nullptr ? Duration{} : connection->stats().smoothed_rtt;
}

// -- flows ------------------------------------------------------------------------------------------------------------

bool Agent::is_reachable(const Service& service) const {
  return service.up || (service.connector_gone() && tunnels_.serves(service.id));
}

void Agent::on_flow_begun(FlowId flow, const wire::ServiceId& service, const SocketAddress& dialled) {
  const auto* known = services_.by_id(service);
  if (draining_) return reentry_.refuse(flow);
  if (known == nullptr || !is_reachable(*known)) {
    const bool denied = known != nullptr && known->down_reason == wire::ServiceDownReason::not_permitted;
    return on_flow_unreachable(flow, denied);
  }
  tunnels_.begin_flow(flow, service, dialled);
}

void Agent::on_flow_result(FlowId flow, std::optional<wire::StreamResult> result) {
  using wire::StreamResult;
  if (result == StreamResult::connected) {
    tcp_connected_.add();
    return reentry_.connected(flow, now_);
  }
  tcp_failed_.add();
  if (!result) return reentry_.refuse(flow);
  switch (*result) {
    case StreamResult::unreachable: return reentry_.unreachable(flow, now_);
    case StreamResult::timed_out: return reentry_.forget(flow);
    default: return reentry_.refuse(flow);
  }
}

void Agent::on_flow_unreachable(FlowId flow, bool denied) {
  tcp_failed_.add();
  if (denied) return reentry_.refuse(flow);
  reentry_.unreachable(flow, now_);
}

}  // namespace ztna::agent
