// What the unit tests of path share.
#pragma once

#include <string_view>
#include <vector>

#include "base/address.h"
#include "path/candidate.h"
#include "path/probe_policy.h"
#include "support/fake_mac.h"
#include "support/seeded_random.h"
#include "wire/probe.h"

namespace ztna::path {

inline IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
inline SocketAddress addr(std::string_view text) { return SocketAddress::parse(text).value(); }
inline Prefix prefix(std::string_view text) { return Prefix::parse(text).value(); }

inline wire::Candidate candidate(std::string_view address, wire::CandidateKind kind = wire::CandidateKind::host,
                                 std::uint16_t preference = 65'535) {
  return {kind, candidate_priority(kind, preference), addr(address)};
}
inline HostAddress host(std::string_view address, unsigned length = 24, unsigned index = 2, bool default_route = true) {
  return {.address = ip(address),
          .prefix_length = length,
          .interface = "eth" + std::to_string(index),
          .interface_index = index,
          .default_route = default_route};
}

/// An end at 198.51.100.10 and 2001:db8:a::10, behind no NAT, with a TUN of 10.100.0.0/24.
inline ProbePolicy policy() {
  ProbePolicy p;
  p.hosts = {host("198.51.100.10"), host("192.168.7.10"), host("2001:db8:a::10", 64), host("10.100.0.254", 24, 9)};
  p.own = {addr("198.51.100.10:4434"), addr("192.168.7.10:4434"), addr("[2001:db8:a::10]:4434")};
  p.reflexive = {ip("198.51.100.10")};
  p.intermediates = {ip("192.0.2.1"), ip("2001:db8:ffff::1")};
  p.tunnels = {prefix("10.100.0.0/24"), prefix("fd5a:7a74:6e61::/64")};
  return p;
}

inline wire::Probe parsed(Bytes octets) { return wire::Probe::parse(octets).value(); }

}  // namespace ztna::path
