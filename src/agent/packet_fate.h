// What becomes of each packet that the Agent reads from its TUN, and of each that comes out of a tunnel: exactly one
// counted fate (docs/life-of-a-packet.md). Default is deny.
#pragma once

#include <cstdint>
#include <string_view>

#include "wire/ip/fault.h"

namespace ztna::agent {

/// A packet read from the TUN. One that waits is counted when its waiting ends.
enum class TunFate : std::uint8_t {
  carried_udp,      // sent into a tunnel
  carried_icmp,     // echo request, sent into a tunnel
  tcp_reentry,      // user's segment, handed back to the kernel for the listener
  tcp_return,       // listener's segment, handed back to the kernel for the user
  syn_held,         // first SYN of a connection: kept until the Connector answered
  syn_repeated,     // the kernel sent the SYN again while the first one is held
  syn_answered,     // to port 0, which no service has: `doctor` looks for a firewall on this machine
  fragment_kept,    // part of a datagram; the part that completes it gets the datagram's fate
  unknown_address,  // to no service (multicast included)
  spoofed_source,   // not from the TUN's own address
  wrong_protocol,   // neither TCP, UDP nor an echo request
  not_ip,
  truncated,
  bad_length,
  bad_header,
  bad_checksum,
  bad_fragment,        // contradicts its own header
  fragment_overlap,    // voids its datagram
  fragment_overflow,   // too much waits for its other parts
  service_down,        // the service is known and gone; answered with ICMP unreachable
  refused,             // the tunnel or the service was denied
  offline,             // begins a flow, and there was no Intermediate for longer than offline_grace
  queue_full,          // too much of the service's waits for its tunnel
  queue_full_all,      // too much of all services' waits for tunnels
  queue_timeout,       // no tunnel in time; answered with ICMP unreachable
  tunnel_full,         // the tunnel's congestion window and queue are full
  tunnel_failed,       // the tunnel ended at that moment, or the packet is too long
  tcp_stray,           // segment of no connection that is known: answered with RST
  tcp_foreign_return,  // to the re-entry address, but not from the listener
  tcp_limit,           // too many connections: answered with RST
  tun_full,            // the kernel did not take it back
  count_
};
std::string_view to_string(TunFate fate);
TunFate fate_of(wire::ip::PacketFault fault);

/// A packet that came out of a tunnel's DATAGRAM frames.
enum class TunnelFate : std::uint8_t {
  delivered,          // written into the TUN
  pong,               // answer to a ping of the Agent's own
  unknown_handle,     // no such service in this tunnel
  wrong_source,       // not the service's virtual address
  wrong_destination,  // not the TUN's address
  wrong_protocol,     // neither UDP, echo reply nor an ICMP error
  malformed,          // lengths or headers that contradict themselves
  bad_checksum,
  fragment,  // tunnels carry whole packets
  tun_full,  // the kernel did not take it
  count_
};
std::string_view to_string(TunnelFate fate);

}  // namespace ztna::agent
