#include "intermediate/source_limiter.h"

#include <algorithm>
#include <array>

namespace ztna::intermediate {
namespace {

IpAddress bucket_of(const IpAddress& source) {
  if (source.is_v4()) return source;
  std::array<std::uint8_t, 16> network{};
  std::ranges::copy(source.octets().first(8), network.begin());
  return IpAddress::v6(network);
}

}  // namespace

bool SourceLimiter::allow(const IpAddress& source, TimePoint now) {
  if (per_second_ == 0) return true;
  auto key = bucket_of(source.unmapped());
  if (full_at_.size() >= kMaxSources && !full_at_.contains(key)) key = IpAddress{};
  const Duration cost = Duration{1s} / per_second_;
  auto& full_at = full_at_[key];
  const auto after = std::max(full_at, now) + cost;
  if (after - now > 1s) return false;
  full_at = after;
  return true;
}

void SourceLimiter::begin(const IpAddress& source) { ++unfinished_[bucket_of(source.unmapped())]; }

void SourceLimiter::end(const IpAddress& source) {
  const auto found = unfinished_.find(bucket_of(source.unmapped()));
  if (found != unfinished_.end() && --found->second == 0) unfinished_.erase(found);
}

std::size_t SourceLimiter::unfinished(const IpAddress& source) const {
  const auto found = unfinished_.find(bucket_of(source.unmapped()));
  return found == unfinished_.end() ? 0 : found->second;
}

void SourceLimiter::tick(TimePoint now) {
  std::erase_if(full_at_, [now](const auto& entry) { return entry.second <= now; });
}

}  // namespace ztna::intermediate
