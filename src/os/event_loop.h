// One thread's event loop: descriptors, timers, posted functions. Wraps boost::asio::io_context, which stays out of
// this header.
//
//   EventLoop loop;
//   Watch watch = loop.watch(socket.fd(), [&] { read_some(); });  // called again while readable
//   Timer timer{loop, [&] { endpoint.on_deadline(now()); }};
//   Batch batch = loop.after_batch([&] { flush(); timer.set(endpoint.deadline()); });
//   loop.run();
//
// Everything but post() and stop() belongs to the thread that runs the loop (or to the time before run()). Callbacks
// must not throw. Watch, Timer and Batch objects may be destroyed at any time, also inside their own callback, and must
// not outlive the loop.
#pragma once

#include <functional>
#include <memory>

#include "base/time.h"

namespace boost::asio {
class io_context;
}

namespace ztna::os {

class EventLoop;

/// RAII registration of a descriptor. Does not own the descriptor: destroy the Watch before closing it; closing it
/// first (even inside the callback) is harmless too, the Watch is then silent until destroyed.
class Watch {
 public:
  Watch();
  Watch(Watch&&) noexcept;
  Watch& operator=(Watch&&) noexcept;
  ~Watch();

  /// Call on_readable while there is something to read. Starts as true. Off: backpressure.
  void want_read(bool on);
  /// Call on_writable while there is room to write. Starts as false.
  void want_write(bool on);
  void on_readable(std::function<void()> fn);
  void on_writable(std::function<void()> fn);
  /// Ends the registration; no callback follows.
  void reset();
  explicit operator bool() const { return state_ != nullptr; }

 private:
  friend class EventLoop;
  struct State;
  explicit Watch(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

/// One-shot timer on CLOCK_BOOTTIME. Setting it costs an ordered-set update and no system call: the loop arms its one
/// timerfd once a round, before it sleeps. Not movable.
class Timer {
 public:
  Timer(EventLoop& loop, std::function<void()> fn);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Fires once at `deadline` (at once if it passed); replaces an earlier deadline. kNever cancels.
  void set(TimePoint deadline);
  void cancel();
  /// kNever when not set.
  TimePoint deadline() const;

 private:
  friend class EventLoop;
  struct State;
  std::shared_ptr<State> state_;
};

/// RAII registration of EventLoop::after_batch.
class Batch {
 public:
  Batch();
  Batch(Batch&&) noexcept;
  Batch& operator=(Batch&&) noexcept;
  ~Batch();
  void reset();

 private:
  friend class EventLoop;
  struct State;
  explicit Batch(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

class EventLoop {
 public:
  /// Aborts the program when the kernel gives no epoll or timerfd (start of the program, nothing can go on).
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Runs until stop(). May be called again after it returned.
  void run();
  /// Thread safe. run() returns after the round in progress; before run(), the next run() returns at once.
  void stop();
  /// Thread safe. Runs `fn` on the loop's thread, never inside this call; in order of posting.
  void post(std::function<void()> fn);

  /// Calls `on_readable` while `fd` is readable, in error or hung up. Level triggered, and fair: a handler does a
  /// bounded amount of work and is called again after the other ready ones. A descriptor has one Watch: a second
  /// replaces the first.
  Watch watch(int fd, std::function<void()> on_readable, std::function<void()> on_writable = {});

  /// Calls `fn` after each round of handlers (descriptors, timers, posted functions), before the loop sleeps: the place
  /// to flush an endpoint once a batch and to set its timer. Called in order of registration, also once when run()
  /// begins. A round has at most kMaxRound handlers.
  Batch after_batch(std::function<void()> fn);

  static constexpr int kMaxRound = 64;

  /// For other Asio objects that live on this loop (resolver, signals, HTTP).
  boost::asio::io_context& io_context();

 private:
  friend class Watch;
  friend class Timer;
  friend class Batch;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ztna::os
