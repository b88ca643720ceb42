// Time as the protocol sees it: CLOCK_BOOTTIME, so that a sleeping machine's time counts.
// There is no now() here: os::Clock reads the clock, everything else is told.
#pragma once

#include <chrono>
#include <cstdint>

namespace ztna {

using namespace std::chrono_literals;

using Duration = std::chrono::nanoseconds;
using Millis = std::chrono::milliseconds;

struct BootClock {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = Duration;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
};
using TimePoint = BootClock::time_point;

/// "No deadline": later than every other time.
inline constexpr TimePoint kNever = TimePoint::max();

/// Seconds since the Unix epoch, for certificates and logs only.
using WallTime = std::chrono::sys_seconds;

}  // namespace ztna
