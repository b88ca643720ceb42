// The clocks. Only src/os and src/apps read them; everything else is told the time.
#pragma once

#include "base/time.h"

namespace ztna::os {

/// CLOCK_BOOTTIME: monotonic, and counts while the machine sleeps.
TimePoint now();

/// CLOCK_REALTIME, whole seconds since the Unix epoch; for certificates and logs only.
WallTime wall_time();

}  // namespace ztna::os
