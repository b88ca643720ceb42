// Makes IP packets: UDP around a payload, answers to TCP segments and echo requests, ICMP errors.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "wire/ip/packet_view.h"

namespace ztna::wire::ip {

inline constexpr std::uint8_t kDefaultHopLimit = 64;

/// IP header without options and UDP header.
constexpr std::size_t udp_headers_size(Family family) { return family == Family::v4 ? 28 : 48; }
/// Longest UDP payload of an IP packet: 65,507 or 65,527.
constexpr std::size_t max_udp_payload(Family family) { return family == Family::v4 ? 65'507 : 65'527; }

/// Writes IP and UDP headers for `payload` into `out`, which has udp_headers_size() octets (and commonly stands right
/// before the payload in memory). IPv4: DF clear, identification `id`. Errors: invalid_argument (families differ, size
/// of `out`), too_large.
Result<void> write_udp_headers(MutableBytes out, const SocketAddress& src, const SocketAddress& dst, Bytes payload,
                               std::uint16_t id = 0, std::uint8_t hop_limit = kDefaultHopLimit);
/// The same as a packet of its own.
Result<ByteVector> build_udp_packet(const SocketAddress& src, const SocketAddress& dst, Bytes payload,
                                    std::uint16_t id = 0, std::uint8_t hop_limit = kDefaultHopLimit);

/// The RST that answers `segment` for a connection which does not exist (RFC 9293 3.10.7.1).
/// Errors: invalid_argument (no TCP, or a fragment), denied (a RST is not answered).
Result<ByteVector> build_tcp_reset(const PacketView& segment);

/// Error: invalid_argument (no echo request, or a fragment).
Result<ByteVector> build_echo_reply(const PacketView& request);

enum class IcmpError : std::uint8_t {
  network_unreachable,      // v4 3/0, v6 1/0
  host_unreachable,         // v4 3/1, v6 1/3
  protocol_unreachable,     // v4 3/2, v6 4/1 (RFC 4443 3.4)
  port_unreachable,         // v4 3/3, v6 1/4
  packet_too_big,           // v4 3/4 (RFC 1191), v6 2/0
  administratively_denied,  // v4 3/13 (RFC 1812), v6 1/1
};

/// Octets of an error at most, the quoted packet cut accordingly (RFC 1812 4.3.2.3; RFC 4443 2.4 c).
inline constexpr std::size_t kMaxIcmpV4Error = 576;
inline constexpr std::size_t kMaxIcmpV6Error = 1280;

/// An error from `from` (of the same family) to the sender of `original`, which is quoted. `mtu` for packet_too_big
/// only. Rate limits are the caller's. Errors: invalid_argument (families differ), denied: no error may be sent about
/// this packet (an ICMP error, a fragment but the first, from or to an address that is not unicast; RFC 1122 3.2.2, RFC
/// 4443 2.4 e).
Result<ByteVector> build_icmp_error(IcmpError error, const PacketView& original, const IpAddress& from,
                                    std::uint32_t mtu = 0);

}  // namespace ztna::wire::ip
