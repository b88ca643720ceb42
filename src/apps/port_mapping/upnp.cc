#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <miniupnpc/upnperrors.h>

#include <array>
#include <memory>

#include "apps/port_mapping/mapping.h"
#include "apps/port_mapping/protocols.h"

namespace ztna::apps {
namespace {

constexpr int kDiscoveryMs = 1500;
constexpr unsigned char kTtl = 2;
constexpr int kOnlyPermanentLeases = 725;  // WANIPConnection 2.4.16
constexpr int kConflict = 718;
constexpr unsigned kTries = 4;  // of other ports, where the wanted one is taken

struct FreeDevices {
  void operator()(UPNPDev* list) const { freeUPNPDevlist(list); }
};

/// A router that is connected, and our own address as it sees it.
class Gateway {
 public:
  Gateway() {
    int error = 0;
    const std::unique_ptr<UPNPDev, FreeDevices> devices{
        upnpDiscover(kDiscoveryMs, nullptr, nullptr, UPNP_LOCAL_PORT_ANY, 0, kTtl, &error)};
    if (!devices) return;
#if MINIUPNPC_API_VERSION >= 18
    std::array<char, 64> wan{};
    found_ = UPNP_GetValidIGD(devices.get(), &urls_, &data_, own_.data(), static_cast<int>(own_.size()), wan.data(),
                              static_cast<int>(wan.size()));
#else
    found_ = UPNP_GetValidIGD(devices.get(), &urls_, &data_, own_.data(), static_cast<int>(own_.size()));
#endif
  }
  explicit Gateway(const std::string& url)
      : found_(UPNP_GetIGDFromUrl(url.c_str(), &urls_, &data_, own_.data(), static_cast<int>(own_.size()))) {}
  ~Gateway() {
    if (found_ != 0) FreeUPNPUrls(&urls_);
  }
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  bool usable() const { return found_ == 1; }
  const char* url() const { return urls_.controlURL; }
  const char* description() const { return urls_.rootdescURL != nullptr ? urls_.rootdescURL : ""; }
  const char* service() const { return data_.first.servicetype; }
  const char* own() const { return own_.data(); }

 private:
  UPNPUrls urls_{};
  IGDdatas data_{};
  std::array<char, 64> own_{};
  int found_ = 0;
};

int add(const Gateway& gateway, std::uint16_t external, std::uint16_t port, std::chrono::seconds lifetime,
        const std::string& description) {
  const auto external_text = std::to_string(external);
  const auto port_text = std::to_string(port);
  const auto lease = std::to_string(lifetime.count());
  return UPNP_AddPortMapping(gateway.url(), gateway.service(), external_text.c_str(), port_text.c_str(), gateway.own(),
                             description.c_str(), "UDP", nullptr, lease.c_str());
}

}  // namespace

Result<PortMapping> map_by_upnp(std::uint16_t port, std::uint16_t wanted, std::chrono::seconds lifetime,
                                const std::string& description) {
  const Gateway gateway;
  if (!gateway.usable()) return fail(Errc::unreachable, "UPnP: no router that is connected");
  std::array<char, 64> address{};
  if (UPNP_GetExternalIPAddress(gateway.url(), gateway.service(), address.data()) != UPNPCOMMAND_SUCCESS) {
    return fail(Errc::refused, "UPnP: the router does not tell its address");
  }
  const auto ip = IpAddress::parse(address.data());
  if (!ip || ip->is_unspecified()) return fail(Errc::unreachable, "UPnP: the router has no address itself");
  PortMapping out;
  out.how = PortMapping::How::upnp;
  out.lifetime = lifetime;
  auto external = wanted;
  for (unsigned tried = 0;; ++tried) {
    auto result = add(gateway, external, port, out.lifetime, description);
    if (result == kOnlyPermanentLeases && out.lifetime.count() != 0) {
      out.lifetime = std::chrono::seconds{0};
      result = add(gateway, external, port, out.lifetime, description);
    }
    if (result == UPNPCOMMAND_SUCCESS) break;
    if (result != kConflict || tried == kTries) {
      const char* text = strupnperror(result);
      return fail(Errc::refused, "UPnP: the router says no: {} ({})", text != nullptr ? text : "unknown", result);
    }
    external = static_cast<std::uint16_t>(external < 64'000 ? external + 1'000 : 20'000 + tried);
  }
  out.external = {*ip, external};
  out.description_url = gateway.description();
  return out;
}

void unmap_by_upnp(const std::string& description_url, std::uint16_t external_port) {
  const Gateway gateway{description_url};
  if (!gateway.usable()) return;
  const auto text = std::to_string(external_port);
  (void)UPNP_DeletePortMapping(gateway.url(), gateway.service(), text.c_str(), "UDP", nullptr);
}

}  // namespace ztna::apps
