#include "os/netlink.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/route.h>
#include <netlink/socket.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "os/netlink_handle.h"

namespace ztna::os {
namespace {

Errc errc_of_netlink(int error) {
  switch (error < 0 ? -error : error) {
    case NLE_EXIST: return Errc::conflict;
    case NLE_PERM:
    case NLE_NOACCESS: return Errc::denied;
    case NLE_OBJ_NOTFOUND:
    case NLE_NODEV:
    case NLE_NOADDR: return Errc::not_found;
    case NLE_INVAL:
    case NLE_RANGE:
    case NLE_AF_NOSUPPORT: return Errc::invalid_argument;
    case NLE_NOMEM: return Errc::exhausted;
    default: return Errc::io;
  }
}

template <typename... Args>
tl::unexpected<Error> fail_netlink(int error, fmt::format_string<Args...> object, Args&&... args) {
  const Errc code = errc_of_netlink(error);
  std::string text = nl_geterror(error);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return fail(code, "{}: {}{}", fmt::format(object, std::forward<Args>(args)...), text,
              code == Errc::denied ? " (needs CAP_NET_ADMIN)" : "");
}

int family_of(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }

NlAddr make_address(const IpAddress& address, unsigned length) {
  const Bytes octets = address.octets();
  NlAddr out{nl_addr_build(family_of(address), octets.data(), octets.size())};
  if (out) nl_addr_set_prefixlen(out.get(), static_cast<int>(length));
  return out;
}

std::optional<IpAddress> to_ip(const nl_addr* address) {
  if (address == nullptr) return std::nullopt;
  const auto* octets = static_cast<const std::uint8_t*>(nl_addr_get_binary_addr(address));
  const unsigned size = nl_addr_get_len(address);
  const int family = nl_addr_get_family(address);
  // A default route has an address without octets.
  std::array<std::uint8_t, 16> padded{};
  std::copy_n(octets, std::min<std::size_t>(size, padded.size()), padded.begin());
  if (family == AF_INET) return IpAddress::v4(std::span<const std::uint8_t, 4>{padded.data(), 4});
  if (family == AF_INET6) return IpAddress::v6(padded);
  return std::nullopt;
}

Link to_link(rtnl_link* link) {
  Link out;
  out.index = static_cast<unsigned>(rtnl_link_get_ifindex(link));
  const char* name = rtnl_link_get_name(link);
  out.name = name != nullptr ? name : "";
  out.mtu = rtnl_link_get_mtu(link);
  out.up = (rtnl_link_get_flags(link) & IFF_UP) != 0;
  out.running = (rtnl_link_get_flags(link) & IFF_RUNNING) != 0;
  out.loopback = (rtnl_link_get_flags(link) & IFF_LOOPBACK) != 0;
  const char* kind = rtnl_link_get_type(link);
  out.kind = kind != nullptr ? kind : "";
  return out;
}

template <typename Object, typename Fn>
void for_each_object(nl_cache* cache, Fn&& fn) {
  for (nl_object* o = nl_cache_get_first(cache); o != nullptr; o = nl_cache_get_next(o))
    fn(reinterpret_cast<Object*>(o));
}

std::string describe(const Route& route) {
  return fmt::format("route {}{}", to_string(route.destination),
                     route.kind == Route::Kind::device ? fmt::format(" by interface {}", route.interface) : "");
}

NlRoute make_route(const Route& route) {
  NlRoute out{rtnl_route_alloc()};
  const NlAddr destination = make_address(route.destination.base, route.destination.length);
  if (!out || !destination) return nullptr;
  rtnl_route_set_family(out.get(), static_cast<std::uint8_t>(family_of(route.destination.base)));
  rtnl_route_set_dst(out.get(), destination.get());
  rtnl_route_set_table(out.get(), RT_TABLE_MAIN);
  rtnl_route_set_protocol(out.get(), RTPROT_STATIC);
  if (route.metric != 0) rtnl_route_set_priority(out.get(), route.metric);
  if (route.source) {
    const NlAddr source = make_address(*route.source, route.source->is_v4() ? 32 : 128);
    rtnl_route_set_pref_src(out.get(), source.get());
  }
  switch (route.kind) {
    case Route::Kind::unreachable: rtnl_route_set_type(out.get(), RTN_UNREACHABLE); break;
    case Route::Kind::blackhole: rtnl_route_set_type(out.get(), RTN_BLACKHOLE); break;
    case Route::Kind::device:
    case Route::Kind::other: {
      rtnl_route_set_type(out.get(), RTN_UNICAST);
      rtnl_nexthop* hop = rtnl_route_nh_alloc();
      if (hop == nullptr) return nullptr;
      rtnl_route_nh_set_ifindex(hop, static_cast<int>(route.interface));
      if (route.gateway) {
        const NlAddr gateway = make_address(*route.gateway, route.gateway->is_v4() ? 32 : 128);
        rtnl_route_nh_set_gateway(hop, gateway.get());
      }
      rtnl_route_add_nexthop(out.get(), hop);
      break;
    }
  }
  return out;
}

std::optional<Route> to_route(rtnl_route* route) {
  if (rtnl_route_get_table(route) != RT_TABLE_MAIN) return std::nullopt;
  const auto destination = to_ip(rtnl_route_get_dst(route));
  if (!destination) return std::nullopt;
  Route out;
  out.destination = {*destination, nl_addr_get_prefixlen(rtnl_route_get_dst(route))};
  out.metric = rtnl_route_get_priority(route);
  out.source = to_ip(rtnl_route_get_pref_src(route));
  switch (rtnl_route_get_type(route)) {
    case RTN_UNICAST: out.kind = Route::Kind::device; break;
    case RTN_UNREACHABLE: out.kind = Route::Kind::unreachable; break;
    case RTN_BLACKHOLE: out.kind = Route::Kind::blackhole; break;
    case RTN_LOCAL:
    case RTN_BROADCAST:
    case RTN_MULTICAST:
    case RTN_ANYCAST: return std::nullopt;
    default: out.kind = Route::Kind::other; break;
  }
  if (out.kind == Route::Kind::device && rtnl_route_get_nnexthops(route) > 0) {
    rtnl_nexthop* hop = rtnl_route_nexthop_n(route, 0);
    out.interface = static_cast<unsigned>(rtnl_route_nh_get_ifindex(hop));
    out.gateway = to_ip(rtnl_route_nh_get_gateway(hop));
  }
  return out;
}

}  // namespace

struct Netlink::Impl {
  NlSocket socket;

  Result<void> change_link(unsigned index, rtnl_link* change, const std::string& what) {
    rtnl_link_set_ifindex(change, static_cast<int>(index));
    NlLink original{rtnl_link_alloc()};
    rtnl_link_set_ifindex(original.get(), static_cast<int>(index));
    const int error = rtnl_link_change(socket.get(), original.get(), change, 0);
    if (error < 0) return fail_netlink(error, "interface {}: {}", index, what);
    return {};
  }

  Result<std::string> name_of(unsigned index) {
    std::array<char, IF_NAMESIZE> name{};
    if (if_indextoname(index, name.data()) == nullptr)
      return fail(Errc::not_found, "interface {}: no such device", index);
    return std::string{name.data()};
  }
};

Netlink::Netlink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Netlink::Netlink(Netlink&&) noexcept = default;
Netlink& Netlink::operator=(Netlink&&) noexcept = default;
Netlink::~Netlink() = default;

Result<Netlink> Netlink::open() {
  auto impl = std::make_unique<Impl>();
  impl->socket.reset(nl_socket_alloc());
  if (!impl->socket) return fail(Errc::exhausted, "netlink: out of memory");
  const int error = nl_connect(impl->socket.get(), NETLINK_ROUTE);
  if (error < 0) return fail_netlink(error, "netlink");
  return Netlink{std::move(impl)};
}

Result<Link> Netlink::link(const std::string& name) {
  rtnl_link* raw = nullptr;
  const int error = rtnl_link_get_kernel(impl_->socket.get(), 0, name.c_str(), &raw);
  const NlLink link{raw};
  if (error < 0) return fail_netlink(error, "interface {}", name);
  return to_link(link.get());
}

Result<unsigned> Netlink::link_index(const std::string& name) {
  return link(name).map([](const Link& l) { return l.index; });
}

Result<std::vector<Link>> Netlink::links() {
  nl_cache* raw = nullptr;
  const int error = rtnl_link_alloc_cache(impl_->socket.get(), AF_UNSPEC, &raw);
  const NlCache cache{raw};
  if (error < 0) return fail_netlink(error, "list of interfaces");
  std::vector<Link> list;
  for_each_object<rtnl_link>(cache.get(), [&](rtnl_link* l) { list.push_back(to_link(l)); });
  return list;
}

Result<void> Netlink::set_mtu(unsigned index, unsigned mtu) {
  const NlLink change{rtnl_link_alloc()};
  rtnl_link_set_mtu(change.get(), mtu);
  return impl_->change_link(index, change.get(), fmt::format("mtu {}", mtu));
}

Result<void> Netlink::set_queue_length(unsigned index, unsigned packets) {
  const NlLink change{rtnl_link_alloc()};
  rtnl_link_set_txqlen(change.get(), packets);
  return impl_->change_link(index, change.get(), fmt::format("queue of {} packets", packets));
}

Result<void> Netlink::set_up(unsigned index, bool up) {
  const NlLink change{rtnl_link_alloc()};
  if (up) {
    rtnl_link_set_flags(change.get(), IFF_UP);
  } else {
    rtnl_link_unset_flags(change.get(), IFF_UP);
  }
  return impl_->change_link(index, change.get(), up ? "up" : "down");
}

Result<void> Netlink::add_address(unsigned index, const IpAddress& address, unsigned prefix_length) {
  const NlAddress change{rtnl_addr_alloc()};
  rtnl_addr_set_ifindex(change.get(), static_cast<int>(index));
  rtnl_addr_set_local(change.get(), make_address(address, prefix_length).get());
  rtnl_addr_set_prefixlen(change.get(), static_cast<int>(prefix_length));
  if (address.is_v6()) {
    const bool is_host = prefix_length == 128;  // else a route to ourselves would stand in the main table
    rtnl_addr_set_flags(change.get(), IFA_F_NODAD | (is_host ? IFA_F_NOPREFIXROUTE : 0U));
  }
  const int error = rtnl_addr_add(impl_->socket.get(), change.get(), 0);
  if (error < 0 && error != -NLE_EXIST) {
    return fail_netlink(error, "address {}/{} on interface {}", to_string(address), prefix_length, index);
  }
  return {};
}

Result<void> Netlink::remove_address(unsigned index, const IpAddress& address, unsigned prefix_length) {
  const NlAddress change{rtnl_addr_alloc()};
  rtnl_addr_set_ifindex(change.get(), static_cast<int>(index));
  rtnl_addr_set_local(change.get(), make_address(address, prefix_length).get());
  rtnl_addr_set_prefixlen(change.get(), static_cast<int>(prefix_length));
  const int error = rtnl_addr_delete(impl_->socket.get(), change.get(), 0);
  if (error < 0) return fail_netlink(error, "address {}/{} on interface {}", to_string(address), prefix_length, index);
  return {};
}

Result<std::vector<InterfaceAddress>> Netlink::addresses() {
  nl_cache* raw = nullptr;
  const int error = rtnl_addr_alloc_cache(impl_->socket.get(), &raw);
  const NlCache cache{raw};
  if (error < 0) return fail_netlink(error, "list of addresses");
  std::vector<InterfaceAddress> list;
  for_each_object<rtnl_addr>(cache.get(), [&](rtnl_addr* a) {
    const auto local = to_ip(rtnl_addr_get_local(a));
    if (!local) return;
    InterfaceAddress out;
    out.index = static_cast<unsigned>(rtnl_addr_get_ifindex(a));
    out.interface = impl_->name_of(out.index).value_or("");
    out.address = *local;
    out.prefix_length = static_cast<unsigned>(rtnl_addr_get_prefixlen(a));
    const unsigned flags = rtnl_addr_get_flags(a);
    out.tentative = (flags & IFA_F_TENTATIVE) != 0;
    out.deprecated = (flags & IFA_F_DEPRECATED) != 0;
    out.temporary = local->is_v6() && (flags & IFA_F_TEMPORARY) != 0;
    list.push_back(std::move(out));
  });
  return list;
}

Prefix InterfaceAddress::network() const {
  const Bytes octets = address.octets();
  std::array<std::uint8_t, 16> masked{};
  for (std::size_t i = 0; i < octets.size(); ++i) {
    const std::size_t bits = prefix_length > i * 8 ? std::min<std::size_t>(prefix_length - i * 8, 8) : 0;
    masked[i] = static_cast<std::uint8_t>(octets[i] & (0xFF00U >> bits));
  }
  if (address.is_v6()) return {IpAddress::v6(masked), prefix_length};
  return {IpAddress::v4(std::span<const std::uint8_t, 4>{masked.data(), 4}), prefix_length};
}

Result<void> Netlink::add_route(const Route& route) {
  const NlRoute change = make_route(route);
  const int error = rtnl_route_add(impl_->socket.get(), change.get(), NLM_F_EXCL);
  if (error < 0) return fail_netlink(error, "{}", describe(route));
  return {};
}

Result<void> Netlink::replace_route(const Route& route) {
  const NlRoute change = make_route(route);
  const int error = rtnl_route_add(impl_->socket.get(), change.get(), NLM_F_REPLACE);
  if (error < 0) return fail_netlink(error, "{}", describe(route));
  return {};
}

Result<void> Netlink::delete_route(const Route& route) {
  const NlRoute change = make_route(route);
  const int error = rtnl_route_delete(impl_->socket.get(), change.get(), 0);
  if (error < 0) return fail_netlink(error, "{}", describe(route));
  return {};
}

Result<std::vector<Route>> Netlink::routes() {
  nl_cache* raw = nullptr;
  const int error = rtnl_route_alloc_cache(impl_->socket.get(), AF_UNSPEC, 0, &raw);
  const NlCache cache{raw};
  if (error < 0) return fail_netlink(error, "list of routes");
  std::vector<Route> list;
  for_each_object<rtnl_route>(cache.get(), [&](rtnl_route* r) {
    if (auto route = to_route(r)) list.push_back(std::move(*route));
  });
  return list;
}

}  // namespace ztna::os
