// The one counted fate of each packet that comes out of a tunnel, of each datagram that comes from a backend, and of
// each TCP stream (docs/life-of-a-packet.md). Default is deny: what is not forwarded or answered has a reason here.
#pragma once

#include <cstdint>
#include <string_view>

#include "wire/ip/fault.h"

namespace ztna::connector {

enum class PacketFate : std::uint8_t {
  // From a tunnel.
  forwarded_udp,  // handed to the backend's socket
  echo_answered,
  unknown_handle,  // the tunnel has no such service open
  not_registered,  // echo to a service that no Intermediate has registered
  wrong_protocol,  // the service has no port of this protocol, or the packet is none that a service takes
  wrong_port,
  wrong_service_ip,   // not to an address of the service
  not_agents_source,  // another source address than the tunnel's
  not_ip,
  truncated,
  bad_length,
  bad_header,
  bad_checksum,
  fragment,             // Agents send whole packets
  hop_limit,            // arrived with TTL 0
  flow_limit,           // of the Agent, or of all sockets
  offline,              // begins a flow, and there was no Intermediate for longer than offline_grace
  backend_unknown,      // its name does not resolve
  backend_unreachable,  // the kernel has no way there
  backend_refused,      // ICMP port unreachable came back before
  backend_busy,         // the socket's buffer is full
  backend_too_large,    // the way to the backend does not take this size
  // From a backend.
  reply_forwarded,
  reply_too_large,   // does not fit an IP packet of the user's family
  reply_queue_full,  // the tunnel does not take more now
  // Made here.
  error_sent,        // ICMP error to the user's application
  error_limited,     // not sent: rate limit
  error_queue_full,  // not sent: the tunnel does not take more now
  count_
};
std::string_view to_string(PacketFate fate);
PacketFate fate_of(wire::ip::PacketFault fault);

/// The one counted outcome of each TCP stream.
enum class StreamFate : std::uint8_t {
  finished,       // both directions ended with FIN
  reset,          // by the backend, the user, or the end of the tunnel
  bad_header,     // docs/protocol.md 4.2
  not_permitted,  // unknown handle, port, or a service without TCP
  offline,        // there was no Intermediate for longer than offline_grace
  limit,          // connections or new connections per second of the Agent, or of all sockets
  backend_refused,
  backend_unreachable,  // also a name that does not resolve
  backend_timed_out,
  backlog_limit,  // the Agent's streams together hold too much that backends do not take; this one held most
  given_up,       // the user went away while the backend was being called
  count_
};
std::string_view to_string(StreamFate fate);
/// Counts as an error of ztna_connector_tcp_errors_total.
constexpr bool is_error(StreamFate fate) { return fate != StreamFate::finished && fate != StreamFate::given_up; }

}  // namespace ztna::connector
