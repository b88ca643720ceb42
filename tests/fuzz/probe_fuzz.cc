#include "fuzz.h"
#include "wire/probe.h"

using namespace ztna;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes in{data, size};
  const auto probe = wire::Probe::parse(in);
  if (!probe) return 0;
  const auto again = wire::encode_probe(*probe, wire::Role::agent, [&](Bytes) { return probe->mac; });
  require(equal(again, in));
  return 0;
}
