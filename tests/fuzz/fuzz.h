// What the fuzz targets share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/bytes.h"

/// Unlike assert() it stays in every build type.
inline void require(bool condition) {
  if (!condition) std::abort();
}
