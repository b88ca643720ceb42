// First octet: the type; the rest: a body. What parses must survive a round trip.
#include "fuzz.h"
#include "wire/control/message.h"
#include "wire/reader.h"

using namespace ztna;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes in{data, size};
  if (in.empty() || size > 1 + wire::kMaxBody) return 0;
  const auto message = wire::parse_tunnel_message(in[0], in.subspan(1));
  if (!message) return 0;
  if (std::holds_alternative<wire::Hello>(*message) && std::get<wire::Hello>(*message).version != 1) return 0;
  const auto frame = wire::encode_frame(*message);
  wire::Reader r{frame};
  require(r.u8() == in[0]);
  require(r.varint() == r.remaining());
  const auto again = wire::parse_tunnel_message(in[0], r.rest());
  require(again.has_value() && *again == *message);
  return 0;
}
