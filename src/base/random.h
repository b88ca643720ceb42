// Randomness is injected, so that a test can replay a run.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace ztna {

class Random {
 public:
  virtual ~Random() = default;
  /// Fills `out` with unpredictable octets. os::SystemRandom is the CSPRNG; tests use a seeded one.
  virtual void fill(MutableBytes out) = 0;

  template <std::size_t N>
  std::array<std::uint8_t, N> array() {
    std::array<std::uint8_t, N> a{};
    fill(a);
    return a;
  }
  std::uint64_t u64() {
    std::uint64_t v = 0;
    fill({reinterpret_cast<std::uint8_t*>(&v), sizeof v});
    return v;
  }
  /// Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound) { return u64() % bound; }
};

}  // namespace ztna
