// UDP (RFC 768), TCP (RFC 9293 3.1) and ICMP (RFC 792, RFC 4443) headers.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "wire/ip/fault.h"

namespace ztna::wire::ip {

struct UdpView {
  static constexpr std::size_t kHeader = 8;

  std::uint16_t src_port = 0;
  std::uint16_t dst_port = 0;
  std::uint16_t checksum = 0;  // 0: none (IPv4 only)
  Bytes payload;

  /// `segment` is one whole UDP datagram. Errors: truncated, bad_length (octets left over).
  static Checked<UdpView> parse(Bytes segment);
};

struct TcpFlags {
  static constexpr std::uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10;
};

struct TcpView {
  static constexpr std::size_t kMinHeader = 20;

  std::uint16_t src_port = 0;
  std::uint16_t dst_port = 0;
  std::uint32_t seq = 0;
  std::uint32_t ack = 0;
  std::uint8_t flags = 0;
  std::uint16_t window = 0;
  Bytes options;
  Bytes payload;

  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
  /// SEG.LEN: payload octets, SYN and FIN counted (RFC 9293 3.4).
  std::uint32_t sequence_length() const {
    return static_cast<std::uint32_t>(payload.size()) + (has(TcpFlags::kSyn) ? 1U : 0U) +
           (has(TcpFlags::kFin) ? 1U : 0U);
  }

  /// Errors: truncated, bad_length (data offset under 5).
  static Checked<TcpView> parse(Bytes segment);
};

/// ICMP and ICMPv6 share the layout of their first 8 octets.
struct IcmpView {
  static constexpr std::size_t kHeader = 8;
  static constexpr std::uint8_t kV4EchoReply = 0, kV4Unreachable = 3, kV4EchoRequest = 8;
  static constexpr std::uint8_t kV6Unreachable = 1, kV6PacketTooBig = 2, kV6ParameterProblem = 4, kV6EchoRequest = 128,
                                kV6EchoReply = 129;

  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint16_t checksum = 0;
  std::uint32_t rest = 0;  // echo: identifier (high half) and sequence number
  Bytes payload;           // echo data, or the quoted packet

  std::uint16_t echo_id() const { return static_cast<std::uint16_t>(rest >> 16); }
  std::uint16_t echo_sequence() const { return static_cast<std::uint16_t>(rest); }

  /// Error: truncated.
  static Checked<IcmpView> parse(Bytes message);
};

}  // namespace ztna::wire::ip
