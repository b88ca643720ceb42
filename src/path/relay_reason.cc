#include "path/relay_reason.h"

namespace ztna::path {
namespace {

/// One address has several outside: the peer cannot know to which to send (RFC 4787 4.1, "symmetric").
bool symmetric(wire::NatMapping mapping) {
  return mapping == wire::NatMapping::address_dependent || mapping == wire::NatMapping::address_and_port_dependent;
}

}  // namespace

std::string_view to_string(RelayReason reason) {
  switch (reason) {
    case RelayReason::not_tried: return "not_tried";
    case RelayReason::punching: return "punching";
    case RelayReason::disabled: return "disabled";
    case RelayReason::peer_disabled: return "peer_disabled";
    case RelayReason::no_candidates: return "no_candidates";
    case RelayReason::peer_no_candidates: return "peer_no_candidates";
    case RelayReason::udp_blocked: return "udp_blocked";
    case RelayReason::both_symmetric: return "both_symmetric";
    case RelayReason::symmetric_with_port_restricted: return "symmetric_with_port_restricted";
    case RelayReason::birthday_disabled: return "birthday_disabled";
    case RelayReason::peer_birthday_disabled: return "peer_birthday_disabled";
    case RelayReason::no_answer: return "no_answer";
    case RelayReason::not_validated: return "not_validated";
    case RelayReason::mtu: return "mtu";
    case RelayReason::path_died: return "path_died";
    case RelayReason::network_changed: return "network_changed";
    case RelayReason::signaling_failed: return "signaling_failed";
    case RelayReason::count_: break;
  }
  return "unknown";
}

std::string_view explain(RelayReason reason) {
  switch (reason) {
    case RelayReason::not_tried: return "a direct path was not tried yet";
    case RelayReason::punching: return "a direct path is being looked for";
    case RelayReason::disabled: return "direct paths are switched off here (p2p.enabled)";
    case RelayReason::peer_disabled: return "direct paths are switched off at the Connector";
    case RelayReason::no_candidates: return "this machine has no address that a direct path could use";
    case RelayReason::peer_no_candidates: return "the Connector named no address that may be tried from here";
    case RelayReason::udp_blocked: return "this network lets UDP through to the Intermediate's port only";
    case RelayReason::both_symmetric: return "the NATs of both ends give each connection another address";
    case RelayReason::symmetric_with_port_restricted:
      return "one end's NAT gives each connection another address, and the other end's lets only known ones in";
    case RelayReason::birthday_disabled:
      return "the two NATs allow a direct path by a birthday search only, which is switched off here (p2p.birthday)";
    case RelayReason::peer_birthday_disabled:
      return "the two NATs allow a direct path by a birthday search only, which is switched off at the Connector";
    case RelayReason::no_answer: return "no address of the Connector answered";
    case RelayReason::not_validated: return "an address answered, but packets of full size did not pass";
    case RelayReason::mtu: return "the direct path lost large packets";
    case RelayReason::path_died: return "the direct path stopped working";
    case RelayReason::network_changed: return "this machine moved to another network";
    case RelayReason::signaling_failed: return "the Intermediate could not tell the two ends about each other";
    case RelayReason::count_: break;
  }
  return "";
}

std::string_view remedy(RelayReason reason) {
  switch (reason) {
    case RelayReason::disabled: return "set p2p.enabled to true in the Agent's configuration";
    case RelayReason::peer_disabled: return "set p2p.enabled to true in the Connector's configuration";
    case RelayReason::no_candidates:
      return "check that the machine has an address besides loopback and the tunnel's own";
    case RelayReason::peer_no_candidates:
      return "give the Connector a reachable address: external_ip, a port mapping, or IPv6";
    case RelayReason::udp_blocked: return "let outgoing UDP to other hosts and its answers through the firewall";
    case RelayReason::both_symmetric:
    case RelayReason::symmetric_with_port_restricted:
      return "forward the Connector's UDP port (p2p.port) at its router and name the address as external_ip, let the "
             "router speak NAT-PMP or UPnP, or use IPv6";
    case RelayReason::birthday_disabled: return "set p2p.birthday to true in the Agent's configuration";
    case RelayReason::peer_birthday_disabled: return "set p2p.birthday to true in the Connector's configuration";
    case RelayReason::no_answer:
      return "let UDP in and out of the Connector's port (p2p.port) at both ends' firewalls, or use IPv6";
    case RelayReason::not_validated:
    case RelayReason::mtu:
      return "find the link on the way that drops UDP packets of 1,200 octets or more without saying so";
    case RelayReason::signaling_failed:
      return "see the Intermediate's log; an older version does not carry these messages";
    default: return "";
  }
}

RelayReason why_not_reached(const PunchFacts& facts) {
  if (facts.own_candidates == 0) return RelayReason::no_candidates;
  if (facts.peer_candidates == 0) return RelayReason::peer_no_candidates;
  if (facts.udp_blocked) return RelayReason::udp_blocked;
  const bool own = symmetric(facts.own_mapping);
  const bool peer = symmetric(facts.peer_mapping);
  if (own && peer) return RelayReason::both_symmetric;
  const auto strict = wire::NatFiltering::address_and_port_dependent;
  if ((own && facts.peer_filtering == strict) || (peer && facts.own_filtering == strict)) {
    return RelayReason::symmetric_with_port_restricted;
  }
  return RelayReason::no_answer;
}

}  // namespace ztna::path
