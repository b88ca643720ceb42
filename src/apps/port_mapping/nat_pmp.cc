#include <natpmp.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <span>

#include "apps/port_mapping/mapping.h"
#include "apps/port_mapping/protocols.h"
#include "os/clock.h"
#include "os/netlink.h"

namespace ztna::apps {
namespace {

/// RFC 6886 3.1 waits a minute and more; a router that has not answered by then is none.
constexpr Duration kPatience = 2s;

/// By netlink: the library's own way reads /proc/net/route, which a service in a sandbox does not see.
std::optional<in_addr_t> default_gateway() {
  auto netlink = os::Netlink::open();
  if (!netlink) return std::nullopt;
  const auto routes = netlink->routes();
  if (!routes) return std::nullopt;
  const os::Route* best = nullptr;
  for (const auto& route : *routes) {
    const bool usable = route.kind == os::Route::Kind::device && route.destination.length == 0 && route.gateway &&
                        route.gateway->is_v4();
    if (usable && (best == nullptr || route.metric < best->metric)) best = &route;
  }
  if (best == nullptr) return std::nullopt;
  in_addr_t address = 0;
  std::memcpy(&address, best->gateway->octets().data(), sizeof address);
  return address;
}

class Request {
 public:
  Request() {
    const auto gateway = default_gateway();
    if (gateway) status_ = initnatpmp(&nat_, 1, *gateway);
  }
  ~Request() {
    if (status_ == 0) closenatpmp(&nat_);
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  natpmp_t* get() { return &nat_; }
  bool opened() const { return status_ == 0; }

  /// Waits for the answer to what was sent last.
  Result<natpmpresp_t> answer() {
    const auto until = os::now() + kPatience;
    for (;;) {
      timeval wait{};
      if (getnatpmprequesttimeout(&nat_, &wait) < 0) return fail(Errc::io, "NAT-PMP: no request is pending");
      const auto left = until - os::now();
      if (left <= Duration{}) return fail(Errc::timed_out, "NAT-PMP: the gateway does not answer");
      const auto next = std::chrono::seconds{wait.tv_sec} + std::chrono::microseconds{wait.tv_usec};
      const auto pause = std::clamp<Duration>(next, Duration{}, left);
      pollfd ready{nat_.s, POLLIN, 0};
      (void)poll(&ready, 1, static_cast<int>(std::chrono::ceil<Millis>(pause).count()));
      natpmpresp_t response{};
      const int result = readnatpmpresponseorretry(&nat_, &response);
      if (result == 0) return response;
      if (result == NATPMP_TRYAGAIN || result == NATPMP_ERR_WRONGPACKETSOURCE) continue;
      const auto code = result == NATPMP_ERR_NOTAUTHORIZED ? Errc::refused : Errc::unreachable;
      return fail(code, "NAT-PMP: the gateway says no ({})", result);
    }
  }

 private:
  natpmp_t nat_{};
  int status_ = -1;
};

IpAddress to_ip(const in_addr& address) {
  const auto octets = std::bit_cast<std::array<std::uint8_t, 4>>(address.s_addr);
  return IpAddress::v4(std::span<const std::uint8_t, 4>{octets});
}

}  // namespace

Result<PortMapping> map_by_nat_pmp(std::uint16_t port, std::uint16_t wanted, std::chrono::seconds lifetime) {
  Request request;
  if (!request.opened()) return fail(Errc::unreachable, "NAT-PMP: no default gateway");
  if (sendpublicaddressrequest(request.get()) < 0) return fail(Errc::unreachable, "NAT-PMP: cannot send");
  const auto address = request.answer();
  if (!address) return fail(address.error());
  if (address->type != NATPMP_RESPTYPE_PUBLICADDRESS) return fail(Errc::refused, "NAT-PMP: not the answer asked for");
  if (sendnewportmappingrequest(request.get(), NATPMP_PROTOCOL_UDP, port, wanted,
                                static_cast<std::uint32_t>(lifetime.count())) < 0) {
    return fail(Errc::unreachable, "NAT-PMP: cannot send");
  }
  const auto mapped = request.answer();
  if (!mapped) return fail(mapped.error());
  const auto& got = mapped->pnu.newportmapping;
  if (mapped->type != NATPMP_RESPTYPE_UDPPORTMAPPING || got.mappedpublicport == 0 || got.privateport != port) {
    return fail(Errc::refused, "NAT-PMP: not the answer asked for");
  }
  PortMapping out;
  out.how = PortMapping::How::nat_pmp;
  out.external = {to_ip(address->pnu.publicaddress.addr), got.mappedpublicport};
  out.lifetime = std::chrono::seconds{got.lifetime};
  if (out.external.ip.is_unspecified()) return fail(Errc::unreachable, "NAT-PMP: the router has no address itself");
  return out;
}

void unmap_by_nat_pmp(std::uint16_t port) {
  Request request;
  if (!request.opened()) return;
  if (sendnewportmappingrequest(request.get(), NATPMP_PROTOCOL_UDP, port, 0, 0) < 0) return;  // RFC 6886 3.4
  (void)request.answer();
}

}  // namespace ztna::apps
