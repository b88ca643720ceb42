#include "intermediate/candidate_check.h"

#include <algorithm>

namespace ztna::intermediate {
namespace {

/// RFC 6890: "this network" and what has never been given out, with the limited broadcast address.
bool is_no_host(const IpAddress& ip) {
  if (ip.is_v6()) return false;
  const auto first = ip.octets()[0];
  return first == 0 || first >= 240;
}

}  // namespace

bool OwnAddresses::contains(const SocketAddress& address) const {
  if (address.port != port && (probe_port == 0 || address.port != probe_port)) return false;
  return std::ranges::find(ips, address.ip) != ips.end();
}

std::string_view why_no_candidate(const SocketAddress& address, const OwnAddresses& own) {
  const auto& ip = address.ip;
  if (address.port == 0) return "port 0";
  if (ip.is_unspecified()) return "unspecified address";
  if (ip.is_loopback()) return "loopback address";
  if (ip.is_multicast()) return "multicast address";
  if (ip.is_link_local()) return "link-local address";
  if (ip.is_v4_mapped()) return "IPv4 address in IPv6 form";
  if (is_no_host(ip)) return "no host's address";
  if (own.contains(address)) return "the Intermediate's own address";
  return {};
}

std::size_t drop_unobserved(std::vector<wire::Candidate>& candidates, const SocketAddress& observed) {
  return std::erase_if(candidates, [&](const wire::Candidate& c) {
    return c.kind == wire::CandidateKind::server_reflexive && c.address.ip.family() == observed.ip.family() &&
           c.address != observed;
  });
}

}  // namespace ztna::intermediate
