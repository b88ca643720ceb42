// Which addresses may be probed at all, so that nobody can use this end to send packets to a victim
// (docs/threat-model.md).
//
// A remote candidate is a claim of the peer: it is authenticated, but may be anybody who has a key file.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "path/candidate.h"
#include "wire/control/signaling.h"

namespace ztna::path {

/// Verdict on one remote address; `allowed` is the only one that is ever sent to.
enum class ProbeVerdict : std::uint8_t {
  allowed,
  port_zero,
  unspecified,
  loopback,
  multicast,
  broadcast,  // limited, or of a network of this host
  link_local,
  reserved,      // 0/8, 240/4, or an IPv6 block that wraps IPv4 addresses (mapped, compatible, NAT64, 6to4, Teredo)
  intermediate,  // any port of an Intermediate
  own_tunnel,    // the virtual network
  own_address,   // one of our own candidates
  private_of_neither,  // private, but we have no address in this block and another way out than the peer
  no_socket,           // of this family
  over_limit,          // the session has its share of addresses
  count_
};
std::string_view to_string(ProbeVerdict verdict);

/// What one end knows about itself and its surroundings. A value: take a new one when the network changes.
struct ProbePolicy {
  std::vector<HostAddress> hosts;
  std::vector<SocketAddress> own;        // own candidates, all kinds
  std::vector<IpAddress> reflexive;      // own, as Intermediates observed them
  std::vector<IpAddress> intermediates;  // of every Intermediate that is configured or connected
  std::vector<Prefix> tunnels;
  bool v4 = true;  // a socket of this family is open
  bool v6 = true;

  /// `peer_reflexive`: IPs of the peer's server-reflexive candidates. A private address (RFC 1918, 6598, 4193) is
  /// allowed only if one of our hosts' is in the same block (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7), or both
  /// ends have the same reflexive IP.
  ProbeVerdict judge(const SocketAddress& address, std::span<const IpAddress> peer_reflexive) const;
  /// For a source from which an authentic request has come: as judge(), but private addresses are allowed: the packet
  /// was routed to us from there.
  ProbeVerdict judge_source(const SocketAddress& address) const;
};

/// The policy of an end that gathered `gathered` from `input`.
ProbePolicy make_policy(const GatherInput& input, const Gathered& gathered, std::span<const IpAddress> intermediates);

/// IPs of the server-reflexive candidates in an offer or answer.
std::vector<IpAddress> reflexive_ips(std::span<const wire::Candidate> candidates);

}  // namespace ztna::path
