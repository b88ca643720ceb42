#include "wire/reader.h"

namespace ztna::wire {
namespace {

/// Octets of the well-formed sequence that `in` begins with, 0 when there is none (RFC 3629 section 4).
std::size_t utf8_sequence(Bytes in) {
  const auto first = in[0];
  const auto tail = [&](std::size_t i, std::uint8_t low = 0x80, std::uint8_t high = 0xBF) {
    return i < in.size() && in[i] >= low && in[i] <= high;
  };
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const std::uint8_t low = first == 0xE0 ? 0xA0 : 0x80;
    const std::uint8_t high = first == 0xED ? 0x9F : 0xBF;
    return tail(1, low, high) && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const std::uint8_t low = first == 0xF0 ? 0x90 : 0x80;
    const std::uint8_t high = first == 0xF4 ? 0x8F : 0xBF;
    return tail(1, low, high) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool is_utf8(Bytes octets) {
  while (!octets.empty()) {
    const auto n = utf8_sequence(octets);
    if (n == 0) return false;
    octets = octets.subspan(n);
  }
  return true;
}

IpAddress Reader::ip() {
  const auto family = u8();
  if (!ok()) return {};
  if (family == 4) {
    const auto octets = array<4>();
    return IpAddress::v4(octets);
  }
  if (family == 6) {
    const auto octets = array<16>();
    return IpAddress::v6(octets);
  }
  refuse();
  return {};
}

Result<void> Reader::finish(std::string_view what) const {
  if (!ok_ && error_ == Errc::truncated) return fail(Errc::truncated, "{}: ends inside a field", what);
  if (!ok_) return fail(error_, "{}: bad field", what);
  if (!in_.empty()) return fail(Errc::malformed, "{}: {} octets left over", what, in_.size());
  return {};
}

}  // namespace ztna::wire
