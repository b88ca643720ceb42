// Waiting for an event instead of sleeping.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <functional>

#include "os/clock.h"
#include "os/event_loop.h"

namespace ztna::os {

inline constexpr Duration kPatience = 10s;

/// Runs `loop` until `done()` holds after a round; fails after kPatience.
inline void run_until(EventLoop& loop, const std::function<bool()>& done) {
  bool late = false;
  Timer limit{loop, [&] {
                late = true;
                loop.stop();
              }};
  limit.set(now() + kPatience);
  const Batch check = loop.after_batch([&] {
    if (done()) loop.stop();
  });
  loop.run();
  EXPECT_FALSE(late) << "the awaited event did not come";
}

/// Blocks until `fd` has `events`; false after kPatience.
inline bool wait_for(int fd, short events = POLLIN) {
  pollfd wait{fd, events, 0};
  return poll(&wait, 1, 10'000) == 1;
}

}  // namespace ztna::os
