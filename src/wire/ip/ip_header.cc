#include "wire/ip/ip_header.h"

#include "wire/ip/checksum.h"
#include "wire/writer.h"

namespace ztna::wire::ip {

void write_ip_header(MutableBytes out, const IpHeader& header, std::size_t payload) {
  SpanWriter w{out};
  if (header.src.is_v6()) {  // RFC 8200 3
    w.u32(6U << 28 | static_cast<std::uint32_t>(header.traffic_class) << 20);
    w.u16(static_cast<std::uint16_t>(payload));
    w.code(header.protocol);
    w.u8(header.hop_limit);
    w.bytes(header.src.octets());
    w.bytes(header.dst.octets());
    return;
  }
  w.u8(0x45);  // RFC 791 3.1
  w.u8(header.traffic_class);
  w.u16(static_cast<std::uint16_t>(20 + payload));
  w.u16(header.id);
  w.u16(header.dont_fragment ? 0x4000 : 0);
  w.u8(header.hop_limit);
  w.code(header.protocol);
  w.u16(0);
  w.bytes(header.src.octets());
  w.bytes(header.dst.octets());
  put_u16(out.subspan(10, 2), checksum(out.first(20)));
}

}  // namespace ztna::wire::ip
