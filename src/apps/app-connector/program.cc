#include "apps/app-connector/program.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "apps/app-connector/settings.h"
#include "apps/common/descriptors.h"
#include "apps/common/identity_files.h"
#include "apps/common/secret_file.h"
#include "base/log.h"
#include "identity/identity.h"
#include "os/clock.h"
#include "os/notify.h"
#include "os/privileges.h"

namespace ztna::apps {
namespace {

constexpr Duration kPublishEvery = 100ms;

/// A connector's own certificate, judged as the peers will: a bad one is better found at start.
Result<identity::Identity> own_identity(const std::string& path, const std::string& pem, identity::Purpose purpose) {
  const auto certificate = identity::Certificate::parse_pem(pem);
  if (!certificate) return fail(path, certificate.error());
  auto own = identity::expect_role(identity::Identity::from_leaf(certificate->der, os::wall_time(), purpose),
                                   identity::Role::connector);
  if (!own) {
    return fail(Errc::invalid_argument, "{}: {}; make one with: ztnactl issue connector --name NAME --service ID", path,
                own.error().text);
  }
  return std::move(*own);
}

}  // namespace

void NameResolver::resolve(const std::string& host, Done done) {
  resolver_.resolve(host, 0, [done = std::move(done)](Result<std::vector<SocketAddress>> answer) {
    if (!answer) return done(fail(answer.error()));
    std::vector<IpAddress> addresses;
    for (const auto& address : *answer) addresses.push_back(address.ip);
    done(std::move(addresses));
  });
}

Result<ConnectorProgram::Tls> ConnectorProgram::load_tls(const config::ConnectorConfig& config) const {
  const auto make = [&config](quic::Side side, const IdentityPem& pem, std::string alpn) {
    quic::TlsOptions tls;
    tls.ca_pem = pem.ca_cert;
    tls.cert_pem = pem.cert;
    tls.key_pem = pem.key;
    tls.alpn = std::move(alpn);
    tls.verify_peer = config.verify_peer;
    if (!config.keylog_file.empty()) {
      tls.keylog = [path = config.keylog_file](std::string_view line) {
        std::ofstream{path, std::ios::app} << line << '\n';
      };
    }
    return quic::TlsContext::create(side, std::move(tls));
  };
  const auto own = read_identity(config.identity);
  if (!own) return fail(own.error());
  const auto identity = own_identity(config.identity.cert, own->cert, identity::Purpose::client);
  if (!identity) return fail(identity.error());
  for (const auto& service : config.services) {
    if (identity->permits(service.id)) continue;
    log::warn("own certificate does not permit a service: the Intermediate will refuse it",
              {{"service", service.id}, {"permitted", identity->services_text()}});
  }
  const auto files = config.p2p_identity();
  const auto p2p = read_identity(files);
  if (!p2p) return fail(p2p.error());
  const auto seen = own_identity(files.cert, p2p->cert, identity::Purpose::server);
  if (!seen) return fail(seen.error());

  Tls tls;
  tls.tunnel_end = seen->not_after;
  auto control = make(quic::Side::client, *own, "ztna-v1");
  if (!control) return fail(fmt::format("{} and {}", config.identity.cert, config.identity.key), control.error());
  tls.control = std::move(*control);
  auto tunnel = make(quic::Side::server, *p2p, "ztna-tunnel-v1");
  if (!tunnel) return fail(fmt::format("{} and {}", files.cert, files.key), tunnel.error());
  tls.tunnel = std::move(*tunnel);
  return tls;
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
  options.endpoint.max_connections = config.limits.tunnels + 64;
  options.control_tls = tls->control;
  options.tunnel_tls = tls->tunnel;
  options.tunnel_end = tls->tunnel_end;
  options.offline_grace = config.offline_grace;
  connector_ = std::make_unique<connector::Connector>(
      std::move(options),
      connector::ConnectorPorts{udp_, *backends_, *resolver_, random_, [] { return os::wall_time(); }});

  // Everything that could need a privilege is open. Without one this is not needed, and may not be possible.
  if (auto dropped = os::keep_only_capabilities({}); !dropped) {
    log::debug("capabilities stay as they were", {{"why", dropped.error().text}});
  }
  if (auto fixed = os::set_no_new_privileges(); !fixed) return fixed;

  declare_metrics();
  if (config.metrics.port != 0) {
    http::ServerOptions http;
    http.bind = config.metrics.bind;
    http.port = config.metrics.port;
    auto server = http::Server::start(http, metrics_, [this] { return readiness(); });
    if (!server) return fail(server.error());
    http_ = std::move(*server);
  }
  return {};
}

void ConnectorProgram::declare_metrics() {
  connector_->declare_metrics(metrics_);
  metrics_.add(
      {"ztna_connector_socket_drops_total",
       "UDP datagrams that the kernel dropped because the receive buffer of the Connector's own port was full.",
       Metric::Kind::counter,
       {},
       [this] { return static_cast<double>(udp_.kernel_drops()); }});
  metrics_.add({"ztna_connector_socket_send_drops_total",
                "UDP datagrams that the kernel did not take from the Connector's own port.",
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
  udp_.start(loop_, buffers_, [this](const SocketAddress& from, Bytes row, std::size_t segment, TimePoint now) {
    connector_->receive(from, row, segment, now);
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
  auto tls = load_tls(*next);
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
  if (next->servers != old.servers || next->p2p.port != old.p2p.port || next->metrics != old.metrics ||
      next->verify_peer != old.verify_peer || next->offloads != old.offloads) {
    log::warn("Intermediates, ports, metrics, offloads and --no-verify-peer change at the next restart");
  }
  run_.config = std::move(*next);
  map_port(run_.config.p2p);
  log::info("reloaded certificates and configuration");
  os::notify_ready();
}

}  // namespace ztna::apps
