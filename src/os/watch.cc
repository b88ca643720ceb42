#include "os/event_loop_impl.h"

namespace ztna::os {

using Descriptor = boost::asio::posix::stream_descriptor;

// Each wait is armed anew after its callback. Asio re-arms an edge-triggered descriptor with EPOLL_CTL_MOD, which
// reports what is ready already: together that behaves level-triggered, and a descriptor nobody wants to hear of costs
// no wake-ups.
struct Watch::State : std::enable_shared_from_this<Watch::State> {
  State(EventLoop::Impl& l, int f) : loop(l), fd(f), descriptor(l.context) {}

  struct Direction {
    std::function<void()> fn;
    bool wanted = false;
    bool armed = false;
  };

  EventLoop::Impl& loop;
  int fd;
  Descriptor descriptor;
  Direction read;
  Direction write;
  bool alive = true;

  void arm(Direction& direction, Descriptor::wait_type type) {
    if (!alive || !direction.wanted || direction.armed) return;
    direction.armed = true;
    descriptor.async_wait(type, [self = shared_from_this(), &direction, type](const boost::system::error_code& error) {
      direction.armed = false;
      if (error) return;  // cancelled, or the descriptor was closed under the Watch: silent from now on
      self->call(direction);
      self->arm(direction, type);
    });
  }

  void call(Direction& direction) {
    if (!alive || !direction.wanted || !direction.fn) return;
    // The callback may replace or destroy itself: it runs from here, and goes back unless replaced.
    auto fn = std::move(direction.fn);
    direction.fn = nullptr;
    fn();
    if (alive && !direction.fn) direction.fn = std::move(fn);
  }

  void end() {
    if (!alive) return;
    alive = false;
    const auto it = loop.watches.find(fd);
    if (it != loop.watches.end() && it->second == this) loop.watches.erase(it);
    descriptor.release();  // leaves epoll, does not close
    read.fn = nullptr;
    write.fn = nullptr;
  }
};

Watch EventLoop::watch(int fd, std::function<void()> on_readable, std::function<void()> on_writable) {
  // A number that is watched still was closed meanwhile and given out again: the old Watch must not end the new one.
  const auto stale = impl_->watches.find(fd);
  if (stale != impl_->watches.end()) {
    const auto old = stale->second->shared_from_this();
    old->end();
  }
  auto state = std::make_shared<Watch::State>(*impl_, fd);
  boost::system::error_code error;
  state->descriptor.assign(fd, error);
  if (error) {  // a bad descriptor: a Watch that never calls
    state->alive = false;
    return Watch{std::move(state)};
  }
  impl_->watches[fd] = state.get();
  state->read.fn = std::move(on_readable);
  state->write.fn = std::move(on_writable);
  state->read.wanted = true;
  state->arm(state->read, Descriptor::wait_read);
  return Watch{std::move(state)};
}

Watch::Watch() = default;
Watch::Watch(std::shared_ptr<State> state) : state_(std::move(state)) {}
Watch::Watch(Watch&&) noexcept = default;
Watch& Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    reset();
    state_ = std::move(other.state_);
  }
  return *this;
}
Watch::~Watch() { reset(); }

void Watch::reset() {
  if (!state_) return;
  const auto state = std::move(state_);
  state_ = nullptr;
  state->end();
}

void Watch::want_read(bool on) {
  if (!state_) return;
  state_->read.wanted = on;
  state_->arm(state_->read, Descriptor::wait_read);
}

void Watch::want_write(bool on) {
  if (!state_) return;
  state_->write.wanted = on;
  state_->arm(state_->write, Descriptor::wait_write);
}

void Watch::on_readable(std::function<void()> fn) {
  if (state_) state_->read.fn = std::move(fn);
}

void Watch::on_writable(std::function<void()> fn) {
  if (state_) state_->write.fn = std::move(fn);
}

}  // namespace ztna::os
