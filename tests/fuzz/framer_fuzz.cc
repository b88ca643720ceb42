// First octet: how the stream is cut; the rest: the stream. Cut or whole must give the same frames and the same end.
#include <algorithm>
#include <vector>

#include "fuzz.h"
#include "wire/control/framer.h"

using namespace ztna;

namespace {

struct Outcome {
  ByteVector frames;
  bool ok = true;
  bool ended = true;
  bool operator==(const Outcome&) const = default;
};

Outcome run(Bytes stream, std::size_t step) {
  wire::Framer framer;
  Outcome out;
  const auto take = [&](const wire::Frame& f) -> Result<void> {
    require(f.body.size() <= wire::kMaxBody);
    out.frames.push_back(f.type);
    out.frames.insert(out.frames.end(), f.body.begin(), f.body.end());
    return {};
  };
  for (std::size_t at = 0; at < stream.size() && out.ok; at += step) {
    const auto piece = stream.subspan(at, std::min(step, stream.size() - at));
    const ByteVector own{piece.begin(), piece.end()};  // gone after the call: nothing may be borrowed for longer
    out.ok = framer.push(own, take).has_value();
  }
  out.ended = framer.finish().has_value();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes stream{data + 1, size - 1};
  require(run(stream, data[0] + std::size_t{1}) == run(stream, std::max<std::size_t>(stream.size(), 1)));
  return 0;
}
