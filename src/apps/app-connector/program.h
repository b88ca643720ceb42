// The App Connector as a process: sockets, loop, certificates, metrics, signals around connector::Connector.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "apps/app-connector/backend_sockets.h"
#include "apps/common/command_line.h"
#include "apps/common/host_addresses.h"
#include "apps/common/name_resolver.h"
#include "apps/common/udp_sockets.h"
#include "apps/port_mapping/port_mapper.h"
#include "base/metrics.h"
#include "connector/connector.h"
#include "http/server.h"
#include "os/signals.h"
#include "os/system_random.h"

namespace ztna::apps {

class ConnectorProgram {
 public:
  explicit ConnectorProgram(ConnectorRun run) : run_(std::move(run)) {}

  /// Everything that can fail at start: the error is one line for the operator.
  Result<void> open();
  /// Until SIGTERM or SIGINT, and the drain after it.
  void run();

 private:
  struct Tls {
    std::shared_ptr<const quic::TlsContext> control;
    std::shared_ptr<const quic::TlsContext> tunnel;
    WallTime tunnel_end{};
  };
  Result<Tls> load_tls(const config::ConnectorConfig& config) const;
  void declare_metrics();
  void after_batch();
  void publish_state();
  http::Readiness readiness() const;
  void on_signal(os::Signal signal);
  void reload();
  void map_port(const config::DirectPaths& settings);

  ConnectorRun run_;
  os::EventLoop loop_;
  os::SystemRandom random_;
  os::ReceiveBuffers buffers_;
  UdpSockets udp_;
  std::unique_ptr<NameResolver> resolver_;
  std::unique_ptr<BackendSockets> backends_;
  std::size_t max_sockets_ = 0;
  std::unique_ptr<connector::Connector> connector_;
  std::unique_ptr<os::Timer> timer_;
  std::unique_ptr<os::Signals> signals_;
  std::unique_ptr<PortMapper> mapper_;  // null: switched off
  std::unique_ptr<HostWatch> hosts_;
  os::Batch batch_;
  mutable std::mutex state_mutex_;  // the HTTP thread reads
  connector::Connector::State state_;
  TimePoint state_published_{};
  Metrics metrics_;
  std::unique_ptr<http::Server> http_;  // reads all of the above: goes first
};

}  // namespace ztna::apps
