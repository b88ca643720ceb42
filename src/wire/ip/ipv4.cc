#include "wire/ip/ipv4.h"

#include "wire/reader.h"

namespace ztna::wire::ip {

Checked<Ipv4View> Ipv4View::parse(Bytes packet) {  // RFC 791 3.1
  Reader r{packet};
  const auto version_ihl = r.u8();
  if (!r.ok() || version_ihl >> 4 != 4) return tl::unexpected{PacketFault::not_ip};
  Ipv4View v;
  v.tos = r.u8();
  const std::size_t total = r.u16();
  v.fragment.id = r.u16();
  const auto flags = r.u16();
  v.ttl = r.u8();
  v.protocol = r.u8();
  r.bytes(2);  // checksum
  v.src = IpAddress::v4(r.u32());
  v.dst = IpAddress::v4(r.u32());
  const std::size_t header = (version_ihl & 0x0FU) * 4;
  if (!r.ok()) return tl::unexpected{PacketFault::truncated};
  if (header < kMinHeader || total < header) return tl::unexpected{PacketFault::bad_length};
  if (total > packet.size()) return tl::unexpected{PacketFault::truncated};
  if (total < packet.size()) return tl::unexpected{PacketFault::bad_length};
  v.header = packet.first(header);
  v.payload = packet.subspan(header);
  v.dont_fragment = (flags & 0x4000U) != 0;
  v.fragment.more = (flags & 0x2000U) != 0;
  v.fragment.offset = (flags & 0x1FFFU) * 8U;
  if ((v.fragment.more && (v.payload.empty() || v.payload.size() % 8 != 0)) ||
      header + v.fragment.offset + v.payload.size() > 65'535) {
    return tl::unexpected{PacketFault::bad_fragment};
  }
  return v;
}

}  // namespace ztna::wire::ip
