#include "wire/ip/transport.h"

#include "wire/reader.h"

namespace ztna::wire::ip {

Checked<UdpView> UdpView::parse(Bytes segment) {  // RFC 768
  Reader r{segment};
  UdpView v;
  v.src_port = r.u16();
  v.dst_port = r.u16();
  const std::size_t length = r.u16();
  v.checksum = r.u16();
  v.payload = r.rest();
  if (!r.ok()) return tl::unexpected{PacketFault::truncated};
  if (length < kHeader) return tl::unexpected{PacketFault::bad_length};
  if (length > segment.size()) return tl::unexpected{PacketFault::truncated};
  if (length < segment.size()) return tl::unexpected{PacketFault::bad_length};
  return v;
}

Checked<TcpView> TcpView::parse(Bytes segment) {  // RFC 9293 3.1
  Reader r{segment};
  TcpView v;
  v.src_port = r.u16();
  v.dst_port = r.u16();
  v.seq = r.u32();
  v.ack = r.u32();
  const std::size_t header = (r.u8() >> 4) * 4U;
  v.flags = r.u8();
  v.window = r.u16();
  r.bytes(4);  // checksum, urgent pointer
  if (!r.ok()) return tl::unexpected{PacketFault::truncated};
  if (header < kMinHeader) return tl::unexpected{PacketFault::bad_length};
  v.options = r.bytes(header - kMinHeader);
  v.payload = r.rest();
  if (!r.ok()) return tl::unexpected{PacketFault::truncated};
  return v;
}

Checked<IcmpView> IcmpView::parse(Bytes message) {  // RFC 792, RFC 4443 2.1
  Reader r{message};
  IcmpView v;
  v.type = r.u8();
  v.code = r.u8();
  v.checksum = r.u16();
  v.rest = r.u32();
  v.payload = r.rest();
  if (!r.ok()) return tl::unexpected{PacketFault::truncated};
  return v;
}

}  // namespace ztna::wire::ip
