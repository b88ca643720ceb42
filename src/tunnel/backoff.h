// When to try again: 1 s doubling to 30 s with jitter, at most 1 s apart in the first minute of trouble
// (docs/adr/0006).
#pragma once

#include <optional>

#include "base/random.h"
#include "base/time.h"

namespace ztna::tunnel {

class Backoff {
 public:
  static constexpr Duration kFirst = 1s;
  static constexpr Duration kCap = 30s;
  static constexpr Duration kFirstMinuteCap = 1s;  // at most 2 s would do; half of it leaves room for the handshake
  static constexpr Duration kFirstMinute = 60s;

  explicit Backoff(Random& random) : random_(random) {}

  /// A failure happened: how long to wait, between half of the step and the whole of it.
  Duration next(TimePoint now);
  void reset() { began_.reset(), step_ = kFirst; }

 private:
  Random& random_;
  std::optional<TimePoint> began_;
  Duration step_ = kFirst;
};

}  // namespace ztna::tunnel
