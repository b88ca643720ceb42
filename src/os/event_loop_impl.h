// Inside of os/event_loop.h; only event_loop.cc and watch.cc include it, since Asio's headers are heavy.
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "os/event_loop.h"
#include "os/fd.h"

namespace ztna::os {

struct Timer::State {
  EventLoop::Impl& loop;
  std::function<void()> fn;
  TimePoint deadline = kNever;
};

struct Batch::State {
  EventLoop::Impl* loop;
  std::function<void()> fn;
  bool alive = true;
};

struct EventLoop::Impl {
  Impl();
  void arm_timerfd();
  void wait_timerfd();
  void fire_timers();
  void run_batches();
  void set_timer(const std::shared_ptr<Timer::State>& timer, TimePoint deadline);
  void drop_dead_batches();

  boost::asio::io_context context{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{context.get_executor()};
  std::atomic<bool> stop_requested{false};

  boost::asio::posix::stream_descriptor timerfd{context};
  TimePoint armed = kNever;  // what timerfd waits for; may be earlier than needed
  using Timers = std::set<std::pair<TimePoint, std::shared_ptr<Timer::State>>>;
  Timers timers;

  std::vector<std::shared_ptr<Batch::State>> batches;
  bool in_batches = false;

  std::unordered_map<int, Watch::State*> watches;
};

}  // namespace ztna::os
