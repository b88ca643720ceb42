// HMAC-SHA256 (RFC 2104, FIPS 180-4) under one key, for path probes (docs/protocol.md 5).
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/result.h"

namespace ztna::quic {

using Sha256Digest = std::array<std::uint8_t, 32>;

/// Keyed once, then a digest costs no allocation. Movable.
class HmacSha256 {
 public:
  /// `key` is copied, and wiped when this object goes. Error: crypto (out of memory, or an empty key).
  static Result<HmacSha256> create(Bytes key);

  HmacSha256(HmacSha256&&) noexcept;
  HmacSha256& operator=(HmacSha256&&) noexcept;
  ~HmacSha256();

  /// Nothing if the library fails: then no digest is to be sent, and none to be taken for good.
  [[nodiscard]] bool digest(Bytes input, Sha256Digest& out);

 private:
  struct Impl;
  explicit HmacSha256(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ztna::quic
