// Why a tunnel is on the relay: a code for metrics and programs, a sentence for people, and what would mend it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "wire/nat.h"

namespace ztna::path {

enum class RelayReason : std::uint8_t {
  not_tried,           // the tunnel has just begun, or signaling has never been there
  punching,            // a first try is under way
  disabled,            // by our own configuration
  peer_disabled,       // by the Connector's
  no_candidates,       // we have no address to offer
  peer_no_candidates,  // the Connector has none, or none that may be probed
  udp_blocked,         // UDP reaches the Intermediate's own port and nothing else
  both_symmetric,
  symmetric_with_port_restricted,
  birthday_disabled,       // the same, and the search that could find a way is switched off by our own configuration
  peer_birthday_disabled,  // or by the Connector's
  no_answer,               // no probe was answered although the NATs allow it: a firewall, or no route
  not_validated,           // probes were answered, QUIC's PATH_CHALLENGE was not
  mtu,                     // the path swallowed large packets
  path_died,               // it worked and does not any more
  network_changed,         // moved to another network; the way out is being looked for
  signaling_failed,        // the Intermediate, or its connection, did not carry the messages
  count_
};
std::string_view to_string(RelayReason reason);
/// One sentence, without full stop.
std::string_view explain(RelayReason reason);
/// What an operator or user can do about it; empty: nothing, or nothing needs to be done.
std::string_view remedy(RelayReason reason);

/// What a session that reached nobody knew.
struct PunchFacts {
  wire::NatMapping own_mapping = wire::NatMapping::unknown;
  wire::NatFiltering own_filtering = wire::NatFiltering::unknown;
  wire::NatMapping peer_mapping = wire::NatMapping::unknown;
  wire::NatFiltering peer_filtering = wire::NatFiltering::unknown;
  std::size_t own_candidates = 0;
  std::size_t peer_candidates = 0;  // those that may be probed
  bool udp_blocked = false;         // NAT discovery got no answer but from the port that QUIC uses
};
RelayReason why_not_reached(const PunchFacts& facts);

}  // namespace ztna::path
