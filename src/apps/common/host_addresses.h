// The addresses of this machine at which a peer may find its one UDP socket, and news of them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "os/event_loop.h"
#include "os/netlink.h"
#include "path/candidate.h"

namespace ztna::apps {

/// What may be offered, of what the kernel lists: addresses of interfaces that are up and have a carrier, without
/// loopback, link-local addresses and `own_tun`. path::gather() ranks them and refuses what has no meaning elsewhere.
std::vector<path::HostAddress> usable_addresses(const std::vector<os::Link>& links,
                                                const std::vector<os::InterfaceAddress>& addresses,
                                                const std::vector<os::Route>& routes, std::string_view own_tun);

/// Asks the kernel. Errors: io.
Result<std::vector<path::HostAddress>> read_host_addresses(std::string_view own_tun);

/// Looks at the machine's addresses and routes whenever something about them changes.
class HostWatch {
 public:
  /// Between two looks: a machine that starts containers has many changes that mean nothing here.
  static constexpr Duration kPause = 50ms;

  /// What of it matters to paths: the addresses, and which way others are reached.
  struct Network {
    std::vector<path::HostAddress> hosts;
    std::vector<os::Route> routes;  // without those of our own TUN
    friend bool operator==(const Network& a, const Network& b);
  };
  using OnChange = std::function<void(const std::vector<path::HostAddress>& hosts)>;

  /// Calls `on_change` once from start(), if the addresses can be read, and then after each change that matters.
  HostWatch(os::EventLoop& loop, std::string own_tun, OnChange on_change);
  /// Errors: of os::NetlinkMonitor::start; the addresses were told nevertheless.
  Result<void> start();

 private:
  void changed();
  void look();

  os::EventLoop& loop_;
  std::string own_tun_;
  OnChange on_change_;
  Network network_;
  TimePoint looked_{};
  os::Timer timer_;
  std::unique_ptr<os::NetlinkMonitor> monitor_;
};

}  // namespace ztna::apps
