#include "os/system_random.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/log.h"

namespace ztna::os {
namespace {

void from_kernel(MutableBytes out) {
  while (!out.empty()) {
    const auto n = getrandom(out.data(), out.size(), 0);
    if (n > 0) {
      out = out.subspan(static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      // Ids and keys without randomness would be worse than no program.
      log::error("the kernel has no getrandom(2)", {{"errno", errno}});
      std::abort();
    }
  }
}

}  // namespace

SystemRandom::~SystemRandom() { explicit_bzero(buffer_.data(), buffer_.size()); }

void SystemRandom::fill(MutableBytes out) {
  if (out.size() > kBuffer / 2) return from_kernel(out);
  if (out.size() > left_) {
    from_kernel(buffer_);
    left_ = kBuffer;
  }
  std::uint8_t* from = buffer_.data() + (left_ - out.size());
  std::copy_n(from, out.size(), out.begin());
  explicit_bzero(from, out.size());
  left_ -= out.size();
}

}  // namespace ztna::os
