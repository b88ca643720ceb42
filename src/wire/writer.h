// Writes fields: `Writer` appends to a vector, `SpanWriter` fills a fixed span (hot paths, no allocation).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "base/address.h"
#include "base/bytes.h"

namespace ztna::wire {

/// Cuts `text` to at most `limit` octets, at a character's boundary.
std::string_view cut_utf8(std::string_view text, std::size_t limit);

inline constexpr std::uint64_t kVarintMax = (1ULL << 62) - 1;
/// Octets of the shortest encoding of `value` (RFC 9000 section 16).
constexpr std::size_t varint_size(std::uint64_t value) {
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x4000'0000 ? 4 : 8;
}

class VectorSink {
 public:
  VectorSink(ByteVector& out) : out_(out) {}
  void put(Bytes octets) { out_.insert(out_.end(), octets.begin(), octets.end()); }

 private:
  ByteVector& out_;
};

/// What does not fit is not written, and ok() becomes false.
class SpanSink {
 public:
  SpanSink(MutableBytes out) : out_(out) {}
  void put(Bytes octets) {
    ok_ = ok_ && octets.size() <= out_.size() - used_;
    if (!ok_) return;
    std::ranges::copy(octets, out_.begin() + static_cast<std::ptrdiff_t>(used_));
    used_ += octets.size();
  }
  bool ok() const { return ok_; }
  std::size_t size() const { return used_; }

 private:
  MutableBytes out_;
  std::size_t used_ = 0;
  bool ok_ = true;
};

template <typename Sink>
class BasicWriter {
 public:
  /// From ByteVector& or MutableBytes, borrowed as long as the writer lives.
  template <typename Out>
  requires(!std::same_as<std::remove_cvref_t<Out>, BasicWriter>) explicit BasicWriter(Out&& out)
      : sink_(std::forward<Out>(out)) {}

  void u8(std::uint8_t v) { integer<1>(v); }
  void u16(std::uint16_t v) { integer<2>(v); }
  void u32(std::uint32_t v) { integer<4>(v); }
  void u64(std::uint64_t v) { integer<8>(v); }
  template <typename Enum>
  void code(Enum v) {
    u8(static_cast<std::uint8_t>(v));
  }
  /// Shortest form; a value above kVarintMax is written as kVarintMax.
  void varint(std::uint64_t v) {
    v = std::min(v, kVarintMax);
    switch (varint_size(v)) {
      case 1: return u8(static_cast<std::uint8_t>(v));
      case 2: return u16(static_cast<std::uint16_t>(v | 0x4000U));
      case 4: return u32(static_cast<std::uint32_t>(v | 0x8000'0000U));
      default: return u64(v | 0xC000'0000'0000'0000U);
    }
  }
  void bytes(Bytes octets) { sink_.put(octets); }
  /// A text longer than 255 octets is cut there: only free texts can be.
  void string8(std::string_view text) {
    text = cut_utf8(text, 255);
    u8(static_cast<std::uint8_t>(text.size()));
    bytes(as_bytes(text));
  }
  void ip(const IpAddress& address) {
    u8(static_cast<std::uint8_t>(address.family()));
    bytes(address.octets());
  }
  void address(const SocketAddress& a) {
    ip(a.ip);
    u16(a.port);
  }

  /// SpanWriter only: false when something did not fit; octets written.
  bool ok() const requires requires(const Sink& s) { s.ok(); }
  { return sink_.ok(); }
  std::size_t size() const requires requires(const Sink& s) { s.size(); }
  { return sink_.size(); }

 private:
  template <std::size_t N>
  void integer(std::uint64_t v) {
    std::array<std::uint8_t, N> octets;
    for (std::size_t i = 0; i < N; ++i) octets[i] = static_cast<std::uint8_t>(v >> (8 * (N - 1 - i)));
    sink_.put(octets);
  }
  Sink sink_;
};

using Writer = BasicWriter<VectorSink>;
using SpanWriter = BasicWriter<SpanSink>;

}  // namespace ztna::wire
