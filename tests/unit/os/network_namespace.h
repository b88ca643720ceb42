// Runs a test body in a fresh network namespace, in a forked child: nothing on the machine is touched.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "os/netlink.h"

namespace ztna::os {

inline constexpr int kChildSkipped = 77;

/// Calls `body` in the child, with loopback up. Failures there fail this test. False: not permitted, skip.
template <typename Body>
bool in_new_namespace(Body&& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNET) != 0) _exit(kChildSkipped);
    auto netlink = Netlink::open();
    EXPECT_TRUE(netlink && netlink->set_up(1, true));  // "lo" is always 1
    body();
    std::fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kChildSkipped) return false;
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << "child: wait status " << status << ", see its output above";
  return true;
}

}  // namespace ztna::os

/// `IN_NEW_NAMESPACE({ ... });`
#define IN_NEW_NAMESPACE(...)                                                  \
  do {                                                                         \
    if (!::ztna::os::in_new_namespace([&] { __VA_ARGS__ })) {                  \
      GTEST_SKIP() << "not root: a new network namespace needs CAP_SYS_ADMIN"; \
    }                                                                          \
  } while (false)
