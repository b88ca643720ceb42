#include "apps/intermediate-server/server.h"

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "apps/common/metrics_server.h"
#include "apps/common/own_identity.h"
#include "apps/common/secret_file.h"
#include "base/log.h"
#include "base/workers.h"
#include "os/clock.h"
#include "os/notify.h"
#include "os/steering.h"

namespace ztna::apps {
namespace {

/// Agents that use all of `routes_per_client` at one Connector.
constexpr std::size_t kAgentsPerConnector = 16;

tl::unexpected<Error> not_bound(const Error& error) {
  std::string_view remedy = "choose another with --port, or stop what uses it";
  if (error.code == Errc::denied) remedy = "ports below 1024 need CAP_NET_BIND_SERVICE";
  if (error.code == Errc::invalid_argument) remedy = "name addresses of this host with --bind";
  return fail(error.code, "{}; {}", error.text, remedy);
}

}  // namespace

Server::Server(IntermediateRun run) : run_(std::move(run)) {}

Server::~Server() {
  http_.reset();
  for (auto& worker : workers_) worker->join();
}

Result<std::shared_ptr<const quic::TlsContext>> Server::load_tls(const config::IntermediateConfig& config) const {
  const auto own = load_own_identity(config.identity, identity::Role::intermediate, identity::Purpose::server);
  if (!own) return fail(own.error());
  return make_tls_context(*own, quic::Side::server,
                          {.alpn = "ztna-v1",
                           .verify_peer = config.verify_peer,
                           .require_peer_certificate = config.require_client_cert,
                           .session_tickets = true},
                          config.keylog_file);
}

Result<void> Server::open() {
  started_ = os::now();
  const auto& config = run_.config;
  auto tls = load_tls(config);
  if (!tls) return fail(tls.error());

  std::vector<intermediate::Pool> pools;
  for (const auto& prefix : config.pools) {
    pools.push_back({prefix, {config::tun_address(prefix), config::reentry_address(prefix)}});
  }
  intermediate::RegistryLimits limits;
  limits.registrations_per_client = config.limits.registrations_per_client;
  limits.routes_per_agent = std::min<std::size_t>(config.limits.routes_per_client, limits.routes_per_agent);
  limits.routes_per_connector = std::size_t{config.limits.routes_per_client} * kAgentsPerConnector;
  registry_ = std::make_unique<intermediate::Registry>(limits, std::move(pools), routes_, registry_random_);
  restore_addresses();
  if (auto bound = open_sockets(); !bound) return bound;
  const auto probe_port = open_probe_sockets();
  if (!probe_port) return fail(probe_port.error());
  intermediate::OwnAddresses own{config.external_ips, config.port, *probe_port};
  for (const auto& ip : bind_) {
    if (!ip.is_unspecified()) own.ips.push_back(ip);
  }
  registry_->set_own_addresses(std::move(own));

  os::SystemRandom random;
  intermediate::WorkerOptions options;
  options.workers = static_cast<std::uint8_t>(workers_.size());
  options.port = config.port;
  options.probe_port = *probe_port;
  options.retry = !config.disable_retry;
  options.max_connections = config.limits.connections;
  options.handshakes_per_source = config.limits.handshakes_per_source;
  options.relay_bytes_per_second_per_route = config.limits.relay_bytes_per_second_per_route;
  options.reset_secret = persistent_secret(config.state_dir, "reset.key", random);
  options.token_secret = persistent_secret(config.state_dir, "token.key", random);
  options.software = "ztna/" ZTNA_VERSION;
  options.instance = wire::InstanceId{random.array<8>()};
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    options.index = static_cast<std::uint8_t>(i);
    workers_[i]->create_worker(options, *registry_, routes_, counters_, *this, *tls);
  }
  declare_metrics();
  auto server = serve_metrics(config.metrics, metrics_, [this] { return readiness(); });
  if (!server) return fail(server.error());
  http_ = std::move(*server);
  return {};
}

Result<void> Server::open_sockets() {
  const auto& config = run_.config;
  bind_ = config.bind_addrs;
  if (bind_ == config::IntermediateConfig{}.bind_addrs && !os::has_family(Family::v6)) {  // nobody asked for IPv6
    std::erase_if(bind_, [](const IpAddress& ip) { return !ip.is_v4(); });
    log::info("no IPv6 on this host");
  }
  WorkerSockets sockets;
  for (const auto& ip : bind_) sockets.bind.push_back({ip, config.port});
  sockets.buffer_bytes = config.socket_buffer_bytes;
  sockets.offload = {config.offloads.gso, config.offloads.gro, config.offloads.tso, config.offloads.uso};
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  if (config.workers > kMaxWorkers) {
    return fail(Errc::invalid_argument, "workers = {}: needs a whole number from 0 to {}", config.workers, kMaxWorkers);
  }
  const unsigned count = config.workers == 0 ? std::min(cores, kMaxWorkers) : config.workers;
  if (count > 1) {
    // With SO_REUSEPORT a second Intermediate would silently share the port: find that out first.
    WorkerThread probe;
    if (auto free = probe.open(sockets, false); !free) return not_bound(free.error());
  }
  for (unsigned i = 0; i < count; ++i) {
    auto worker = std::make_unique<WorkerThread>();
    if (auto bound = worker->open(sockets, count > 1); !bound) return not_bound(bound.error());
    workers_.push_back(std::move(worker));
  }
  for (std::size_t s = 0; count > 1 && s < sockets.bind.size(); ++s) {
    if (auto steered = os::attach_worker_steering(workers_.front()->fd(s), count); !steered) return steered;
  }
  return {};
}

Result<std::uint16_t> Server::open_probe_sockets() {
  const auto& config = run_.config;
  const auto port = config.probe_port.value_or(config::default_probe_port(config.port));
  if (port == 0) return std::uint16_t{0};
  std::vector<SocketAddress> bind;
  for (const auto& ip : bind_) bind.push_back({ip, port});
  const bool several = workers_.size() > 1;
  const auto open = [&]() -> Result<void> {
    if (several) {
      WorkerThread alone;  // as in open_sockets
      if (auto free = alone.open_probe(bind, false); !free) return free;
    }
    for (auto& worker : workers_) {
      if (auto bound = worker->open_probe(bind, several); !bound) return bound;
    }
    for (std::size_t s = 0; several && s < bind.size(); ++s) {
      // By the same octet at both ports: each kind of probe has one worker, and one set of limits.
      if (auto steered =
              os::attach_worker_steering(workers_.front()->fd(bind.size() + s), static_cast<unsigned>(workers_.size()));
          !steered) {
        return steered;
      }
    }
    return {};
  };
  const auto opened = open();
  if (opened) return port;
  for (auto& worker : workers_) worker->close_probe();
  if (config.probe_port) {
    return fail(opened.error().code, "{}; choose another with --probe-port, or 0 for none", opened.error().text);
  }
  // Nobody asked for this port: what needs it is missed by diagnostics and port prediction only.
  log::warn("no second port for NAT discovery; choose one with --probe-port, or 0 for none",
            {{"why", opened.error().text}});
  return std::uint16_t{0};
}

void Server::run() {
  auto& main_loop = workers_.front()->loop();
  signals_ = std::make_unique<os::Signals>(main_loop, [this](os::Signal signal) { on_signal(signal); });
  drain_timer_ = std::make_unique<os::Timer>(main_loop, [this] { drain_step(); });
  save_timer_ = std::make_unique<os::Timer>(main_loop, [this] { save_addresses(); });
  save_timer_->set(os::now() + 1s);
  for (std::size_t i = 1; i < workers_.size(); ++i) workers_[i]->start();
  for (const auto& ip : bind_) {
    log::info("listening", {{"address", to_string(SocketAddress{ip, workers_.front()->local().port})},
                            {"workers", workers_.size()}});
  }
  if (const auto port = registry_->own_addresses().probe_port; port != 0) {
    log::info("answering probes for NAT discovery", {{"port", port}});
  }
  os::notify_ready();
  workers_.front()->run();
  for (auto& worker : workers_) worker->join();
  save_addresses();
  log::info("stopped");
}

void Server::on_signal(os::Signal signal) {
  if (signal == os::Signal::hang_up) {
    reload();
  } else if (!draining_) {
    begin_drain();
  } else {
    stop_all();  // asked twice
  }
}

void Server::reload() {
  os::notify_reloading();
  auto next = run_.reload();
  if (!next) {
    for (const auto& problem : next.error())
      log::error("reload refused, the old configuration stays", {{"why", problem}});
  } else if (auto tls = load_tls(*next); !tls) {
    log::error("reload refused, the old certificates stay", {{"why", tls.error().text}});
  } else {
    log::configure(next->log.level, next->log.format);
    for (auto& worker : workers_) {
      worker->loop().post([w = worker.get(), context = *tls] { w->worker().set_tls(context); });
    }
    const auto& old = run_.config;
    auto rest = *next;  // without what has been taken up
    rest.take_reloadable(old);
    rest.verify_peer = old.verify_peer;
    rest.require_client_cert = old.require_client_cert;
    if (rest != old) log::warn("all but certificates and log settings changes at the next restart");
    log::info("reloaded certificates and configuration");
  }
  os::notify_ready();
}

void Server::begin_drain() {
  log::info("draining", {{"seconds", 3}});
  os::notify_stopping();
  draining_ = true;
  drain_until_ = os::now() + kDrain;
  for (auto& worker : workers_) worker->loop().post([w = worker.get()] { w->worker().drain(); });
  {
    const std::lock_guard order{registry_->delivery_order()};
    auto actions = registry_->drain(kDrain);
    for (auto& delivery : actions.deliveries) deliver(std::move(delivery));
  }
  drain_step();
}

void Server::drain_step() {
  const auto now = os::now();
  std::size_t connections = 0;
  for (const auto& worker : workers_) connections += worker->connections();
  if (closing_ || connections == 0) {
    stop_all();
  } else if (now < drain_until_) {
    drain_timer_->set(std::min(drain_until_, now + 50ms));
  } else {
    closing_ = true;
    for (auto& worker : workers_) {
      worker->loop().post([w = worker.get()] { w->worker().close_all("the Intermediate is shutting down"); });
    }
    drain_timer_->set(now + 100ms);  // time for the closes to leave
  }
}

void Server::stop_all() {
  for (auto& worker : workers_) worker->loop().stop();
}

void Server::deliver(intermediate::Delivery delivery) {
  auto* worker = workers_[delivery.to.worker % workers_.size()].get();
  worker->loop().post([worker, d = std::move(delivery)] { worker->worker().deliver(d); });
}

void Server::kick(intermediate::Kick kick) {
  auto* worker = workers_[kick.session.worker % workers_.size()].get();
  worker->loop().post([worker, k = std::move(kick)] { worker->worker().kick(k); });
}

void Server::hand_over(std::uint8_t index, const quic::Path& path, Bytes packet) {
  auto* worker = workers_[index % workers_.size()].get();
  worker->loop().post([worker, path, copy = ByteVector{packet.begin(), packet.end()}] {
    worker->worker().receive_quic(path, copy, os::now());
  });
}

}  // namespace ztna::apps
