#include "apps/ztna-agent/program.h"

#include <utility>

#include "apps/common/descriptors.h"
#include "apps/common/metrics_server.h"
#include "apps/common/own_identity.h"
#include "apps/ztna-agent/network_setup.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/notify.h"
#include "os/privileges.h"

namespace ztna::apps {
namespace {

Result<std::vector<agent::WantedService>> wanted_services(const config::AgentConfig& config) {
  std::vector<agent::WantedService> services;
  for (const auto& service : config.services) {
    auto id = wire::ServiceId::parse(service.id);
    if (!id) return fail(fmt::format("service {}", service.id), id.error());
    services.push_back({std::move(*id), service.virtual_ips});
  }
  return services;
}

os::OffloadOptions offload_of(const config::AgentConfig& config) {
  return {config.offloads.gso, config.offloads.gro, config.offloads.tso, config.offloads.uso};
}

agent::DirectOptions direct_options(const config::AgentConfig& config, const UdpSockets& udp) {
  agent::DirectOptions options;
  options.enabled = config.p2p.enabled;
  options.birthday = config.p2p.birthday;
  options.local.port_v4 = udp.port();
  options.local.port_v6 = udp.has_v6() ? udp.port() : std::uint16_t{0};
  options.local.external = config.p2p.external_ips;
  options.local.tunnels = config.tunnel_routes();
  return options;
}

}  // namespace

AgentProgram::AgentProgram(AgentRun run) : run_(std::move(run)) {}

AgentProgram::~AgentProgram() = default;

Result<agent::AgentTls> AgentProgram::load_tls(const config::AgentConfig& config) const {
  const auto own = load_own_identity(config.identity, identity::Role::agent, identity::Purpose::client);
  if (!own) return fail(own.error());
  warn_of_services_not_permitted(own->identity, config.services);
  auto control =
      make_tls_context(*own, quic::Side::client, {.alpn = "ztna-v1", .session_tickets = true}, config.keylog_file);
  if (!control) return fail(control.error());
  auto tunnel = make_tls_context(*own, quic::Side::client, {.alpn = "ztna-tunnel-v1"}, config.keylog_file);
  if (!tunnel) return fail(tunnel.error());
  return agent::AgentTls{std::move(*control), std::move(*tunnel), own->leaf, own->identity.not_after};
}

Result<void> AgentProgram::open() {
  os::ignore_sigpipe();
  raise_descriptor_limit();  // each TCP connection of a user is one
  auto tls = load_tls(run_.config);
  if (!tls) return fail(tls.error());
  if (auto ok = open_network(); !ok) return ok;
  if (auto ok = open_agent(std::move(*tls)); !ok) return ok;
  // From here on nothing for a service leaves by another way, however this process ends.
  if (auto ok = hold_routes(*netlink_, run_.config); !ok) return ok;
  if (auto ok = os::keep_only_capabilities({os::Capability::net_admin}); !ok) return ok;
  if (auto ok = os::set_no_new_privileges(); !ok) return ok;
  if (auto ok = os::set_not_dumpable(); !ok) return ok;
  return open_http();  // begins a thread: after the capabilities are dropped
}

Result<void> AgentProgram::open_network() {
  const auto& config = run_.config;
  auto netlink = os::Netlink::open();
  if (!netlink) return fail(netlink.error());
  netlink_ = std::make_unique<os::Netlink>(std::move(*netlink));
  auto tun = os::Tun::open(config.tun_name, offload_of(config));
  if (!tun) return fail(tun.error());
  tun_ = std::make_unique<TunDevice>(std::move(*tun));
  if (auto ok = check_overlap(*netlink_, config); !ok) return ok;  // after the name is ours: another agent is told so
  if (auto ok = set_up_tun(*netlink_, config); !ok) return ok;
  if (auto ok = reentry_.open(addresses_of(config), config.tun_name); !ok) return ok;
  UdpSocketsOptions udp;
  udp.port = config.p2p.port;
  udp.buffer_bytes = config.socket_buffer_bytes;
  udp.offload = offload_of(config);
  return udp_.open(udp);
}

Result<void> AgentProgram::open_agent(agent::AgentTls tls) {
  const auto& config = run_.config;
  auto services = wanted_services(config);
  if (!services) return fail(services.error());
  resolver_ = std::make_unique<NameResolver>(loop_);
  agent::AgentOptions options;
  for (const auto& server : config.servers) options.servers.push_back({server.host, server.port});
  options.services = std::move(*services);
  options.addresses = addresses_of(config);
  options.offline_grace = config.offline_grace;
  options.direct = direct_options(config, udp_);
  options.instance = wire::InstanceId{random_.array<8>()};
  options.reset_secret = random_.array<32>();
  auto agent = agent::Agent::create(
      std::move(options), {udp_, *tun_, *resolver_, random_, [] { return os::wall_time(); }, &udp_}, std::move(tls));
  if (!agent) return fail(agent.error());
  agent_ = std::move(*agent);
  return control_.open(loop_, config.control_socket, *agent_, [this] {
    release_ = true;
    drain("down");
  });
}

Result<void> AgentProgram::open_http() {
  agent_->describe(metrics_);
  metrics_.counter("ztna_agent_tun_reads_total", "Packets read from the TUN, super-packets counted once",
                   tun_->packets_in());
  metrics_.counter("ztna_agent_tun_writes_total", "Packets written to the TUN, super-packets counted once",
                   tun_->packets_out());
  metrics_.add({"ztna_agent_socket_drops_total",
                "UDP datagrams that the kernel dropped because a receive buffer of the Agent was full",
                Metric::Kind::counter,
                {},
                [this] { return static_cast<double>(udp_.kernel_drops()); }});
  metrics_.add({"ztna_agent_socket_send_drops_total",
                "UDP datagrams that the kernel did not take from the Agent's sockets",
                Metric::Kind::counter,
                {},
                [this] { return static_cast<double>(udp_.send_drops()); }});
  const auto started = os::now();
  metrics_.add({"ztna_agent_uptime_seconds", "Seconds since the agent started", Metric::Kind::gauge, {}, [started] {
                  return std::chrono::duration<double>(os::now() - started).count();
                }});
  auto server = serve_metrics(run_.config.metrics, metrics_, [this]() -> http::Readiness {
    if (draining_.value() != 0) return {false, "draining"};
    if (agent_->registered().value() != 0) return {true, "registered"};
    return {false, agent_->connected().value() != 0 ? "connected, no registration is accepted" : "connecting"};
  });
  if (!server) return fail(server.error());
  http_ = std::move(*server);
  return {};
}

int AgentProgram::run() {
  const auto& config = run_.config;
  signals_ = std::make_unique<os::Signals>(loop_, [this](os::Signal signal) { on_signal(signal); });
  timer_ = std::make_unique<os::Timer>(loop_, [this] { agent_->on_deadline(os::now()); });
  drain_timer_ = std::make_unique<os::Timer>(loop_, [this] { phase_ = Phase::closing; });
  auto_stop_ = std::make_unique<os::Timer>(loop_, [this] { drain("--auto-stop"); });
  if (config.auto_stop.count() > 0) auto_stop_->set(os::now() + config.auto_stop);
  // Told once at the start: that is no change.
  auto change = [this, first = true](const std::vector<path::HostAddress>& hosts) mutable {
    agent_->set_hosts(hosts, os::now());
    if (!std::exchange(first, false)) agent_->network_changed(os::now());
    if (mapper_) mapper_->network_changed();
  };
  hosts_ = std::make_unique<HostWatch>(loop_, config.tun_name, std::move(change));
  if (auto watched = hosts_->start(); !watched) {
    log::warn("changes of the network are not noticed at once", {{"why", watched.error().text}});
  }
  udp_.start(loop_, buffers_,
             [this](tunnel::SocketId socket, const SocketAddress& from, Bytes row, std::size_t segment, TimePoint now) {
               agent_->udp_received(from, row, segment, now, socket);
             });
  reentry_.start(loop_, *agent_);
  tun_->start(
      loop_,
      [this](const agent::PacketOffload& offload, MutableBytes packet) {
        agent_->tun_packet(offload, packet, os::now());
      },
      [this] { flush(); },
      [this] {
        log::error("the TUN device is gone", {{"name", run_.config.tun_name}});
        tun_gone_ = true;
        drain("TUN device gone");
      });
  batch_ = loop_.after_batch([this] { after_batch(); });
  std::string services;
  for (const auto& service : config.services) services += (services.empty() ? "" : ",") + service.id;
  log::info("ztna-agent started", {{"version", ZTNA_VERSION},
                                   {"tun", config.tun_name},
                                   {"services", services.empty() ? "all that policy allows" : services},
                                   {"tso", tun_->tun().tso()},
                                   {"uso", tun_->tun().uso()}});
  agent_->start(os::now());
  os::notify_ready();
  map_port(config.p2p);
  loop_.run();
  batch_.reset();
  http_.reset();
  mapper_.reset();
  if (release_) {
    if (auto released = release_routes(*netlink_); !released) {
      log::error("cannot give back the services' networks", {{"why", released.error().text}});
    }
  } else {
    log::info("services stay unreachable until the agent is back, or `ztna-agent down`");
  }
  log::info("stopped");
  return tun_gone_ ? kExitFailure : kExitOk;
}

void AgentProgram::flush() {
  agent_->flush(os::now());
  tun_->flushed();
}

/// After the privileges are dropped: it begins a thread.
void AgentProgram::map_port(const config::DirectPaths& settings) {
  if (!settings.enabled || !settings.port_mapping) {
    if (std::exchange(mapper_, nullptr)) agent_->set_mapped({}, os::now());
    return;
  }
  if (mapper_) return;
  PortMapperOptions options;
  options.port = udp_.port();
  options.description = "ztna-agent";
  mapper_ = std::make_unique<PortMapper>(loop_, std::move(options), [this](std::vector<SocketAddress> mapped) {
    agent_->set_mapped(std::move(mapped), os::now());
  });
}

void AgentProgram::after_batch() {
  flush();
  timer_->set(agent_->deadline());
  const bool connected = agent_->connected().value() != 0;
  if (connected != was_connected_) {
    was_connected_ = connected;
    os::notify_status(connected ? "connected to the Intermediate" : "looking for the Intermediate");
  }
  if (phase_ == Phase::draining && agent_->active_connections() == 0) phase_ = Phase::closing;
  if (phase_ != Phase::closing) return;
  agent_->stop(os::now());
  flush();  // says goodbye
  loop_.stop();
}

void AgentProgram::on_signal(os::Signal signal) {
  if (signal == os::Signal::hang_up) return reload();
  if (phase_ != Phase::running) {
    phase_ = Phase::closing;  // asked twice
    return;
  }
  drain("signal");
}

void AgentProgram::drain(std::string_view why) {
  if (phase_ != Phase::running) return;
  os::notify_stopping();
  log::info("stopping", {{"why", why}, {"tcp_connections", agent_->active_connections()}});
  phase_ = Phase::draining;
  draining_.set(1);
  agent_->drain();
  drain_timer_->set(os::now() + kDrain);
}

void AgentProgram::reload() {
  os::notify_reloading();
  const auto keep = [](const std::string& why) {
    log::error("reload refused, the old configuration and certificates stay", {{"why", why}});
    os::notify_ready();
  };
  auto next = run_.reload();
  if (!next) {
    for (const auto& problem : next.error()) keep(problem);
    return;
  }
  auto tls = load_tls(*next);
  if (!tls) return keep(tls.error().text);
  auto services = wanted_services(*next);
  if (!services) return keep(services.error().text);
  agent_->set_tls(std::move(*tls), os::now());
  agent_->set_direct(direct_options(*next, udp_), os::now());
  agent_->set_offline_grace(next->offline_grace);
  if (auto ok = agent_->set_services(*services, os::now()); !ok) {
    log::error("a service of the new configuration cannot be used", {{"why", ok.error().text}});
  }
  log::configure(next->log.level, next->log.format);
  const auto& old = run_.config;
  auto rest = *next;  // without what has been taken up
  rest.take_reloadable(old);
  rest.services = old.services;
  rest.offline_grace = old.offline_grace;
  rest.p2p = old.p2p;
  rest.p2p.port = next->p2p.port;
  if (rest != old || next->tunnel_routes() != old.tunnel_routes()) {
    log::warn("servers, TUN device, routes, ports, sockets, metrics, offloads and autoStop change at the next restart");
  }
  auto kept = std::move(run_.config);
  run_.config = std::move(*next);
  run_.config.tun_name = kept.tun_name;
  map_port(run_.config.p2p);
  log::info("reloaded certificates and configuration");
  os::notify_ready();
}

}  // namespace ztna::apps
