#include "fuzz.h"
#include "wire/first_byte.h"
#include "wire/routed_datagram.h"

using namespace ztna;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes in{data, size};
  const auto routed = wire::RoutedDatagram::parse(in);
  const auto relay = wire::RelayDatagram::parse(in);
  if (routed) require(2 + routed->id.size() + routed->payload.size() == size);
  if (!relay) return 0;
  require(wire::classify(in) == wire::PayloadKind::routed_datagram);
  require(routed.has_value() && routed->id.size() == 8 && equal(routed->payload, relay->packet));
  ByteVector copy{in.begin(), in.end()};
  wire::write_relay_header(std::span<std::uint8_t, 10>{copy.data(), 10}, relay->route);
  require(equal(copy, in));
  return 0;
}
