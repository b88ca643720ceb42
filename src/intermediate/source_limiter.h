// How many handshakes one source may begin (product.md 6: limits on everything that a stranger can make grow).
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/address.h"
#include "base/time.h"

namespace ztna::intermediate {

/// A token bucket for each IPv4 address or IPv6 /64: `per_second`, with a second's worth of burst. 0: no limit.
class SourceLimiter {
 public:
  /// Sources remembered at most; beyond it all new ones share one bucket.
  static constexpr std::size_t kMaxSources = 100'000;

  explicit SourceLimiter(std::uint32_t per_second) : per_second_(per_second) {}
  bool allow(const IpAddress& source, TimePoint now);

  /// Handshakes of `source` that have begun and not ended: each begin() is followed by one end().
  void begin(const IpAddress& source);
  void end(const IpAddress& source);
  std::size_t unfinished(const IpAddress& source) const;

  /// Forgets sources whose bucket is full again.
  void tick(TimePoint now);
  std::size_t size() const { return full_at_.size(); }

 private:
  std::uint32_t per_second_;
  std::unordered_map<IpAddress, std::size_t> unfinished_;
  std::unordered_map<IpAddress, TimePoint> full_at_;  // when the bucket will be full again
};

}  // namespace ztna::intermediate
