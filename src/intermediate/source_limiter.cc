#include "intermediate/source_limiter.h"

namespace ztna::intermediate {

void SourceLimiter::begin(const IpAddress& source) { ++unfinished_[source_network(source)]; }

void SourceLimiter::end(const IpAddress& source) {
  const auto found = unfinished_.find(source_network(source));
  if (found != unfinished_.end() && --found->second == 0) unfinished_.erase(found);
}

std::size_t SourceLimiter::unfinished(const IpAddress& source) const {
  const auto found = unfinished_.find(source_network(source));
  return found == unfinished_.end() ? 0 : found->second;
}

}  // namespace ztna::intermediate
