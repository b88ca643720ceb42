#include "apps/app-connector/program.h"

#include <algorithm>
#include <utility>

#include "apps/app-connector/settings.h"
#include "apps/common/descriptors.h"
#include "apps/common/metrics_server.h"
#include "apps/common/own_identity.h"
#include "apps/common/secret_file.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/notify.h"
#include "os/privileges.h"

namespace ztna::apps {
namespace {

constexpr Duration kPublishEvery = 100ms;

}  // namespace

Result<ConnectorProgram::Tls> ConnectorProgram::load_tls(const config::ConnectorConfig& config) const {
  const auto own = load_own_identity(config.identity, identity::Role::connector, identity::Purpose::client);
  if (!own) return fail(own.error());
  warn_of_services_not_permitted(own->identity, config.services);
  const auto seen = load_own_identity(config.p2p_identity(), identity::Role::connector, identity::Purpose::server);
  if (!seen) return fail(seen.error());

  auto control = make_tls_context(*own, quic::Side::client, {.alpn = "ztna-v1", .verify_peer = config.verify_peer},
                                  config.keylog_file);
  if (!control) return fail(control.error());
  // Whatever verify_peer says: it is about the Intermediate, and an Agent is let in by its certificate alone.
  auto tunnel = make_tls_context(*seen, quic::Side::server, {.alpn = "ztna-tunnel-v1"}, config.keylog_file);
  if (!tunnel) return fail(tunnel.error());
  return Tls{std::move(*control), std::move(*tunnel), seen->identity.not_after};
}

Result<void> ConnectorProgram::open() {
  const auto& config = run_.config;
  auto tls = load_tls(config);
  if (!tls) return fail(tls.error());
  auto services = service_definitions(config);
  if (!services) return fail(services.error());

  const os::OffloadOptions offload{config.offloads.gso, config.offloads.gro, config.offloads.tso, config.offloads.uso};
  if (auto bound = udp_.open({config.p2p.port, config.socket_buffer_bytes, offload}); !bound) {
    return fail(bound.error().code, "{}; choose another with --p2p-listen-port, or stop what uses it",
                bound.error().text);
  }
  max_sockets_ = raise_descriptor_limit();
  resolver_ = std::make_unique<NameResolver>(loop_);
  BackendSocketOptions backend_options;
  backend_options.offload = offload;
  backends_ = std::make_unique<BackendSockets>(loop_, buffers_, backend_options, [this] {
    if (connector_->wants_flush()) connector_->flush(os::now());
  });

  connector::ConnectorOptions options;
  for (const auto& server : config.servers) options.servers.push_back({server.host, server.port});
  options.services = std::move(*services);
  options.software = "ztna/" ZTNA_VERSION;
  options.instance = wire::InstanceId{random_.array<8>()};
  options.limits = connector_limits(config, max_sockets_);
  options.verify_peer = config.verify_peer;
  options.direct = direct_options(config, udp_);
  options.endpoint.reset_secret = persistent_secret(config.state_dir, "reset.key", random_);
  options.endpoint.token_secret = random_.array<32>();
  options.control_tls = tls->control;
  options.tunnel_tls = tls->tunnel;
  options.tunnel_end = tls->tunnel_end;
  options.offline_grace = config.offline_grace;
  connector_ = std::make_unique<connector::Connector>(
      std::move(options),
      connector::ConnectorPorts{udp_, *backends_, *resolver_, random_, [] { return os::wall_time(); }, &udp_});

  // Everything that could need a privilege is open. Without one this is not needed, and may not be possible.
  if (auto dropped = os::keep_only_capabilities({}); !dropped) {
    log::debug("capabilities stay as they were", {{"why", dropped.error().text}});
  }
  if (auto fixed = os::set_no_new_privileges(); !fixed) return fixed;

  declare_metrics();
  auto server = serve_metrics(config.metrics, metrics_, [this] { return readiness(); });
  if (!server) return fail(server.error());
  http_ = std::move(*server);
  return {};
}

void ConnectorProgram::declare_metrics() {
  connector_->declare_metrics(metrics_);
  metrics_.add({"ztna_connector_socket_drops_total",
                "UDP datagrams that the kernel dropped because a receive buffer of the Connector was full.",
                Metric::Kind::counter,
                {},
                [this] { return static_cast<double>(udp_.kernel_drops()); }});
  metrics_.add({"ztna_connector_socket_send_drops_total",
                "UDP datagrams that the kernel did not take from the Connector's sockets.",
                Metric::Kind::counter,
                {},
                [this] { return static_cast<double>(udp_.send_drops()); }});
}

void ConnectorProgram::run() {
  signals_ = std::make_unique<os::Signals>(loop_, [this](os::Signal signal) { on_signal(signal); });
  timer_ = std::make_unique<os::Timer>(loop_, [this] { connector_->on_deadline(os::now()); });
  hosts_ = std::make_unique<HostWatch>(loop_, std::string{}, [this](const std::vector<path::HostAddress>& hosts) {
    connector_->network_changed(os::now(), hosts);
    if (mapper_) mapper_->network_changed();
  });
  if (auto watched = hosts_->start(); !watched) {
    log::warn("changes of the network are not noticed at once", {{"why", watched.error().text}});
  }
  udp_.start(loop_, buffers_,
             [this](tunnel::SocketId socket, const SocketAddress& from, Bytes row, std::size_t segment, TimePoint now) {
               connector_->receive(from, row, segment, now, socket);
             });
  batch_ = loop_.after_batch([this] { after_batch(); });
  log::info("app-connector started", {{"version", ZTNA_VERSION},
                                      {"services", run_.config.services.size()},
                                      {"intermediates", run_.config.servers.size()},
                                      {"port", udp_.port()},
                                      {"max_backend_sockets", max_sockets_}});
  connector_->start(os::now());
  os::notify_ready();
  map_port(run_.config.p2p);
  loop_.run();
  batch_.reset();
  mapper_.reset();
  log::info("stopped");
}

/// After the privileges are dropped: it begins a thread.
void ConnectorProgram::map_port(const config::DirectPaths& settings) {
  if (!settings.enabled || !settings.port_mapping) {
    if (std::exchange(mapper_, nullptr)) connector_->set_mapped({}, os::now());
    return;
  }
  if (mapper_) return;
  PortMapperOptions options;
  options.port = udp_.port();
  options.description = "ztna app-connector";
  mapper_ = std::make_unique<PortMapper>(loop_, std::move(options), [this](std::vector<SocketAddress> mapped) {
    connector_->set_mapped(std::move(mapped), os::now());
  });
}

void ConnectorProgram::after_batch() {
  const auto now = os::now();
  connector_->flush(now);
  if (now - state_published_ >= kPublishEvery) publish_state();
  // Nothing may come in after the registration for a while, and /readyz is waited for.
  const auto look_again = state_.ready ? kNever : state_published_ + kPublishEvery;
  timer_->set(std::min(connector_->deadline(), look_again));
  if (connector_->drained()) loop_.stop();
}

void ConnectorProgram::publish_state() {
  state_published_ = os::now();
  auto next = connector_->state();
  if (next.ready == state_.ready && next.text == state_.text) return;  // only this thread writes
  os::notify_status(next.text);
  const std::lock_guard lock{state_mutex_};
  state_ = std::move(next);
}

http::Readiness ConnectorProgram::readiness() const {
  const std::lock_guard lock{state_mutex_};
  return {state_.ready, state_.text};
}

void ConnectorProgram::on_signal(os::Signal signal) {
  if (signal == os::Signal::hang_up) {
    reload();
    return;
  }
  os::notify_stopping();
  if (connector_->state().text == "draining") {
    loop_.stop();  // asked twice
    return;
  }
  connector_->drain(os::now());
  publish_state();
}

void ConnectorProgram::reload() {
  os::notify_reloading();
  auto next = run_.reload();
  if (!next) {
    for (const auto& problem : next.error())
      log::error("reload refused, the old configuration stays", {{"why", problem}});
    os::notify_ready();
    return;
  }
  auto checked = *next;
  checked.verify_peer = run_.config.verify_peer;  // not a switch to turn while it runs
  auto tls = load_tls(checked);
  auto services = service_definitions(*next);
  if (!tls || !services) {
    log::error("reload refused, the old configuration and certificates stay",
               {{"why", tls ? services.error().text : tls.error().text}});
    os::notify_ready();
    return;
  }
  log::configure(next->log.level, next->log.format);
  connector_->reload({std::move(*services), tls->control, tls->tunnel, connector_limits(*next, max_sockets_),
                      tls->tunnel_end, next->offline_grace, direct_options(*next, udp_)},
                     os::now());
  const auto& old = run_.config;
  auto rest = *next;  // without what has been taken up
  rest.take_reloadable(old);
  rest.services = old.services;
  rest.limits = old.limits;
  rest.offline_grace = old.offline_grace;
  rest.p2p = old.p2p;
  rest.p2p.port = next->p2p.port;
  if (rest != old) {
    log::warn(
        "Intermediates, ports, metrics, offloads, buffers, state_dir and --no-verify-peer change at the next restart");
  }
  run_.config = std::move(*next);
  run_.config.verify_peer = checked.verify_peer;
  map_port(run_.config.p2p);
  log::info("reloaded certificates and configuration");
  os::notify_ready();
}

}  // namespace ztna::apps
