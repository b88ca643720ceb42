#include "fuzz.h"
#include "wire/tunnel_datagram.h"

using namespace ztna;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes in{data, size};
  if (const auto d = wire::TunnelDatagram::parse(in)) {
    std::array<std::uint8_t, wire::TunnelDatagram::kHeaderSize> header{};
    wire::write_tunnel_header(header, d->handle);
    require(equal(header, in.first(header.size())) && equal(d->packet, in.subspan(header.size())));
  }
  if (const auto p = wire::SplitPart::parse(in)) {
    std::array<std::uint8_t, wire::SplitPart::kHeaderSize> header{};
    wire::write_split_header(header, p->packet_id, p->offset, p->more);
    require(equal(header, in.first(header.size())) && equal(p->part, in.subspan(header.size())));
    require(p->offset + p->part.size() <= wire::SplitPart::kMaxJoined);
  }
  return 0;
}
