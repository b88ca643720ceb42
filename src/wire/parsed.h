// The result of parsers on the packet path: an error is a code alone, so that a flood of bad packets allocates nothing.
#pragma once

#include <tl/expected.hpp>

#include "base/result.h"

namespace ztna::wire {

template <typename T>
using Parsed = tl::expected<T, Errc>;

}  // namespace ztna::wire
