#include "tunnel/backoff.h"

#include <algorithm>

namespace ztna::tunnel {

Duration Backoff::next(TimePoint now) {
  if (!began_) began_ = now;
  const bool first_minute = now - *began_ < kFirstMinute;
  const Duration step = std::min(step_, first_minute ? kFirstMinuteCap : kCap);
  step_ = std::min(step_ * 2, kCap);
  const auto half = static_cast<std::uint64_t>(step.count() / 2);
  return step / 2 + Duration{static_cast<Duration::rep>(random_.below(half + 1))};
}

}  // namespace ztna::tunnel
