// When the next birthday search of a tunnel may begin. A search costs the network 1,024 packets, so one that found
// nothing is repeated rarely, and one that found a path does not make the next one cheap. Pure, on virtual time.
#pragma once

#include <algorithm>

#include "base/time.h"

namespace ztna::path {

class SearchPause {
 public:
  static constexpr Duration kFirst = 30s;  // between the beginnings of two searches: 30, 60, 120, ... 600 s
  static constexpr Duration kLongest = 600s;

  bool may_begin(TimePoint now) const { return now >= next_; }
  /// A search begins.
  void began(TimePoint now) {
    pause_ = pause_ == Duration{} ? kFirst : std::min<Duration>(2 * pause_, kLongest);
    next_ = now + pause_;
  }
  /// The last one was worth it: the pause after it does not grow.
  void found() { pause_ = Duration{}; }
  /// The earliest beginning; in the past: at once.
  TimePoint next() const { return next_; }

 private:
  Duration pause_{};
  TimePoint next_{};
};

}  // namespace ztna::path
