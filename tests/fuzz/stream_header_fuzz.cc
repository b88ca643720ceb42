#include "fuzz.h"
#include "wire/stream_header.h"

using namespace ztna;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes in{data, size};
  if (const auto header = wire::StreamHeader::parse(in)) {
    require(equal(header->encode(), in.first(wire::StreamHeader::kSize)));
  }
  if (size > 0) {
    if (const auto result = wire::parse_stream_result(in[0])) require(to_string(*result) != "unknown");
  }
  return 0;
}
