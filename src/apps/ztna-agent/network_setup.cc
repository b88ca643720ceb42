#include "apps/ztna-agent/network_setup.h"

namespace ztna::apps {
namespace {

/// Beneath every other route of the same network; also marks the routes as ours.
constexpr std::uint32_t kHoldMetric = 4'100'000'000;

/// A thousand small packets in one burst are no reason for loss; the kernel's default for a TUN is 500.
constexpr unsigned kQueueLength = 4096;

os::Route hold_route(const Prefix& network) {
  os::Route route;
  route.destination = network;
  route.kind = os::Route::Kind::unreachable;
  route.metric = kHoldMetric;
  return route;
}

}  // namespace

agent::Addresses addresses_of(const config::AgentConfig& config) {
  agent::Addresses own;
  for (const auto& route : config.routes) {
    (route.base.is_v4() ? own.tun_v4 : own.tun_v6) = config::tun_address(route);
    (route.base.is_v4() ? own.reentry_v4 : own.reentry_v6) = config::reentry_address(route);
  }
  return own;
}

Result<void> check_overlap(os::Netlink& netlink, const config::AgentConfig& config) {
  const auto addresses = netlink.addresses();
  if (!addresses) return fail(addresses.error());
  const auto routes = netlink.routes();
  if (!routes) return fail(routes.error());
  for (const auto& wanted : config.tunnel_routes()) {
    const auto refuse = [&](const std::string& what) {
      return fail(
          Errc::conflict,
          "the services' network {} overlaps {}; choose another with --route (the Intermediate's pool must be the "
          "same), or change the host's network",
          to_string(wanted), what);
    };
    for (const auto& address : *addresses) {
      if (address.interface == config.tun_name || !wanted.overlaps(address.network())) continue;
      return refuse(fmt::format("{} of {}", to_string(address.network()), address.interface));
    }
    for (const auto& route : *routes) {
      // A wider route by a gateway is no harm: ours is the more specific one.
      if (route.kind != os::Route::Kind::device || route.destination.length < wanted.length) continue;
      if (!wanted.overlaps(route.destination)) continue;
      return refuse(fmt::format("the host's route to {}", to_string(route.destination)));
    }
  }
  return {};
}

Result<void> set_up_tun(os::Netlink& netlink, const config::AgentConfig& config) {
  const auto index = netlink.link_index(config.tun_name);
  if (!index) return fail(index.error());
  if (auto ok = netlink.set_mtu(*index, config.mtu); !ok) return ok;
  if (auto ok = netlink.set_queue_length(*index, kQueueLength); !ok) return ok;
  if (auto ok = netlink.set_up(*index, true); !ok) return ok;
  const auto own = addresses_of(config);
  for (const auto& network : config.tunnel_routes()) {
    const auto& tun = own.tun(network.base.family());
    if (!tun) continue;  // a pinned address of a family without a network; the Agent refuses its packets
    if (network.contains(*tun)) {
      auto added = netlink.add_address(*index, *tun, tun->is_v4() ? 32 : 128);
      if (!added && tun->is_v6())
        return fail("IPv6 on the TUN device (`--route` with an IPv4 network alone does without)", added.error());
      if (!added) return added;
    }
    os::Route route;
    route.destination = network;
    route.interface = *index;
    route.source = *tun;
    if (auto ok = netlink.replace_route(route); !ok) return ok;
  }
  return {};
}

Result<void> hold_routes(os::Netlink& netlink, const config::AgentConfig& config) {
  for (const auto& network : config.tunnel_routes()) {
    if (auto ok = netlink.replace_route(hold_route(network)); !ok) return ok;
  }
  return {};
}

Result<std::size_t> release_routes(os::Netlink& netlink) {
  const auto routes = netlink.routes();
  if (!routes) return fail(routes.error());
  std::size_t released = 0;
  for (const auto& route : *routes) {
    if (route.kind != os::Route::Kind::unreachable || route.metric != kHoldMetric) continue;
    const auto gone = netlink.delete_route(route);
    if (!gone && gone.error().code != Errc::not_found) return fail(gone.error());
    ++released;
  }
  return released;
}

}  // namespace ztna::apps
