// Reassembly of control messages from stream octets (docs/protocol.md 3).
#include <gtest/gtest.h>

#include "golden.h"
#include "wire/close_code.h"
#include "wire/control/framer.h"

namespace ztna::wire {
namespace {

using golden::hex;

struct Taken {
  std::uint8_t type;
  ByteVector body;
  friend bool operator==(const Taken&, const Taken&) = default;
};

auto collect(std::vector<Taken>& into) {
  return [&into](const Frame& f) -> Result<void> {
    into.push_back({f.type, {f.body.begin(), f.body.end()}});
    return {};
  };
}

TEST(FramerRefusal, LengthOverTheLimitIsToldBeforeTheBody) {
  Framer framer;
  std::vector<Taken> frames;
  const auto refused = framer.push(hex("10 80004001"), collect(frames));  // 16,385
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::too_large);
  EXPECT_TRUE(frames.empty());
  // For ever.
  EXPECT_EQ(framer.push(hex("3f00"), collect(frames)).error().code, Errc::too_large);
  EXPECT_EQ(framer.finish().error().code, Errc::too_large);
  EXPECT_TRUE(frames.empty());
}

TEST(FramerRefusal, HugeLengthOctetByOctet) {
  Framer framer;
  std::vector<Taken> frames;
  Result<void> result;
  for (const auto octet : hex("10 ffffffffffffffff")) result = framer.push(Bytes{&octet, 1}, collect(frames));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, Errc::too_large);
}

TEST(FramerRefusal, EndInsideAMessage) {
  const auto frame = hex("3b 04 00000bb8");
  for (std::size_t n = 1; n < frame.size(); ++n) {
    Framer framer;
    std::vector<Taken> frames;
    ASSERT_TRUE(framer.push(Bytes{frame}.first(n), collect(frames)).has_value());
    EXPECT_TRUE(frames.empty());
    EXPECT_EQ(framer.finish().error().code, Errc::truncated) << n;
  }
}

TEST(FramerRefusal, ErrorOfTheHandlerEndsTheWork) {
  Framer framer;
  int calls = 0;
  const auto refuse = [&](const Frame&) -> Result<void> {
    ++calls;
    return fail(Errc::malformed, "no");
  };
  EXPECT_EQ(framer.push(hex("3b00 3b00"), refuse).error().code, Errc::malformed);
  EXPECT_EQ(framer.push(hex("3b00"), refuse).error().code, Errc::malformed);
  EXPECT_EQ(calls, 1);
}

TEST(Framer, EveryWayToCutTheStreamGivesTheSameFrames) {
  ByteVector stream;
  std::vector<Taken> expected;
  for (const auto& g : golden::control()) {
    const auto frame = hex(g.frame);
    stream.insert(stream.end(), frame.begin(), frame.end());
    expected.push_back({frame[0], {frame.begin() + 2, frame.end()}});
  }
  expected.push_back({0x80, {}});
  stream.insert(stream.end(), {0x80, 0xC0, 0, 0, 0, 0, 0, 0, 0});  // length 0 in the longest form
  for (std::size_t step = 1; step <= stream.size(); ++step) {
    Framer framer;
    std::vector<Taken> frames;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      const auto n = std::min(step, stream.size() - at);
      const ByteVector piece(stream.begin() + static_cast<std::ptrdiff_t>(at),
                             stream.begin() + static_cast<std::ptrdiff_t>(at + n));
      ASSERT_TRUE(framer.push(piece, collect(frames)).has_value());
    }
    EXPECT_TRUE(framer.finish().has_value());
    EXPECT_EQ(frames, expected) << "step " << step;
  }
}

TEST(Framer, LongestBodyWholeAndInPieces) {
  ByteVector stream;
  append_raw_frame(stream, MessageType::revoked, ByteVector(kMaxBody, 0x61));
  append_raw_frame(stream, MessageType::drain, hex("00000001"));
  for (const std::size_t step : {std::size_t{1}, std::size_t{1000}, stream.size()}) {
    Framer framer;
    std::vector<Taken> frames;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      ASSERT_TRUE(
          framer.push(Bytes{stream}.subspan(at, std::min(step, stream.size() - at)), collect(frames)).has_value());
    }
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(frames[0].body.size(), kMaxBody);
    EXPECT_EQ(frames[1].type, 0x3B);
  }
}

TEST(Framer, WholeFrameIsBorrowedFromTheInput) {
  const auto stream = hex("3b 04 00000bb8");
  Framer framer;
  const std::uint8_t* seen = nullptr;
  ASSERT_TRUE(framer
                  .push(stream,
                        [&](const Frame& f) -> Result<void> {
                          seen = f.body.data();
                          return {};
                        })
                  .has_value());
  EXPECT_EQ(seen, stream.data() + 2);
}

TEST(CloseCode, Names) {
  EXPECT_EQ(to_string(CloseCode::internal), "internal");
  EXPECT_EQ(close_code_name(5), "replaced");
  EXPECT_EQ(close_code_name(10), "unknown");
}

}  // namespace
}  // namespace ztna::wire
