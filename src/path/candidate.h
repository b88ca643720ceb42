// Local candidates: under which addresses the peer may find this end (RFC 8445 5.1; docs/direct-paths.md).
//
// Pure: the program lists its addresses, gather() says which of them to offer, in which order and why not the others.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "wire/control/signaling.h"

namespace ztna::path {

/// One address of an interface of this host.
struct HostAddress {
  IpAddress address;
  unsigned prefix_length = 0;  // of the interface's network
  std::string interface;       // name, for texts
  unsigned interface_index = 0;
  bool default_route = false;  // the default route of this family leaves by this interface
  bool bridge = false;         // of a bridge inside this machine, as containers have: of use to its guests only
  bool temporary = false;      // RFC 8981
  bool deprecated = false;
  bool tentative = false;  // duplicate detection has not ended
};

struct GatherInput {
  std::vector<HostAddress> hosts;
  std::uint16_t port_v4 = 0;  // of the one socket that also probes; 0: no socket of this family
  std::uint16_t port_v6 = 0;
  std::vector<SocketAddress> reflexive;  // as Intermediates observed them
  std::vector<SocketAddress> mapped;     // by NAT-PMP, PCP or UPnP
  std::vector<SocketAddress> external;   // configured (--external-ip): offered as port-mapped
  std::vector<Prefix> tunnels;           // of our own TUN and its virtual addresses
};

/// Why an address of this host is not offered.
enum class NotOffered : std::uint8_t {
  unspecified,
  loopback,
  multicast,
  link_local,  // means nothing without a zone, and never leaves the link
  reserved,    // of a block that no host can have, or that wraps an IPv4 address
  own_tunnel,
  no_socket,  // of this family, or port 0
  tentative,
  duplicate,                // a better candidate has the same address and port
  stable_beside_temporary,  // RFC 8445 5.1.1.1: the stable address would undo what the temporary one hides
  over_limit,
  count_
};
std::string_view to_string(NotOffered reason);

struct Gathered {
  struct Refused {
    SocketAddress address;
    NotOffered reason;
  };
  std::vector<wire::Candidate> candidates;  // best first; priorities are all different
  std::vector<Refused> refused;             // for diagnostics
};

/// Most that one end offers; the peer probes at most ProbePolicy's limit, so that some room stays for trickled ones.
inline constexpr std::size_t kMaxLocalCandidates = 12;
/// Of them, addresses of bridges: a peer that has such networks too would probe each before anything that helps.
inline constexpr std::size_t kMaxBridges = 2;

/// Order and priorities: RFC 8445 5.1.2.1 with component 1, type preference host 126, peer-reflexive 110, port-mapped
/// 105 (RFC 6544 4.2), server-reflexive 100. The local preference is the rank among all host addresses: interfaces with
/// the default route first, bridges and deprecated addresses last, then by interface index, IPv6 and IPv4 taking turns
/// (RFC 8421 4). Over the limit, addresses that work from elsewhere are kept first: reflexive, mapped, external, then
/// hosts on the default route's interface; so a host with 50 container bridges offers what matters.
Gathered gather(const GatherInput& input, std::size_t limit = kMaxLocalCandidates);

/// RFC 8445 5.1.2.1 with component id 1; `preference` is the local one.
std::uint32_t candidate_priority(wire::CandidateKind kind, std::uint16_t preference);

/// What to trickle: candidates of `now` that `before` does not have (compared by address and port; a changed priority
/// is no news). Candidates that vanished are not told: probes to them stay unanswered.
std::vector<wire::Candidate> newly_gathered(std::span<const wire::Candidate> before,
                                            std::span<const wire::Candidate> now);

}  // namespace ztna::path
