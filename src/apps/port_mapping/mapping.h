// A UDP port of the router that leads to one of ours, got by NAT-PMP (RFC 6886) or UPnP (WANIPConnection). All calls
// block, each for a few seconds at most: they belong on a thread of their own.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/address.h"
#include "base/result.h"

namespace ztna::apps {

struct PortMapping {
  enum class How : std::uint8_t { nat_pmp, upnp };
  How how = How::nat_pmp;
  SocketAddress external;
  std::chrono::seconds lifetime{};  // 0: until it is given back
  std::string description_url;      // UPnP: the router's, so that it need not be looked for again
};
std::string_view to_string(PortMapping::How how);

/// Asks the default gateway for `wanted` (or another port) of its own, for so long. Errors: timed_out, refused,
/// unreachable; the text says what the router said.
Result<PortMapping> map_by_nat_pmp(std::uint16_t port, std::uint16_t wanted, std::chrono::seconds lifetime);
/// The same, asking whatever router answers to SSDP.
Result<PortMapping> map_by_upnp(std::uint16_t port, std::uint16_t wanted, std::chrono::seconds lifetime,
                                const std::string& description);

/// Gives a mapping of `port` back, as well as that goes.
void unmap(const PortMapping& mapping, std::uint16_t port);

}  // namespace ztna::apps
