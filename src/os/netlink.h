// Interfaces, addresses and routes of the current network namespace (rtnetlink through libnl-route-3).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "os/event_loop.h"

namespace ztna::os {

struct Link {
  unsigned index = 0;
  std::string name;
  unsigned mtu = 0;
  bool up = false;       // administratively
  bool running = false;  // and has a carrier, as far as the device can tell
  bool loopback = false;
  std::string
      kind;  // of a virtual device, as `ip -d link` calls it: bridge, veth, tun, wireguard; empty: none, or unknown
};

struct InterfaceAddress {
  unsigned index = 0;
  std::string interface;
  IpAddress address;
  unsigned prefix_length = 0;
  bool tentative = false;  // IPv6 duplicate detection has not ended
  bool deprecated = false;
  bool temporary = false;  // RFC 8981
  /// The block that the address is in, host bits cleared.
  Prefix network() const;
};

struct Route {
  enum class Kind : std::uint8_t {
    device,       // by `interface`
    unreachable,  // answered with ICMP unreachable: holds the services' addresses while the agent is down
    blackhole,    // silence
    other,        // only in lists
  };
  Prefix destination;
  Kind kind = Kind::device;
  unsigned interface = 0;    // index; 0 for unreachable and blackhole
  std::uint32_t metric = 0;  // lower wins; 0 is the kernel's default (IPv6: 1024)
  std::optional<IpAddress> gateway;
  std::optional<IpAddress> source;  // preferred source address
  friend bool operator==(const Route&, const Route&) = default;
};

/// Requests to the kernel, each one synchronous (microseconds). Errors: denied (needs CAP_NET_ADMIN), not_found,
/// conflict (exists), invalid_argument, io; the text names interface, address or route.
class Netlink {
 public:
  static Result<Netlink> open();
  Netlink(Netlink&&) noexcept;
  Netlink& operator=(Netlink&&) noexcept;
  ~Netlink();

  Result<unsigned> link_index(const std::string& name);
  Result<Link> link(const std::string& name);
  Result<std::vector<Link>> links();
  Result<void> set_mtu(unsigned index, unsigned mtu);
  /// Packets that wait for a TUN's reader (or a device) at most: the kernel drops more.
  Result<void> set_queue_length(unsigned index, unsigned packets);
  Result<void> set_up(unsigned index, bool up);

  /// IPv6 without duplicate detection (IFA_F_NODAD): it can be bound at once, but datagrams to it can be lost for a
  /// short moment, until the kernel's work queue has made its local route. An address that is there already is not an
  /// error. The kernel adds the route of a prefix that is shorter than a host's.
  Result<void> add_address(unsigned index, const IpAddress& address, unsigned prefix_length);
  Result<void> remove_address(unsigned index, const IpAddress& address, unsigned prefix_length);
  Result<std::vector<InterfaceAddress>> addresses();

  Result<void> add_route(const Route& route);      // conflict when it exists
  Result<void> replace_route(const Route& route);  // adds, or replaces the one of the same destination and metric
  Result<void> delete_route(const Route& route);   // not_found when there is none
  /// Main table, both families, without multicast and local ones.
  Result<std::vector<Route>> routes();

 private:
  struct Impl;
  explicit Netlink(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Calls back on the loop after addresses, links or routes changed: at most once a round of the loop; debounce further
/// yourself. Also when events were lost (ENOBUFS).
class NetlinkMonitor {
 public:
  struct Change {
    bool links = false;
    bool addresses = false;
    bool routes = false;
  };
  static Result<std::unique_ptr<NetlinkMonitor>> start(EventLoop& loop, std::function<void(Change)> fn);
  ~NetlinkMonitor();

 private:
  struct Impl;
  explicit NetlinkMonitor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ztna::os
