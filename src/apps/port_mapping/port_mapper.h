// Keeps a UDP port of the router mapped to ours, on a thread of its own: by NAT-PMP, else by UPnP; renews it at half of
// its lifetime, and gives it back at the end.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "os/event_loop.h"

namespace ztna::apps {

struct PortMapperOptions {
  std::uint16_t port = 0;  // of our IPv4 socket
  std::string description = "ztna";
  std::chrono::seconds lifetime{3600};
};

class PortMapper {
 public:
  /// A router that said no is asked again after this, then twice it, and so on.
  static constexpr std::chrono::seconds kFirstPause{60};
  static constexpr std::chrono::seconds kLongestPause{1800};
  /// How long the end of the program waits for the mapping to be given back.
  static constexpr std::chrono::milliseconds kGoodbye{2500};

  /// Begins at once. Calls `on_change` on the loop's thread with the addresses that are mapped: one, or none.
  PortMapper(os::EventLoop& loop, PortMapperOptions options, std::function<void(std::vector<SocketAddress>)> on_change);
  /// `on_change` is not called any more. May wait for kGoodbye.
  ~PortMapper();
  PortMapper(const PortMapper&) = delete;
  PortMapper& operator=(const PortMapper&) = delete;

  /// Perhaps there is another router now.
  void network_changed();

 private:
  struct State;
  static void run(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;  // the thread has its share: a call that hangs may outlive us
};

}  // namespace ztna::apps
