// The kernel's CSPRNG behind base/random.h.
#pragma once

#include <array>
#include <cstddef>

#include "base/random.h"

namespace ztna::os {

/// getrandom(2) through a small buffer, so that ids and transaction ids cost no system call each. Octets that were
/// handed out are wiped from the buffer. Not thread safe: one a thread. Must not cross fork().
class SystemRandom final : public Random {
 public:
  ~SystemRandom() override;
  /// Never fails: blocks only before the kernel's pool was seeded at boot, and aborts if the system call does not
  /// exist.
  void fill(MutableBytes out) override;

 private:
  static constexpr std::size_t kBuffer = 512;
  std::array<std::uint8_t, kBuffer> buffer_{};
  std::size_t left_ = 0;
};

}  // namespace ztna::os
