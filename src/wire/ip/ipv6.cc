#include "wire/ip/ipv6.h"

#include "wire/ip/protocol.h"
#include "wire/reader.h"

namespace ztna::wire::ip {
namespace {

/// RFC 8200 4.5: reserved bits are ignored.
Checked<void> read_fragment_header(Reader& r, Ipv6View& v, std::size_t end_of_header, std::size_t packet_size) {
  r.u8();  // reserved
  const auto word = r.u16();
  v.fragment.id = r.u32();
  if (!r.ok()) return tl::unexpected{PacketFault::truncated};
  v.fragment.offset = word & 0xFFF8U;
  v.fragment.more = (word & 1U) != 0;
  const auto size = packet_size - end_of_header;
  if ((v.fragment.more && (size == 0 || size % 8 != 0)) || v.fragment.offset + size > 65'535) {
    return tl::unexpected{PacketFault::bad_fragment};
  }
  return {};
}

/// Walks from the octet behind the fixed header to the upper layer (RFC 8200 4.1 to 4.6).
Checked<void> walk_extensions(Reader& r, Ipv6View& v, std::size_t packet_size) {
  for (int seen = 0;; ++seen) {
    const auto at = packet_size - r.remaining();
    const auto kind = static_cast<Protocol>(v.protocol);
    const bool options = kind == Protocol::hop_by_hop || kind == Protocol::destination_options;
    if (!options && kind != Protocol::routing && kind != Protocol::fragment) return {};
    // Hop-by-Hop Options stand first or not at all; nobody needs as many headers as kMaxExtensions.
    if (seen == Ipv6View::kMaxExtensions || (kind == Protocol::hop_by_hop && seen != 0)) {
      return tl::unexpected{PacketFault::bad_header};
    }
    v.protocol_offset = at;
    v.protocol = r.u8();
    if (kind == Protocol::fragment) {
      if (v.fragment_header != 0) return tl::unexpected{PacketFault::bad_header};
      if (r.remaining() < 7) return tl::unexpected{PacketFault::truncated};
      v.fragment_header = at;
      if (auto ok = read_fragment_header(r, v, at + 8, packet_size); !ok) return ok;
      if (!v.fragment.is_first()) return {};  // what follows is somewhere inside the original packet
      continue;
    }
    const std::size_t size = (static_cast<std::size_t>(r.u8()) + 1) * 8;
    const auto body = r.bytes(size - 2);
    if (!r.ok()) return tl::unexpected{PacketFault::truncated};
    // RFC 5095: a routing header with segments left could make us forward.
    if (kind == Protocol::routing && body[1] != 0) return tl::unexpected{PacketFault::bad_header};
  }
}

}  // namespace

Checked<Ipv6View> Ipv6View::parse(Bytes packet) {  // RFC 8200 3
  Reader r{packet};
  const auto first = r.u32();
  if (packet.empty() || packet[0] >> 4 != 6) return tl::unexpected{PacketFault::not_ip};
  Ipv6View v;
  v.traffic_class = static_cast<std::uint8_t>(first >> 20);
  const std::size_t length = r.u16();
  v.protocol = r.u8();
  v.hop_limit = r.u8();
  v.src = IpAddress::v6(r.array<16>());
  v.dst = IpAddress::v6(r.array<16>());
  if (!r.ok() || length > packet.size() - kHeader) return tl::unexpected{PacketFault::truncated};
  if (length < packet.size() - kHeader) return tl::unexpected{PacketFault::bad_length};
  if (auto walked = walk_extensions(r, v, packet.size()); !walked) return tl::unexpected{walked.error()};
  v.header = packet.first(packet.size() - r.remaining());
  v.payload = r.rest();
  return v;
}

}  // namespace ztna::wire::ip
