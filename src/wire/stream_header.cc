#include "wire/stream_header.h"

#include "wire/reader.h"
#include "wire/writer.h"

namespace ztna::wire {

Parsed<StreamHeader> StreamHeader::parse(Bytes in) {  // docs/protocol.md 4.2
  Reader r{in.first(std::min(in.size(), kSize))};
  const auto type = r.u8();
  if (r.ok() && type != kType) return tl::unexpected{Errc::unknown_type};
  const ServiceHandle handle{r.u16()};
  if (r.ok() && handle.value == 0) return tl::unexpected{Errc::malformed};
  const auto family = r.u8();
  if (r.ok() && family != 4 && family != 6) return tl::unexpected{Errc::malformed};
  const auto port = r.u16();
  if (!r.ok()) return tl::unexpected{Errc::truncated};
  if (port == 0) return tl::unexpected{Errc::malformed};
  return StreamHeader{handle, static_cast<Family>(family), port};
}

std::array<std::uint8_t, StreamHeader::kSize> StreamHeader::encode() const {
  std::array<std::uint8_t, kSize> out{};
  SpanWriter w{MutableBytes{out}};
  w.u8(kType);
  w.u16(handle.value);
  w.code(family);
  w.u16(port);
  return out;
}

Parsed<StreamResult> parse_stream_result(std::uint8_t octet) {
  const auto result = static_cast<StreamResult>(octet);
  if (result > StreamResult::limit) return tl::unexpected{Errc::malformed};
  return result;
}

}  // namespace ztna::wire
