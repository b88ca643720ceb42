// Reads fields from a row of octets. Every bounds check of the wire layer lives here.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace ztna::wire {

/// True when `octets` are well-formed UTF-8 (RFC 3629: shortest form, no surrogates).
bool is_utf8(Bytes octets);

/// Failure is sticky: after the first bad field every read gives zero or nothing, and ok() stays false. So a parser
/// reads all its fields and checks once. Views that it returns borrow from the input.
class Reader {
 public:
  explicit Reader(Bytes in) : in_(in) {}

  bool ok() const { return ok_; }
  /// truncated: the input ended inside a field; malformed: a field contradicts its format. Meaningless while ok().
  Errc error() const { return error_; }
  std::size_t remaining() const { return in_.size(); }

  std::uint8_t u8() { return static_cast<std::uint8_t>(integer<1>()); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(integer<2>()); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(integer<4>()); }
  std::uint64_t u64() { return integer<8>(); }

  /// RFC 9000 section 16; longer than needed encodings are allowed there, and here.
  std::uint64_t varint() {
    if (!need(1)) return 0;
    switch (in_[0] >> 6) {
      case 0: return u8();
      case 1: return u16() & 0x3FFFU;
      case 2: return u32() & 0x3FFF'FFFFU;
      default: return u64() & 0x3FFF'FFFF'FFFF'FFFFU;
    }
  }

  Bytes bytes(std::size_t n) {
    if (!need(n)) return {};
    const auto out = in_.first(n);
    in_ = in_.subspan(n);
    return out;
  }
  template <std::size_t N>
  std::array<std::uint8_t, N> array() {
    std::array<std::uint8_t, N> out{};
    std::ranges::copy(bytes(N), out.begin());
    return out;
  }
  /// One length octet, then that many octets of UTF-8.
  std::string_view string8() {
    const auto octets = bytes(u8());
    if (!is_utf8(octets)) return refuse(), std::string_view{};
    return as_text(octets);
  }
  /// Family (4 or 6), then 4 or 16 octets.
  IpAddress ip();
  /// `ip`, then port.
  SocketAddress address() {
    const auto host = ip();
    return {host, u16()};
  }
  Bytes rest() { return bytes(in_.size()); }

  /// For a field whose value no table allows: malformed, unless something failed before.
  void refuse() { set_error(Errc::malformed); }
  /// The end of a body: an error when a field failed, or when octets are left over. `what` begins the text.
  Result<void> finish(std::string_view what) const;

 private:
  bool need(std::size_t n) {
    if (ok_ && n <= in_.size()) return true;
    set_error(Errc::truncated);
    return false;
  }
  void set_error(Errc error) {
    if (ok_) error_ = error;
    ok_ = false;
    in_ = {};
  }
  template <std::size_t N>
  std::uint64_t integer() {
    if (!need(N)) return 0;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < N; ++i) value = value << 8 | in_[i];
    in_ = in_.subspan(N);
    return value;
  }

  Bytes in_;
  bool ok_ = true;
  Errc error_ = Errc::internal;
};

}  // namespace ztna::wire
