// How many handshakes one source may begin (limits on everything that a stranger can make grow).
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/source_buckets.h"

namespace ztna::intermediate {

/// Those of each IPv4 address or IPv6 /64: `per_second`, with a second's worth of burst. 0: no limit.
class SourceLimiter {
 public:
  static constexpr std::size_t kMaxSources = 100'000;

  explicit SourceLimiter(std::uint32_t per_second) : buckets_({per_second, per_second, kMaxSources}) {}
  bool allow(const IpAddress& source, TimePoint now) { return buckets_.take(source_network(source), now); }

  /// Handshakes of `source` that have begun and not ended: each begin() is followed by one end().
  void begin(const IpAddress& source);
  void end(const IpAddress& source);
  std::size_t unfinished(const IpAddress& source) const;

  /// Forgets sources whose bucket is full again.
  void tick(TimePoint now) { buckets_.forget(now); }
  std::size_t size() const { return buckets_.size(); }

 private:
  SourceBuckets buckets_;
  std::unordered_map<IpAddress, std::size_t> unfinished_;
};

}  // namespace ztna::intermediate
