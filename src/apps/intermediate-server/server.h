// The Intermediate as a process: workers, registry, metrics, state on disk, signals.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "apps/common/command_line.h"
#include "apps/intermediate-server/worker_thread.h"
#include "base/metrics.h"
#include "http/server.h"
#include "intermediate/registry.h"
#include "intermediate/route_table.h"
#include "os/signals.h"

namespace ztna::apps {

class Server final : public intermediate::WorkerMail {
 public:
  explicit Server(IntermediateRun run);
  ~Server() override;

  /// Everything that can fail at start, in one: the error is one line for the operator.
  Result<void> open();
  /// Until SIGTERM or SIGINT, and the drain after it.
  void run();

  // intermediate::WorkerMail
  void deliver(intermediate::Delivery delivery) override;
  void kick(intermediate::Kick kick) override;
  void hand_over(std::uint8_t index, const quic::Path& path, Bytes packet) override;

 private:
  static constexpr Duration kDrain = 3s;

  Result<std::shared_ptr<const quic::TlsContext>> load_tls(const config::IntermediateConfig& config) const;
  Result<void> open_sockets();
  /// The port of NAT discovery, or 0 when there is none.
  Result<std::uint16_t> open_probe_sockets();
  void declare_metrics();
  void restore_addresses();
  void save_addresses();
  void on_signal(os::Signal signal);
  void reload();
  void begin_drain();
  void drain_step();
  void stop_all();
  http::Readiness readiness() const;

  IntermediateRun run_;
  std::vector<IpAddress> bind_;       // what it listens at
  os::SystemRandom registry_random_;  // used under the registry's lock only
  intermediate::RouteTable routes_;
  intermediate::SharedCounters counters_;
  std::unique_ptr<intermediate::Registry> registry_;
  std::vector<std::unique_ptr<WorkerThread>> workers_;
  std::unique_ptr<os::Signals> signals_;
  std::unique_ptr<os::Timer> drain_timer_;
  std::unique_ptr<os::Timer> save_timer_;
  std::string saved_addresses_;
  TimePoint started_{};
  TimePoint drain_until_{};
  std::atomic<bool> draining_{false};
  bool closing_ = false;
  Metrics metrics_;
  std::unique_ptr<http::Server> http_;  // reads all of the above: goes first
};

}  // namespace ztna::apps
