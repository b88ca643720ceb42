#include "apps/common/host_addresses.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/log.h"
#include "os/clock.h"

namespace ztna::apps {
namespace {

bool is_default(const os::Route& route) {
  return route.destination.length == 0 && route.kind == os::Route::Kind::device;
}

auto key_of(const path::HostAddress& host) {
  return std::tie(host.address, host.prefix_length, host.interface_index, host.default_route, host.temporary,
                  host.deprecated, host.tentative);
}

struct Snapshot {
  std::vector<os::Link> links;
  std::vector<os::InterfaceAddress> addresses;
  std::vector<os::Route> routes;
};

Result<Snapshot> read_all() {
  auto netlink = os::Netlink::open();
  if (!netlink) return fail(netlink.error());
  auto links = netlink->links();
  if (!links) return fail(links.error());
  auto addresses = netlink->addresses();
  if (!addresses) return fail(addresses.error());
  auto routes = netlink->routes();
  if (!routes) return fail(routes.error());
  return Snapshot{std::move(*links), std::move(*addresses), std::move(*routes)};
}

}  // namespace

std::vector<path::HostAddress> usable_addresses(const std::vector<os::Link>& links,
                                                const std::vector<os::InterfaceAddress>& addresses,
                                                const std::vector<os::Route>& routes, std::string_view own_tun) {
  std::vector<path::HostAddress> out;
  for (const auto& a : addresses) {
    const auto link = std::ranges::find(links, a.index, &os::Link::index);
    if (link == links.end() || !link->up || !link->running || link->loopback || link->name == own_tun) continue;
    if (a.address.is_link_local() || a.address.is_loopback()) continue;
    path::HostAddress host;
    host.address = a.address;
    host.prefix_length = a.prefix_length;
    host.interface = link->name;
    host.interface_index = a.index;
    host.default_route = std::ranges::any_of(routes, [&](const os::Route& route) {
      return is_default(route) && route.interface == a.index && route.destination.base.family() == a.address.family();
    });
    host.bridge = link->kind == "bridge" && !host.default_route;
    host.temporary = a.temporary;
    host.deprecated = a.deprecated;
    host.tentative = a.tentative;
    out.push_back(std::move(host));
  }
  return out;
}

Result<std::vector<path::HostAddress>> read_host_addresses(std::string_view own_tun) {
  const auto all = read_all();
  if (!all) return fail(all.error());
  return usable_addresses(all->links, all->addresses, all->routes, own_tun);
}

bool operator==(const HostWatch::Network& a, const HostWatch::Network& b) {
  return a.routes == b.routes &&
         std::ranges::equal(a.hosts, b.hosts, [](const auto& x, const auto& y) { return key_of(x) == key_of(y); });
}

HostWatch::HostWatch(os::EventLoop& loop, std::string own_tun, OnChange on_change)
    : loop_(loop), own_tun_(std::move(own_tun)), on_change_(std::move(on_change)), timer_(loop, [this] { look(); }) {}

Result<void> HostWatch::start() {
  auto monitor = os::NetlinkMonitor::start(loop_, [this](os::NetlinkMonitor::Change) { changed(); });
  look();  // after the monitor: what changes in between is not missed
  if (!monitor) return fail(monitor.error());
  monitor_ = std::move(*monitor);
  return {};
}

/// At once, but not too often: an interface that comes up does so in several steps.
void HostWatch::changed() {
  if (timer_.deadline() != kNever) return;
  const auto next = looked_ + kPause;
  if (os::now() >= next) {
    look();
  } else {
    timer_.set(next);
  }
}

void HostWatch::look() {
  looked_ = os::now();
  auto all = read_all();
  if (!all) {
    log::warn("cannot read the addresses of this machine", {{"why", all.error().text}});
    return;
  }
  Network next{usable_addresses(all->links, all->addresses, all->routes, own_tun_), {}};
  const auto tun = std::ranges::find(all->links, own_tun_, &os::Link::name);
  std::erase_if(all->routes, [&](const os::Route& route) {
    return route.kind != os::Route::Kind::device || (tun != all->links.end() && route.interface == tun->index);
  });
  next.routes = std::move(all->routes);
  // The kernel lists them in no order to rely on.
  std::ranges::sort(next.hosts, [](const auto& x, const auto& y) { return key_of(x) < key_of(y); });
  std::ranges::sort(next.routes, [](const os::Route& x, const os::Route& y) {
    return std::tie(x.destination, x.interface, x.metric, x.gateway) <
           std::tie(y.destination, y.interface, y.metric, y.gateway);
  });
  if (next == network_) return;
  network_ = std::move(next);
  on_change_(network_.hosts);
}

}  // namespace ztna::apps
