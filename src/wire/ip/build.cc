#include "wire/ip/build.h"

#include <algorithm>

#include "wire/ip/checksum.h"
#include "wire/ip/ip_header.h"
#include "wire/writer.h"

namespace ztna::wire::ip {
namespace {

/// An IP packet around `message`, whose checksum field at `checksum_at` is zero and gets filled.
ByteVector wrap(const IpHeader& header, Bytes message, std::size_t checksum_at) {
  const auto ip_size = ip_header_size(header.src.family());
  ByteVector out(ip_size + message.size());
  const MutableBytes all{out};
  write_ip_header(all.first(ip_size), header, message.size());
  std::ranges::copy(message, all.subspan(ip_size).begin());
  const auto check = upper_layer_checksum(header.src, header.dst, header.protocol, all.subspan(ip_size));
  put_u16(all.subspan(ip_size + checksum_at, 2), check);
  return out;
}

/// RFC 1122 3.2.1.3, RFC 4291 2.5.2 and 2.7: addresses that an error must not go to or speak of.
bool is_unicast(const IpAddress& a) {
  return !a.is_unspecified() && !a.is_multicast() && a != IpAddress::v4(0xFFFF'FFFF);
}

bool is_icmp_error(const PacketView& v) {
  if (v.protocol == Protocol::icmpv6) return v.icmp_type < 128;  // RFC 4443 2.1
  if (v.protocol != Protocol::icmp) return false;
  constexpr std::uint8_t kErrors[] = {3, 4, 5, 11, 12};  // RFC 1122 3.2.2
  return std::ranges::find(kErrors, v.icmp_type) != std::end(kErrors);
}

struct TypeCode {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
};

TypeCode type_code(IcmpError error, Family family) {
  const bool v4 = family == Family::v4;
  switch (error) {
    case IcmpError::network_unreachable: return v4 ? TypeCode{3, 0} : TypeCode{1, 0};
    case IcmpError::host_unreachable: return v4 ? TypeCode{3, 1} : TypeCode{1, 3};
    case IcmpError::protocol_unreachable: return v4 ? TypeCode{3, 2} : TypeCode{4, 1};
    case IcmpError::port_unreachable: return v4 ? TypeCode{3, 3} : TypeCode{1, 4};
    case IcmpError::packet_too_big: return v4 ? TypeCode{3, 4} : TypeCode{2, 0};
    case IcmpError::administratively_denied: return v4 ? TypeCode{3, 13} : TypeCode{1, 1};
  }
  return v4 ? TypeCode{3, 1} : TypeCode{1, 3};
}

/// The 4 octets behind the checksum: MTU (RFC 1191 section 4, RFC 4443 3.2), pointer (RFC 4443 3.4), or unused.
std::uint32_t rest_of_header(IcmpError error, const PacketView& original, std::uint32_t mtu) {
  if (error == IcmpError::packet_too_big) {
    return original.family == Family::v4 ? std::min<std::uint32_t>(mtu, 65'535) : mtu;
  }
  if (error == IcmpError::protocol_unreachable && original.family == Family::v6) {
    return static_cast<std::uint32_t>(original.protocol_offset);
  }
  return 0;
}

}  // namespace

Result<void> write_udp_headers(MutableBytes out, const SocketAddress& src, const SocketAddress& dst, Bytes payload,
                               std::uint16_t id, std::uint8_t hop_limit) {
  const auto family = src.ip.family();
  if (dst.ip.family() != family || out.size() != udp_headers_size(family)) {
    return fail(Errc::invalid_argument, "UDP packet: families differ, or room of {} octets", out.size());
  }
  if (payload.size() > max_udp_payload(family)) {
    return fail(Errc::too_large, "UDP payload of {} octets, at most {}", payload.size(), max_udp_payload(family));
  }
  const auto length = UdpView::kHeader + payload.size();
  write_ip_header(out.first(ip_header_size(family)),
                  {.src = src.ip, .dst = dst.ip, .protocol = Protocol::udp, .hop_limit = hop_limit, .id = id}, length);
  const auto udp = out.last(UdpView::kHeader);
  SpanWriter w{udp};
  w.u16(src.port);
  w.u16(dst.port);
  w.u16(static_cast<std::uint16_t>(length));
  w.u16(0);
  auto total = pseudo_header_sum(src.ip, dst.ip, Protocol::udp, static_cast<std::uint32_t>(length));
  total = add_sums(add_sums(total, sum(udp)), sum(payload));
  put_u16(udp.subspan(6, 2), total == 0xFFFF ? total : complement(total));  // RFC 768: 0 is sent as all ones
  return {};
}

Result<ByteVector> build_udp_packet(const SocketAddress& src, const SocketAddress& dst, Bytes payload, std::uint16_t id,
                                    std::uint8_t hop_limit) {
  const auto headers = udp_headers_size(src.ip.family());
  ByteVector out(headers);
  if (auto ok = write_udp_headers(MutableBytes{out}, src, dst, payload, id, hop_limit); !ok) return fail(ok.error());
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

Result<ByteVector> build_tcp_reset(const PacketView& segment) {  // RFC 9293 3.10.7.1
  const auto tcp = tcp_of(segment);
  if (!tcp) return fail(Errc::invalid_argument, "TCP reset: {}", to_string(tcp.error()));
  if (tcp->has(TcpFlags::kRst)) return fail(Errc::denied, "TCP reset: a reset is not answered");
  const bool acked = tcp->has(TcpFlags::kAck);
  ByteVector message;
  Writer w{message};
  w.u16(tcp->dst_port);
  w.u16(tcp->src_port);
  w.u32(acked ? tcp->ack : 0);
  w.u32(acked ? 0 : tcp->seq + tcp->sequence_length());
  w.u8(5U << 4);
  w.u8(acked ? TcpFlags::kRst : TcpFlags::kRst | TcpFlags::kAck);
  w.u16(0);  // window
  w.u16(0);  // checksum
  w.u16(0);  // urgent pointer
  return wrap({.src = segment.dst, .dst = segment.src, .protocol = Protocol::tcp, .dont_fragment = true}, message, 16);
}

Result<ByteVector> build_echo_reply(const PacketView& request) {  // RFC 792, RFC 4443 4.2
  if (!request.is_echo_request() || request.fragment.is_fragment()) {
    return fail(Errc::invalid_argument, "echo reply: no whole echo request");
  }
  ByteVector message{request.l4().begin(), request.l4().end()};
  message[0] = request.family == Family::v4 ? IcmpView::kV4EchoReply : IcmpView::kV6EchoReply;
  message[2] = 0;
  message[3] = 0;
  return wrap(
      {.src = request.dst, .dst = request.src, .protocol = request.protocol, .traffic_class = request.traffic_class},
      message, 2);
}

Result<ByteVector> build_icmp_error(IcmpError error, const PacketView& original, const IpAddress& from,
                                    std::uint32_t mtu) {
  const auto family = original.family;
  if (from.family() != family) return fail(Errc::invalid_argument, "ICMP error: families differ");
  // RFC 4443 2.4 (e.3): Packet Too Big may speak of a multicast packet; we have none.
  if (!original.fragment.is_first() || is_icmp_error(original) || !is_unicast(original.src) ||
      !is_unicast(original.dst)) {
    return fail(Errc::denied, "ICMP error: none is due for this packet");
  }
  const auto [type, code] = type_code(error, family);
  const auto limit = (family == Family::v4 ? kMaxIcmpV4Error : kMaxIcmpV6Error) - ip_header_size(family);
  ByteVector message;
  message.reserve(limit);
  Writer w{message};
  w.u8(type);
  w.u8(code);
  w.u16(0);
  w.u32(rest_of_header(error, original, mtu));
  w.bytes(original.packet.first(std::min(original.packet.size(), limit - IcmpView::kHeader)));
  return wrap({.src = from, .dst = original.src, .protocol = family == Family::v4 ? Protocol::icmp : Protocol::icmpv6},
              message, 2);
}

}  // namespace ztna::wire::ip
