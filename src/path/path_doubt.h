// When the silence of a path makes it doubtful: before it is given up, and late enough to be no mere delay. Then each
// end shows itself to the Intermediate. If a NAT has rebound, the new address is seen and validated while there is
// still hope for the path, and the relay takes what comes after it.
#pragma once

#include <algorithm>

#include "path/path_health.h"

namespace ztna::path {

class PathDoubt {
 public:
  static constexpr Duration kAgain = 250ms;  // however short and many a path's silences are

  /// When take() will be true if nothing else happens; kNever: nothing waits, or this silence was taken.
  TimePoint deadline(const PathSample& sample) const {
    if (taken_at_ != TimePoint{} && begin(sample) == silence_) return kNever;
    return std::max(doubtful_from(sample), taken_at_ + kAgain);
  }
  /// True once for each silence, and at most once in kAgain.
  bool take(const PathSample& sample, TimePoint now) {
    if (now < deadline(sample)) return false;
    taken_at_ = now;
    silence_ = begin(sample);
    return true;
  }

 private:
  static TimePoint begin(const PathSample& sample) { return std::max(sample.waiting_since, sample.heard); }

  TimePoint taken_at_{};
  TimePoint silence_{};  // when the one that was taken began
};

}  // namespace ztna::path
