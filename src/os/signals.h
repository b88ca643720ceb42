// Signals as events of a loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace ztna::os {

class EventLoop;

enum class Signal : std::uint8_t {
  terminate,  // SIGTERM, SIGINT
  hang_up,    // SIGHUP
};

/// SIGPIPE is ignored for the whole process: a write to a closed socket is an IoStatus.
void ignore_sigpipe();

/// Catches SIGTERM, SIGINT and SIGHUP while it lives and calls back on the loop's thread. Ignores SIGPIPE. One a
/// process.
class Signals {
 public:
  Signals(EventLoop& loop, std::function<void(Signal)> fn);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace ztna::os
