// The re-entry listeners (agent/tcp_reentry.h) and the sockets that they accept.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "agent/agent.h"
#include "os/event_loop.h"
#include "os/tcp_socket.h"

namespace ztna::apps {

class ReentrySockets {
 public:
  /// A listener on each of the TUN's addresses, any free port, bound to the device. Errors: as os::TcpListener::listen.
  Result<void> open(const agent::Addresses& own, const std::string& device);
  /// Tells the Agent the ports and gives it what is accepted.
  void start(os::EventLoop& loop, agent::Agent& agent);
  void stop() { listeners_.clear(); }

 private:
  struct Listener {
    os::TcpListener socket;
    os::Watch watch;
    std::unique_ptr<os::Timer> pause;  // after a failed accept
  };
  void on_acceptable(Listener& listener);

  os::EventLoop* loop_ = nullptr;
  agent::Agent* agent_ = nullptr;
  std::vector<std::unique_ptr<Listener>> listeners_;
};

}  // namespace ztna::apps
