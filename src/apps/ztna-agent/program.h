// The Agent as a process: TUN, sockets, loop, certificates, metrics, signals and the local socket around agent::Agent.
#pragma once

#include <memory>

#include "agent/agent.h"
#include "apps/common/command_line.h"
#include "apps/common/host_addresses.h"
#include "apps/common/name_resolver.h"
#include "apps/common/udp_sockets.h"
#include "apps/port_mapping/port_mapper.h"
#include "apps/ztna-agent/local_control.h"
#include "apps/ztna-agent/reentry_sockets.h"
#include "apps/ztna-agent/tun_device.h"
#include "base/metrics.h"
#include "http/server.h"
#include "os/netlink.h"
#include "os/signals.h"
#include "os/system_random.h"

namespace ztna::apps {

class AgentProgram {
 public:
  static constexpr Duration kDrain = 3s;

  explicit AgentProgram(AgentRun run);
  ~AgentProgram();

  /// Everything that can fail at start: the error is one line for the operator.
  Result<void> open();
  /// Until SIGTERM, SIGINT, `down` or --auto-stop, and the drain after it. The exit code.
  int run();

 private:
  enum class Phase : std::uint8_t { running, draining, closing };

  Result<agent::AgentTls> load_tls(const config::AgentConfig& config) const;
  Result<void> open_network();
  Result<void> open_agent(agent::AgentTls tls);
  Result<void> open_http();
  void flush();
  void after_batch();
  void on_signal(os::Signal signal);
  void reload();
  void map_port(const config::DirectPaths& settings);
  void drain(std::string_view why);

  AgentRun run_;
  os::EventLoop loop_;
  os::SystemRandom random_;
  os::ReceiveBuffers buffers_;
  UdpSockets udp_;
  std::unique_ptr<os::Netlink> netlink_;
  std::unique_ptr<TunDevice> tun_;
  std::unique_ptr<NameResolver> resolver_;
  std::unique_ptr<agent::Agent> agent_;
  ReentrySockets reentry_;
  LocalControl control_;
  std::unique_ptr<os::Timer> timer_, auto_stop_, drain_timer_;
  std::unique_ptr<os::Signals> signals_;
  std::unique_ptr<PortMapper> mapper_;  // null: switched off
  std::unique_ptr<HostWatch> hosts_;
  os::Batch batch_;
  Phase phase_ = Phase::running;
  bool release_ = false;  // `down`: the services' networks are given back
  bool tun_gone_ = false;
  bool was_connected_ = false;
  Metrics metrics_;
  Counter draining_;
  std::unique_ptr<http::Server> http_;  // reads all of the above: goes first
};

}  // namespace ztna::apps
