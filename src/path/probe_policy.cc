#include "path/probe_policy.h"

#include <algorithm>

#include "path/address_class.h"

namespace ztna::path {
namespace {

bool in_any(std::span<const Prefix> prefixes, const IpAddress& ip) {
  return std::ranges::any_of(prefixes, [&](const Prefix& p) { return p.contains(ip); });
}

bool contains(std::span<const IpAddress> list, const IpAddress& ip) {
  return std::ranges::find(list, ip) != list.end();
}

}  // namespace

std::string_view to_string(ProbeVerdict verdict) {
  switch (verdict) {
    case ProbeVerdict::allowed: return "allowed";
    case ProbeVerdict::port_zero: return "port_zero";
    case ProbeVerdict::unspecified: return "unspecified";
    case ProbeVerdict::loopback: return "loopback";
    case ProbeVerdict::multicast: return "multicast";
    case ProbeVerdict::broadcast: return "broadcast";
    case ProbeVerdict::link_local: return "link_local";
    case ProbeVerdict::reserved: return "reserved";
    case ProbeVerdict::intermediate: return "intermediate";
    case ProbeVerdict::own_tunnel: return "own_tunnel";
    case ProbeVerdict::own_address: return "own_address";
    case ProbeVerdict::private_of_neither: return "private_of_neither";
    case ProbeVerdict::no_socket: return "no_socket";
    case ProbeVerdict::over_limit: return "over_limit";
    case ProbeVerdict::count_: break;
  }
  return "unknown";
}

ProbeVerdict ProbePolicy::judge_source(const SocketAddress& address) const {
  if (address.port == 0) return ProbeVerdict::port_zero;
  switch (classify(address.ip)) {
    case AddressClass::usable: break;
    case AddressClass::unspecified: return ProbeVerdict::unspecified;
    case AddressClass::loopback: return ProbeVerdict::loopback;
    case AddressClass::multicast: return ProbeVerdict::multicast;
    case AddressClass::broadcast: return ProbeVerdict::broadcast;
    case AddressClass::link_local: return ProbeVerdict::link_local;
    case AddressClass::reserved: return ProbeVerdict::reserved;
  }
  const bool broadcast = std::ranges::any_of(
      hosts, [&](const HostAddress& h) { return is_directed_broadcast(address.ip, h.address, h.prefix_length); });
  if (broadcast) return ProbeVerdict::broadcast;
  if (contains(intermediates, address.ip)) return ProbeVerdict::intermediate;
  if (in_any(tunnels, address.ip)) return ProbeVerdict::own_tunnel;
  if (std::ranges::find(own, address) != own.end()) return ProbeVerdict::own_address;
  return (address.ip.is_v4() ? v4 : v6) ? ProbeVerdict::allowed : ProbeVerdict::no_socket;
}

ProbeVerdict ProbePolicy::judge(const SocketAddress& address, std::span<const IpAddress> peer_reflexive) const {
  const auto verdict = judge_source(address);
  const auto block = private_block(address.ip);
  if (verdict != ProbeVerdict::allowed || block == 0) return verdict;
  // Our own address in the virtual network says nothing about where we are.
  const bool near = std::ranges::any_of(
      hosts, [&](const HostAddress& h) { return private_block(h.address) == block && !in_any(tunnels, h.address); });
  if (near) return ProbeVerdict::allowed;
  const bool same_nat =
      std::ranges::any_of(reflexive, [&](const IpAddress& ip) { return contains(peer_reflexive, ip); });
  return same_nat ? ProbeVerdict::allowed : ProbeVerdict::private_of_neither;
}

ProbePolicy make_policy(const GatherInput& input, const Gathered& gathered, std::span<const IpAddress> intermediates) {
  ProbePolicy p;
  p.hosts = input.hosts;
  for (const auto& c : gathered.candidates) p.own.push_back(c.address);
  for (const auto& r : gathered.refused) p.own.push_back(r.address);  // not offered, but ours
  for (const auto& a : input.reflexive) p.reflexive.push_back(a.ip);
  p.intermediates.assign(intermediates.begin(), intermediates.end());
  p.tunnels = input.tunnels;
  p.v4 = input.port_v4 != 0;
  p.v6 = input.port_v6 != 0;
  return p;
}

std::vector<IpAddress> reflexive_ips(std::span<const wire::Candidate> candidates) {
  std::vector<IpAddress> out;
  for (const auto& c : candidates) {
    if (c.kind == wire::CandidateKind::server_reflexive && !contains(out, c.address.ip)) out.push_back(c.address.ip);
  }
  return out;
}

}  // namespace ztna::path
