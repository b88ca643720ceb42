#include "apps/common/descriptors.h"

#include <sys/resource.h>

#include <algorithm>

namespace ztna::apps {
namespace {

constexpr std::size_t kOwnDescriptors = 128;      // listeners, epoll, timers, files, HTTP connections
constexpr std::size_t kMaxDescriptors = 1 << 20;  // "unlimited" is no number to plan with

}  // namespace

std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024 - kOwnDescriptors;
  if (limit.rlim_cur < limit.rlim_max) {
    auto raised = limit;
    raised.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  const auto count = std::min<std::size_t>(limit.rlim_cur, kMaxDescriptors);
  return count > 2 * kOwnDescriptors ? count - kOwnDescriptors : count / 2;
}

}  // namespace ztna::apps
