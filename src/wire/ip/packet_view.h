// One IP packet of either family, parsed once.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"
#include "wire/ip/fault.h"
#include "wire/ip/ipv4.h"
#include "wire/ip/protocol.h"
#include "wire/ip/transport.h"

namespace ztna::wire::ip {

/// All views borrow from the packet.
struct PacketView {
  Bytes packet;
  Family family = Family::v4;
  IpAddress src;
  IpAddress dst;
  Protocol protocol = Protocol::udp;  // one of udp, tcp, icmp (IPv4), icmpv6 (IPv6)
  std::uint8_t hop_limit = 0;         // TTL
  std::uint8_t traffic_class = 0;     // TOS
  bool dont_fragment = false;         // IPv4
  FragmentInfo fragment;
  std::size_t header_size = 0;      // IP header with options or extension headers
  std::size_t protocol_offset = 0;  // where in `packet` the protocol number stands
  std::size_t fragment_header = 0;  // IPv6: offset in `packet`, 0: none

  /// From here on only for a packet that is no fragment, or for a first one which holds the whole header: else 0 and
  /// empty.
  std::uint16_t src_port = 0;  // UDP, TCP
  std::uint16_t dst_port = 0;
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;
  bool has_l4_header = false;
  Bytes l4_payload;  // UDP and TCP: after the header; ICMP: after its first 8 octets

  /// Transport header and payload; of a fragment its part of them.
  Bytes l4() const { return packet.subspan(header_size); }
  SocketAddress source() const { return {src, src_port}; }
  SocketAddress destination() const { return {dst, dst_port}; }
  bool is_echo_request() const {
    return has_l4_header && ((protocol == Protocol::icmp && icmp_type == IcmpView::kV4EchoRequest) ||
                             (protocol == Protocol::icmpv6 && icmp_type == IcmpView::kV6EchoRequest));
  }
};

/// Checks all lengths. Never bad_checksum: that is verify_checksums().
Checked<PacketView> parse_ip_packet(Bytes packet);

enum class L4Checksum : std::uint8_t {
  complete,  // as on the wire
  partial,   // virtio NEEDS_CSUM: the field has the pseudo-header sum, whoever sends the packet on completes it
};

/// Error: bad_checksum. The upper layer's is not checked in fragments, with `partial`, and in UDP over IPv4 that has
/// none.
Checked<void> verify_checksums(const PacketView& view, L4Checksum l4 = L4Checksum::complete);

/// The TCP header of a packet whose protocol is tcp and which is no fragment. Errors: as TcpView::parse, bad_fragment.
Checked<TcpView> tcp_of(const PacketView& view);

}  // namespace ztna::wire::ip
