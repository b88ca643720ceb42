// A rate for each stranger (limits on everything that a stranger can make grow), in bounded memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "base/address.h"
#include "base/time.h"

namespace ztna {

/// What one stranger has to send from: an IPv4 address, or the /64 of an IPv6 one.
IpAddress source_network(const IpAddress& source);

/// A token bucket for each source.
class SourceBuckets {
 public:
  struct Limits {
    std::uint32_t per_second = 0;  // 0: no limit
    std::uint32_t burst = 0;       // at once, from a source that was quiet
    std::size_t max_sources = 0;   // remembered; while it is full all new ones share one bucket
  };

  explicit SourceBuckets(Limits limits) : limits_(limits) {}
  /// `source` as the caller groups them (source_network()).
  bool take(const IpAddress& source, TimePoint now);
  /// Frees the memory of sources whose bucket is full again. take() does so itself when there are too many.
  void forget(TimePoint now);
  std::size_t size() const { return full_at_.size(); }

 private:
  Limits limits_;
  TimePoint forget_at_{};
  std::unordered_map<IpAddress, TimePoint> full_at_;  // when the bucket will be full again
};

}  // namespace ztna
