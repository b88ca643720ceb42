#include "os/event_loop.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstdlib>

#include "base/log.h"
#include "os/clock.h"
#include "os/event_loop_impl.h"

namespace ztna::os {

EventLoop::Impl::Impl() {
  const int fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd < 0) {
    log::error("timerfd_create failed", {{"errno", errno}});
    std::abort();
  }
  timerfd.assign(fd);  // owned from here on
  wait_timerfd();
}

void EventLoop::Impl::wait_timerfd() {
  timerfd.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
    if (error) return;
    std::uint64_t expirations = 0;
    [[maybe_unused]] const auto n = ::read(timerfd.native_handle(), &expirations, sizeof expirations);
    armed = kNever;  // the timers themselves fire at the end of the round
    wait_timerfd();
  });
}

void EventLoop::Impl::arm_timerfd() {
  if (timers.empty() || timers.begin()->first >= armed) return;  // fires too early at worst
  armed = timers.begin()->first;
  // An all-zero it_value would disarm.
  const auto ns = std::max<std::int64_t>(armed.time_since_epoch().count(), 1);
  itimerspec spec{};
  spec.it_value.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
  spec.it_value.tv_nsec = static_cast<long>(ns % 1'000'000'000);
  timerfd_settime(timerfd.native_handle(), TFD_TIMER_ABSTIME, &spec, nullptr);
}

void EventLoop::Impl::set_timer(const std::shared_ptr<Timer::State>& timer, TimePoint deadline) {
  if (timer->deadline == deadline) return;
  Timers::node_type node;
  if (timer->deadline != kNever) node = timers.extract({timer->deadline, timer});
  timer->deadline = deadline;
  if (deadline == kNever) return;
  if (node) {
    node.value().first = deadline;  // the node is used again: no allocation
    timers.insert(std::move(node));
  } else {
    timers.emplace(deadline, timer);
  }
}

void EventLoop::Impl::fire_timers() {
  if (timers.empty()) return;
  const TimePoint time = now();
  for (int i = 0; i < kMaxRound && !timers.empty() && timers.begin()->first <= time; ++i) {
    const auto timer = timers.begin()->second;  // kept alive while its callback may destroy the Timer
    set_timer(timer, kNever);
    auto fn = std::move(timer->fn);
    timer->fn = nullptr;
    fn();
    if (!timer->fn) timer->fn = std::move(fn);
  }
}

void EventLoop::Impl::run_batches() {
  in_batches = true;
  for (std::size_t i = 0; i < batches.size(); ++i) {  // may grow meanwhile
    const auto batch = batches[i];
    if (batch->alive) batch->fn();
  }
  in_batches = false;
  drop_dead_batches();
}

void EventLoop::Impl::drop_dead_batches() {
  if (!in_batches) std::erase_if(batches, [](const auto& b) { return !b->alive; });
}

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}
EventLoop::~EventLoop() = default;

void EventLoop::run() {
  impl_->run_batches();
  while (!impl_->stop_requested.exchange(false)) {
    impl_->arm_timerfd();
    impl_->context.run_one();
    for (int i = 1; i < kMaxRound && !impl_->stop_requested.load(std::memory_order_relaxed); ++i) {
      if (impl_->context.poll_one() == 0) break;
    }
    impl_->fire_timers();
    impl_->run_batches();
  }
}

void EventLoop::stop() {
  impl_->stop_requested = true;
  // Not io_context::stop(): that would have to be undone by restart(), which races with a stop() on another thread.
  boost::asio::post(impl_->context, [] {});
}

void EventLoop::post(std::function<void()> fn) { boost::asio::post(impl_->context, std::move(fn)); }

boost::asio::io_context& EventLoop::io_context() { return impl_->context; }

Timer::Timer(EventLoop& loop, std::function<void()> fn)
    : state_(std::make_shared<State>(*loop.impl_, std::move(fn), kNever)) {}
Timer::~Timer() { cancel(); }
void Timer::set(TimePoint deadline) { state_->loop.set_timer(state_, deadline); }
void Timer::cancel() { state_->loop.set_timer(state_, kNever); }
TimePoint Timer::deadline() const { return state_->deadline; }

Batch EventLoop::after_batch(std::function<void()> fn) {
  auto state = std::make_shared<Batch::State>(impl_.get(), std::move(fn));
  impl_->batches.push_back(state);
  return Batch{std::move(state)};
}

Batch::Batch() = default;
Batch::Batch(std::shared_ptr<State> state) : state_(std::move(state)) {}
Batch::Batch(Batch&&) noexcept = default;
Batch& Batch::operator=(Batch&& other) noexcept {
  if (this != &other) {
    reset();
    state_ = std::move(other.state_);
  }
  return *this;
}
Batch::~Batch() { reset(); }
void Batch::reset() {
  if (!state_) return;
  const auto state = std::move(state_);
  state_ = nullptr;
  state->alive = false;
  state->loop->drop_dead_batches();
}

}  // namespace ztna::os
