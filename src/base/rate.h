// A rate with a burst (the generic cell rate algorithm): one time point, whatever the rate.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace ztna {

class Rate {
 public:
  /// `per_second` in the long run, `burst` at once; both above 0.
  constexpr Rate(std::uint32_t per_second, std::uint32_t burst)
      : each_(Duration{1s} / per_second), burst_(each_ * burst) {}

  /// False: too soon, and nothing changed.
  bool take(TimePoint now) {
    const auto after = std::max(paid_until_, now) + each_;
    if (after - now > burst_) return false;
    paid_until_ = after;
    return true;
  }

 private:
  Duration each_;
  Duration burst_;
  TimePoint paid_until_{};
};

}  // namespace ztna
