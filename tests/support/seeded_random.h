// Randomness that a test can replay.
#pragma once

#include <random>

#include "base/random.h"

namespace ztna::test {

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  void fill(MutableBytes out) override {
    for (auto& octet : out) octet = static_cast<std::uint8_t>(engine_());
  }
  double unit() { return std::uniform_real_distribution<double>{0, 1}(engine_); }

 private:
  std::mt19937_64 engine_;
};

}  // namespace ztna::test
