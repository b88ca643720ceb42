#include "base/source_buckets.h"

#include <algorithm>
#include <array>

namespace ztna {
namespace {

constexpr Duration kPauseForEach =
    1us;  // between walks, for each source walked over: they take a few percent of the time

}  // namespace

IpAddress source_network(const IpAddress& source) {
  const auto plain = source.unmapped();
  if (plain.is_v4()) return plain;
  std::array<std::uint8_t, 16> network{};
  std::ranges::copy(plain.octets().first(8), network.begin());
  return IpAddress::v6(network);
}

bool SourceBuckets::take(const IpAddress& source, TimePoint now) {
  if (limits_.per_second == 0) return true;
  auto key = source;
  if (full_at_.size() >= limits_.max_sources && !full_at_.contains(key)) {
    if (now >= forget_at_) forget(now);
    if (full_at_.size() >= limits_.max_sources) key = IpAddress{};
  }
  const Duration cost = Duration{1s} / limits_.per_second;
  const auto found = full_at_.find(key);
  const auto after = (found == full_at_.end() ? now : std::max(found->second, now)) + cost;
  if (after - now > cost * limits_.burst) return false;
  if (found == full_at_.end()) {
    full_at_.emplace(key, after);
  } else {
    found->second = after;
  }
  return true;
}

void SourceBuckets::forget(TimePoint now) {
  std::erase_if(full_at_, [now](const auto& entry) { return entry.second <= now; });
  forget_at_ = now + kPauseForEach * static_cast<Duration::rep>(limits_.max_sources);
}

}  // namespace ztna
