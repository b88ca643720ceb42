#include "path/path_health.h"

#include <algorithm>

namespace ztna::path {

std::string_view to_string(PathHealth health) {
  switch (health) {
    case PathHealth::alive: return "alive";
    case PathHealth::silent: return "silent";
    case PathHealth::unacknowledged: return "unacknowledged";
    case PathHealth::large_lost: return "large_lost";
  }
  return "unknown";
}

PathPatience patience(Duration rtt, Duration variation) {
  if (rtt <= Duration{}) rtt = kUnknownRtt;
  rtt = std::min<Duration>(rtt, 1s);  // what follows must not overflow
  const auto replaced = 2 * rtt + 4 * std::min<Duration>(variation, 1s);
  return {std::clamp<Duration>(std::max(4 * rtt, replaced) + 50ms, 150ms, 1s),
          std::clamp<Duration>(std::max(6 * rtt, replaced) + 50ms, 250ms, 1s),
          std::clamp<Duration>(6 * rtt, 300ms, 1s)};
}

PathHealth judge(const PathSample& sample, TimePoint now) {
  const auto limit = patience(sample.rtt, sample.rtt_variation);
  if (sample.waiting_since != kNever) {
    if (now - std::max(sample.waiting_since, sample.heard) >= limit.silent) return PathHealth::silent;
    if (now - sample.waiting_since >= limit.unacknowledged) return PathHealth::unacknowledged;
  }
  const bool small_pass = sample.heard > sample.large_since;  // never while nothing large waits
  if (small_pass && now - sample.large_since >= limit.large) return PathHealth::large_lost;
  return PathHealth::alive;
}

TimePoint next_judgement(const PathSample& sample) {
  const auto limit = patience(sample.rtt, sample.rtt_variation);
  auto next = kNever;
  if (sample.waiting_since != kNever) {
    next = std::min(std::max(sample.waiting_since, sample.heard) + limit.silent,
                    sample.waiting_since + limit.unacknowledged);
  }
  if (sample.heard > sample.large_since) next = std::min(next, sample.large_since + limit.large);
  return next;
}

TimePoint doubtful_from(const PathSample& sample) {
  if (sample.waiting_since == kNever) return kNever;
  const auto rtt = sample.rtt <= Duration{} ? kUnknownRtt : sample.rtt;
  const auto limit = patience(sample.rtt, sample.rtt_variation).silent;
  const auto late = rtt + std::max<Duration>(4 * std::min<Duration>(sample.rtt_variation, 1s) + 25ms, 50ms);
  return std::max(sample.waiting_since, sample.heard) + std::min<Duration>(late, limit);
}

}  // namespace ztna::path
