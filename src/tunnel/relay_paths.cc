#include "tunnel/relay_paths.h"

#include <algorithm>
#include <array>
#include <utility>

namespace ztna::tunnel {
namespace {

// fd7a:746e:6100::/48, then our own marks: 16 bits side (1 local, 2 remote), 64 bits of the route's number.
constexpr std::array<std::uint8_t, 6> kPrefix{0xfd, 0x7a, 0x74, 0x6e, 0x61, 0x00};
constexpr std::uint16_t kPort = 1;  // ngtcp2 wants none, but a zero port reads as "unset" in logs

SocketAddress synthetic(std::uint8_t side, std::uint64_t number) {
  std::array<std::uint8_t, 16> octets{};
  std::ranges::copy(kPrefix, octets.begin());
  octets[7] = side;
  for (unsigned i = 0; i < 8; ++i) octets[8 + i] = static_cast<std::uint8_t>(number >> (56U - 8U * i));
  return {IpAddress::v6(octets), kPort};
}

}  // namespace

quic::Path RelayPaths::fresh() {
  const quic::Path path{synthetic(1, next_), synthetic(2, next_)};
  ++next_;
  return path;
}

quic::Path RelayPaths::open(const RelayLeg& leg) {
  close(leg.route);
  const auto path = fresh();
  paths_.emplace(leg.route, Names{path, std::nullopt});
  legs_.emplace(path, leg);
  return path;
}

void RelayPaths::close(wire::RouteId route) {
  const auto found = paths_.find(route);
  if (found == paths_.end()) return;
  if (found->second.older) legs_.erase(*found->second.older);
  legs_.erase(found->second.current);
  paths_.erase(found);
}

void RelayPaths::readdress(wire::RouteId route, const SocketAddress& intermediate) {
  const auto found = paths_.find(route);
  if (found == paths_.end()) return;
  legs_.at(found->second.current).intermediate = intermediate;
  if (found->second.older) legs_.at(*found->second.older).intermediate = intermediate;
}

std::optional<quic::Path> RelayPaths::renew(wire::RouteId route) {
  const auto found = paths_.find(route);
  if (found == paths_.end()) return std::nullopt;
  auto& names = found->second;
  const auto leg = legs_.at(names.current);
  if (names.older) legs_.erase(*names.older);
  names.older = names.current;
  names.current = fresh();
  legs_.emplace(names.current, leg);
  return names.current;
}

void RelayPaths::take_back(wire::RouteId route) {
  const auto found = paths_.find(route);
  if (found == paths_.end() || !found->second.older) return;
  legs_.erase(found->second.current);
  found->second.current = *std::exchange(found->second.older, std::nullopt);
}

const RelayLeg* RelayPaths::leg(const quic::Path& path) const {
  const auto found = legs_.find(path);
  return found == legs_.end() ? nullptr : &found->second;
}

const quic::Path* RelayPaths::path(wire::RouteId route) const {
  const auto found = paths_.find(route);
  return found == paths_.end() ? nullptr : &found->second.current;
}

bool RelayPaths::is_synthetic(const SocketAddress& address) {
  return address.ip.is_v6() && equal(address.ip.octets().first(kPrefix.size()), kPrefix);
}

}  // namespace ztna::tunnel
