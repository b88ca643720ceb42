// Packets and a TUN for tests of the Agent. 10.100.0.254 is the Agent, .253 its re-entry peer, .5 and .6 are services.
#pragma once

#include <utility>
#include <vector>

#include "agent/ports.h"
#include "wire/ip/build.h"
#include "wire/ip/checksum.h"
#include "wire/ip/packet_view.h"
#include "wire/service_id.h"
#include "wire/writer.h"

namespace ztna::agent::testing {

inline constexpr TimePoint kStart{10s};

inline IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
inline SocketAddress at(std::string_view address, std::uint16_t port) { return {ip(address), port}; }
inline wire::ServiceId id(std::string_view text) { return *wire::ServiceId::parse(text); }

inline Addresses own_addresses() {
  return {ip("10.100.0.254"), ip("10.100.0.253"), ip("fd5a:7a74:6e61::fffe"), ip("fd5a:7a74:6e61::fffd")};
}

inline void put_u16(ByteVector& packet, std::size_t offset, std::size_t value) {
  packet[offset] = static_cast<std::uint8_t>(value >> 8U);
  packet[offset + 1] = static_cast<std::uint8_t>(value);
}

/// An IP header for `l4`. IPv4: its checksum is right.
inline ByteVector ip_packet(const IpAddress& src, const IpAddress& dst, wire::ip::Protocol protocol, Bytes l4,
                            std::uint16_t fragment_word = 0, std::uint16_t id = 7) {
  ByteVector packet;
  wire::Writer w{packet};
  if (src.is_v4()) {
    w.u16(0x4500);
    w.u16(static_cast<std::uint16_t>(20 + l4.size()));
    w.u16(id);
    w.u16(fragment_word);
    w.u8(64);
    w.u8(static_cast<std::uint8_t>(protocol));
    w.u16(0);
    w.bytes(src.octets());
    w.bytes(dst.octets());
    put_u16(packet, 10, wire::ip::checksum(packet));
  } else {
    w.u32(0x6000'0000);
    w.u16(static_cast<std::uint16_t>(l4.size()));
    w.u8(static_cast<std::uint8_t>(protocol));
    w.u8(64);
    w.bytes(src.octets());
    w.bytes(dst.octets());
  }
  w.bytes(l4);
  return packet;
}

inline ByteVector udp(const SocketAddress& src, const SocketAddress& dst, std::size_t payload = 4) {
  return *wire::ip::build_udp_packet(src, dst, ByteVector(payload, 0x61));
}

inline ByteVector icmp(const IpAddress& src, const IpAddress& dst, std::uint8_t type, std::uint8_t code = 0,
                       Bytes data = as_bytes("ping")) {
  ByteVector message{type, code, 0, 0, 0, 1, 0, 2};
  message.insert(message.end(), data.begin(), data.end());
  const auto protocol = src.is_v4() ? wire::ip::Protocol::icmp : wire::ip::Protocol::icmpv6;
  put_u16(message, 2,
          src.is_v4() ? wire::ip::checksum(message) : wire::ip::upper_layer_checksum(src, dst, protocol, message));
  return ip_packet(src, dst, protocol, message);
}

inline ByteVector tcp(const SocketAddress& src, const SocketAddress& dst, std::uint8_t flags, std::uint32_t seq = 100,
                      std::size_t payload = 0) {
  ByteVector segment;
  wire::Writer w{segment};
  w.u16(src.port);
  w.u16(dst.port);
  w.u32(seq);
  w.u32((flags & wire::ip::TcpFlags::kAck) != 0 ? 500U : 0U);
  w.u8(0x50);
  w.u8(flags);
  w.u16(64'000);
  w.u32(0);
  segment.resize(20 + payload, 0x62);
  put_u16(segment, 16, wire::ip::upper_layer_checksum(src.ip, dst.ip, wire::ip::Protocol::tcp, segment));
  return ip_packet(src.ip, dst.ip, wire::ip::Protocol::tcp, segment);
}

/// The parts of an IP packet, each `step` octets (a multiple of 8) of its payload but the last.
inline std::vector<ByteVector> fragments(const ByteVector& whole, std::size_t step) {
  const bool v4 = whole[0] >> 4U == 4;
  const std::size_t header = v4 ? 20 : 40;
  const Bytes body = Bytes{whole}.subspan(header);
  std::vector<ByteVector> parts;
  for (std::size_t begin = 0; begin < body.size(); begin += step) {
    const auto part = body.subspan(begin, std::min(step, body.size() - begin));
    const bool more = begin + part.size() < body.size();
    ByteVector packet{whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(header)};
    if (v4) {
      put_u16(packet, 2, 20 + part.size());
      put_u16(packet, 6, (more ? 0x2000U : 0U) | (begin / 8));
      put_u16(packet, 10, 0);
      put_u16(packet, 10, wire::ip::checksum(packet));
    } else {
      packet[6] = 44;
      put_u16(packet, 4, 8 + part.size());
      packet.insert(packet.end(), {whole[6], 0, 0, 0, 0, 0, 0, 9});
      put_u16(packet, 42, begin | (more ? 1U : 0U));
    }
    packet.insert(packet.end(), part.begin(), part.end());
    parts.push_back(std::move(packet));
  }
  return parts;
}

class FakeTun final : public TunPort {
 public:
  struct Written {
    PacketOffload offload;
    ByteVector packet;
    wire::ip::PacketView view() const { return *wire::ip::parse_ip_packet(packet); }
    wire::ip::TcpView tcp() const { return *wire::ip::tcp_of(view()); }
  };
  bool write(const PacketOffload& offload, Bytes packet) override {
    if (full) return false;
    written.push_back({offload, {packet.begin(), packet.end()}});
    return true;
  }
  Written take() {
    auto first = std::move(written.front());
    written.erase(written.begin());
    return first;
  }
  std::vector<Written> written;
  bool full = false;
};

}  // namespace ztna::agent::testing
