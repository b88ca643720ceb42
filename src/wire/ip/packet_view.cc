#include "wire/ip/packet_view.h"

#include "wire/ip/checksum.h"
#include "wire/ip/ipv6.h"
#include "wire/reader.h"

namespace ztna::wire::ip {
namespace {

bool is_supported(Family family, Protocol protocol) {
  return protocol == Protocol::udp || protocol == Protocol::tcp ||
         protocol == (family == Family::v4 ? Protocol::icmp : Protocol::icmpv6);
}

/// Ports or ICMP type of a first fragment, as far as they are there; its lengths speak of the whole packet.
void read_first_fragment(PacketView& v) {
  Reader r{v.l4()};
  if (v.protocol == Protocol::udp || v.protocol == Protocol::tcp) {
    const auto src = r.u16();
    const auto dst = r.u16();
    const std::size_t fixed = v.protocol == Protocol::udp ? UdpView::kHeader : TcpView::kMinHeader;
    if (v.l4().size() < fixed) return;
    v.src_port = src;
    v.dst_port = dst;
    v.l4_payload = v.l4().subspan(fixed);
  } else {
    if (v.l4().size() < IcmpView::kHeader) return;
    v.icmp_type = r.u8();
    v.icmp_code = r.u8();
    v.l4_payload = v.l4().subspan(IcmpView::kHeader);
  }
  v.has_l4_header = true;
}

template <typename View>
void take_ports(PacketView& v, const View& segment) {
  v.src_port = segment.src_port;
  v.dst_port = segment.dst_port;
  v.l4_payload = segment.payload;
}

Checked<void> read_l4(PacketView& v) {
  if (v.protocol == Protocol::udp) {
    const auto udp = UdpView::parse(v.l4());
    if (!udp) return tl::unexpected{udp.error()};
    take_ports(v, *udp);
  } else if (v.protocol == Protocol::tcp) {
    const auto tcp = TcpView::parse(v.l4());
    if (!tcp) return tl::unexpected{tcp.error()};
    take_ports(v, *tcp);
  } else {
    const auto icmp = IcmpView::parse(v.l4());
    if (!icmp) return tl::unexpected{icmp.error()};
    v.icmp_type = icmp->type;
    v.icmp_code = icmp->code;
    v.l4_payload = icmp->payload;
  }
  v.has_l4_header = true;
  return {};
}

/// What both families' headers say.
template <typename Header>
void take_header(PacketView& v, const Header& ip) {
  v.src = ip.src;
  v.dst = ip.dst;
  v.protocol = static_cast<Protocol>(ip.protocol);
  v.fragment = ip.fragment;
  v.header_size = ip.header.size();
}

Checked<void> read_ip(PacketView& v) {
  if (v.packet[0] >> 4 == 4) {
    const auto ip = Ipv4View::parse(v.packet);
    if (!ip) return tl::unexpected{ip.error()};
    take_header(v, *ip);
    v.family = Family::v4;
    v.hop_limit = ip->ttl;
    v.traffic_class = ip->tos;
    v.dont_fragment = ip->dont_fragment;
    v.protocol_offset = 9;
    return {};
  }
  const auto ip = Ipv6View::parse(v.packet);
  if (!ip) return tl::unexpected{ip.error()};
  take_header(v, *ip);
  v.family = Family::v6;
  v.hop_limit = ip->hop_limit;
  v.traffic_class = ip->traffic_class;
  v.protocol_offset = ip->protocol_offset;
  v.fragment_header = ip->fragment_header;
  return {};
}

}  // namespace

Checked<PacketView> parse_ip_packet(Bytes packet) {
  if (packet.empty()) return tl::unexpected{PacketFault::not_ip};
  PacketView v;
  v.packet = packet;
  if (auto ip = read_ip(v); !ip) return tl::unexpected{ip.error()};
  if (v.fragment.is_fragment() && !v.fragment.is_first()) {
    // The number in a later IPv6 fragment may name an extension header that stands in the first one.
    if (v.family == Family::v4 && !is_supported(v.family, v.protocol)) {
      return tl::unexpected{PacketFault::unsupported_protocol};
    }
    return v;
  }
  if (!is_supported(v.family, v.protocol)) return tl::unexpected{PacketFault::unsupported_protocol};
  if (v.fragment.is_fragment()) {
    read_first_fragment(v);
    return v;
  }
  if (auto l4 = read_l4(v); !l4) return tl::unexpected{l4.error()};
  return v;
}

Checked<void> verify_checksums(const PacketView& view, L4Checksum l4) {
  if (view.family == Family::v4 && sum(view.packet.first(view.header_size)) != 0xFFFF) {
    return tl::unexpected{PacketFault::bad_checksum};
  }
  if (l4 == L4Checksum::partial || view.fragment.is_fragment()) return {};
  const auto segment = view.l4();
  if (view.protocol == Protocol::udp && segment[6] == 0 && segment[7] == 0) {
    // RFC 8200 8.1: over IPv6 the checksum is not optional.
    if (view.family == Family::v6) return tl::unexpected{PacketFault::bad_checksum};
    return {};
  }
  const auto pseudo = view.protocol == Protocol::icmp ? std::uint16_t{0}
                                                      : pseudo_header_sum(view.src, view.dst, view.protocol,
                                                                          static_cast<std::uint32_t>(segment.size()));
  if (add_sums(pseudo, sum(segment)) != 0xFFFF) return tl::unexpected{PacketFault::bad_checksum};
  return {};
}

Checked<TcpView> tcp_of(const PacketView& view) {
  if (view.protocol != Protocol::tcp) return tl::unexpected{PacketFault::unsupported_protocol};
  if (view.fragment.is_fragment()) return tl::unexpected{PacketFault::bad_fragment};
  return TcpView::parse(view.l4());
}

}  // namespace ztna::wire::ip
