#include "os/clock.h"

#include <time.h>

namespace ztna::os {

TimePoint now() {
  timespec t{};
  clock_gettime(CLOCK_BOOTTIME, &t);
  return TimePoint{std::chrono::seconds{t.tv_sec} + Duration{t.tv_nsec}};
}

WallTime wall_time() {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return WallTime{std::chrono::seconds{t.tv_sec}};
}

}  // namespace ztna::os
