#include "os/event_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "loop_util.h"
#include "os/fd.h"
#include "os/resolver.h"
#include "os/signals.h"

namespace ztna::os {
namespace {

struct Pair {
  Fd a, b;
  Pair() {
    std::array<int, 2> fds{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()), 0);
    a.reset(fds[0]);
    b.reset(fds[1]);
  }
};

void put(const Fd& fd, const char* text = "x") { EXPECT_GT(write(fd.get(), text, strlen(text)), 0); }
std::size_t take(int fd, std::size_t octets = 1) {
  std::array<char, 64> block{};
  const auto n = read(fd, block.data(), octets);
  return n > 0 ? static_cast<std::size_t>(n) : 0;
}

TEST(EventLoopTest, WatchOfABadDescriptorIsSilent) {
  EventLoop loop;
  bool called = false;
  Watch watch = loop.watch(-1, [&] { called = true; });
  watch.want_write(true);
  loop.post([&] { loop.stop(); });
  loop.run();
  EXPECT_FALSE(called);
}

TEST(EventLoopTest, DescriptorClosedInsideItsCallbackIsSilentFromThen) {
  EventLoop loop;
  Pair p;
  int calls = 0;
  Watch watch = loop.watch(p.a.get(), [&] {
    ++calls;
    p.a.reset();
  });
  put(p.b);
  run_until(loop, [&] { return calls == 1; });
  int rounds = 0;
  Timer later{loop, [&] { ++rounds; }};
  later.set(now() + 2ms);
  run_until(loop, [&] { return rounds == 1; });
  EXPECT_EQ(calls, 1);
}

TEST(EventLoopTest, NumberGivenOutAgainBelongsToTheNewWatch) {
  EventLoop loop;
  Pair p;
  Watch old = loop.watch(p.a.get(), [] { ADD_FAILURE() << "the old watch"; });
  const int number = p.a.get();
  p.a.reset();
  Pair q;
  ASSERT_EQ(q.a.get(), number);
  int calls = 0;
  Watch fresh = loop.watch(q.a.get(), [&] { calls += static_cast<int>(take(q.a.get())); });
  old.reset();  // must not take the new one out of the loop
  put(q.b);
  run_until(loop, [&] { return calls == 1; });
}

TEST(EventLoopTest, WatchDestroyedInsideItsCallback) {
  EventLoop loop;
  Pair p;
  int calls = 0;
  auto watch = std::make_unique<Watch>();
  const auto guard = std::make_shared<int>(7);
  *watch = loop.watch(p.a.get(), [&, guard] {
    watch.reset();
    calls += *guard == 7 ? 1 : 100;  // the captures live until the callback is over
  });
  put(p.b);
  run_until(loop, [&] { return calls != 0; });
  put(p.b);
  loop.post([&] { loop.stop(); });
  loop.run();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(guard.use_count(), 1);
}

TEST(EventLoopTest, WatchDestroyedByAnotherCallbackOfTheSameRound) {
  EventLoop loop;
  Pair p, q;
  Watch first, second;
  int calls = 0;
  first = loop.watch(p.a.get(), [&] { ++calls, second.reset(), first.reset(); });
  second = loop.watch(q.a.get(), [&] { ++calls, first.reset(), second.reset(); });
  put(p.b);
  put(q.b);
  loop.post([&] { loop.post([&] { loop.post([&] { loop.stop(); }); }); });
  loop.run();
  EXPECT_EQ(calls, 1);
}

TEST(EventLoopTest, LevelTriggeredAndFair) {
  EventLoop loop;
  Pair busy, other;
  int read_octets = 0;
  int seen_by_other = -1;
  Watch a = loop.watch(busy.a.get(), [&] { read_octets += static_cast<int>(take(busy.a.get())); });
  Watch b = loop.watch(other.a.get(), [&] {
    take(other.a.get());
    seen_by_other = read_octets;
  });
  put(busy.b, "0123456789012345678901234567890123456789");
  put(other.b);
  run_until(loop, [&] { return read_octets == 40 && seen_by_other >= 0; });
  EXPECT_LT(seen_by_other, 10) << "one readable descriptor must not starve another";
}

TEST(EventLoopTest, WantReadOffHoldsBackAndOnResumes) {
  EventLoop loop;
  Pair p;
  int calls = 0;
  Watch watch = loop.watch(p.a.get(), [&] { calls += static_cast<int>(take(p.a.get())); });
  watch.want_read(false);
  put(p.b);
  loop.post([&] { loop.post([&] { loop.stop(); }); });
  loop.run();
  EXPECT_EQ(calls, 0);
  watch.want_read(true);
  run_until(loop, [&] { return calls == 1; });
}

TEST(EventLoopTest, WritableIsToldOnceThereIsRoom) {
  EventLoop loop;
  Pair p;
  const std::vector<char> block(64 * 1024, 'x');
  while (write(p.a.get(), block.data(), block.size()) > 0) {
  }
  int writable = 0;
  Watch watch = loop.watch(p.a.get(), {}, [&] {
    ++writable;
    watch.want_write(false);
  });
  watch.want_write(true);
  loop.post([&] { loop.post([&] { loop.stop(); }); });
  loop.run();
  EXPECT_EQ(writable, 0);
  std::vector<char> sink(1U << 20U);
  while (read(p.b.get(), sink.data(), sink.size()) > 0) {
  }
  run_until(loop, [&] { return writable == 1; });
}

TEST(EventLoopTest, TimersFireInOrderOnceAndNotWhenCancelled) {
  EventLoop loop;
  std::vector<int> fired;
  Timer a{loop, [&] { fired.push_back(1); }};
  Timer b{loop, [&] { fired.push_back(2); }};
  Timer c{loop, [&] { fired.push_back(3); }};
  const TimePoint t = now();
  a.set(t + 3ms);
  b.set(t + 1ms);
  c.set(t + 2ms);
  c.set(kNever);
  EXPECT_EQ(c.deadline(), kNever);
  EXPECT_EQ(b.deadline(), t + 1ms);
  run_until(loop, [&] { return fired.size() == 2; });
  EXPECT_EQ(fired, (std::vector<int>{2, 1}));
  EXPECT_GE(now(), t + 3ms);
  EXPECT_EQ(a.deadline(), kNever);
}

TEST(EventLoopTest, TimerMovedLaterAndEarlier) {
  EventLoop loop;
  TimePoint fired{};
  Timer timer{loop, [&] { fired = now(); }};
  const TimePoint t = now();
  timer.set(t + 1ms);
  timer.set(t + 4ms);
  run_until(loop, [&] { return fired != TimePoint{}; });
  EXPECT_GE(fired, t + 4ms);
  fired = {};
  timer.set(now() + 1h);
  loop.post([&] { timer.set(TimePoint{}); });  // long past: at once
  run_until(loop, [&] { return fired != TimePoint{}; });
}

TEST(EventLoopTest, TimerInThePastInsideItsCallbackDoesNotHangTheLoop) {
  EventLoop loop;
  int fired = 0;
  std::optional<Timer> timer;
  timer.emplace(loop, [&] {
    ++fired;
    timer->set(now());
  });
  timer->set(now());
  bool posted = false;
  loop.post([&] { posted = true; });
  run_until(loop, [&] { return posted && fired > 3; });
}

TEST(EventLoopTest, TimerDestroyedInsideItsCallback) {
  EventLoop loop;
  int fired = 0;
  std::unique_ptr<Timer> timer;
  timer = std::make_unique<Timer>(loop, [&] {
    timer.reset();
    ++fired;
  });
  timer->set(now());
  run_until(loop, [&] { return fired == 1; });
}

TEST(EventLoopTest, AfterBatchRunsOncePerRoundNotPerEvent) {
  EventLoop loop;
  int handlers = 0;
  std::vector<int> at_batch;
  const Batch batch = loop.after_batch([&] { at_batch.push_back(handlers); });
  for (int i = 0; i < 10; ++i) loop.post([&] { ++handlers; });
  loop.post([&] { loop.stop(); });
  loop.run();
  EXPECT_EQ(at_batch, (std::vector<int>{0, 10}));
}

TEST(EventLoopTest, RoundIsBounded) {
  EventLoop loop;
  int handlers = 0;
  int most = 0;
  int before = 0;
  const Batch batch = loop.after_batch([&] {
    most = std::max(most, handlers - before);
    before = handlers;
  });
  for (int i = 0; i < 1000; ++i) loop.post([&] { ++handlers; });
  run_until(loop, [&] { return handlers == 1000; });
  EXPECT_LE(most, EventLoop::kMaxRound);
}

TEST(EventLoopTest, BatchDestroyedInsideABatch) {
  EventLoop loop;
  int a = 0;
  int b = 0;
  Batch second;
  Batch first = loop.after_batch([&] {
    ++a;
    second.reset();
    first.reset();
  });
  second = loop.after_batch([&] { ++b; });
  loop.post([&] { loop.stop(); });
  loop.run();
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, 0);
}

TEST(EventLoopTest, PostAndStopFromOtherThreads) {
  EventLoop loop;
  int sum = 0;
  std::thread other{[&] {
    for (int i = 1; i <= 1000; ++i) loop.post([&sum, i] { sum += i; });
    loop.post([&] { loop.stop(); });
  }};
  loop.run();
  other.join();
  EXPECT_EQ(sum, 500'500);
  for (int i = 0; i < 200; ++i) {  // run() may be entered before or after the stop
    std::thread stopper{[&] { loop.stop(); }};
    loop.run();
    stopper.join();
  }
}

TEST(SignalsTest, SignalsArriveOnTheLoopAndSigpipeIsIgnored) {
  EventLoop loop;
  std::vector<Signal> seen;
  {
    Signals signals{loop, [&](Signal s) { seen.push_back(s); }};
    loop.post([] { raise(SIGHUP); });
    run_until(loop, [&] { return seen.size() == 1; });
    loop.post([] { raise(SIGTERM); });
    run_until(loop, [&] { return seen.size() == 2; });
    Pair p;
    p.b.reset();
    EXPECT_EQ(write(p.a.get(), "x", 1), -1);  // would have ended the process
    EXPECT_EQ(errno, EPIPE);
  }
  EXPECT_EQ(seen, (std::vector<Signal>{Signal::hang_up, Signal::terminate}));
}

TEST(ResolverTest, UnknownNamesFailAndAddressesNeedNoQuery) {
  EventLoop loop;
  Resolver resolver{loop};
  std::optional<Result<std::vector<SocketAddress>>> bad, v6, local;
  resolver.resolve("no such name", 1, [&](auto r) { bad = r; });
  resolver.resolve("::1", 53, [&](auto r) { v6 = r; });
  resolver.resolve("localhost", 80, [&](auto r) { local = r; });
  EXPECT_FALSE(v6) << "never before resolve() returned";
  run_until(loop, [&] { return bad && v6 && local; });
  ASSERT_FALSE(*bad);
  EXPECT_NE(bad->error().text.find("no such name"), std::string::npos);
  ASSERT_TRUE(*v6);
  EXPECT_EQ((*v6)->at(0), SocketAddress::parse("[::1]:53").value());
  ASSERT_TRUE(*local) << local->error().text;
  EXPECT_TRUE((*local)->at(0).ip.is_loopback());
}

TEST(ResolverTest, DestroyedResolverCallsNobody) {
  EventLoop loop;
  bool called = false;
  {
    Resolver resolver{loop};
    resolver.resolve("localhost", 80, [&](const auto&) { called = true; });
    resolver.resolve("127.0.0.1", 80, [&](const auto&) { called = true; });
  }
  loop.post([&] { loop.post([&] { loop.stop(); }); });
  loop.run();
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace ztna::os
