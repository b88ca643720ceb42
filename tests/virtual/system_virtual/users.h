// What users of a world with an Agent do while its paths change: a UDP echo of 1,000 packets a second, and a TCP
// connection whose octets come back. World has: user, service, out(), in(), run_for(), run_until(), now(), agent.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <utility>

#include "virtual/system_virtual/agent_world.h"

namespace ztna::test {

inline constexpr Duration kWaiting = 10ms;  // pace of an EchoUser while nothing is to happen

/// A datagram of its own each millisecond, and what comes back of them.
template <typename World>
class EchoUser {
 public:
  explicit EchoUser(World& world, std::size_t size = 100) : world_(world), size_(size) {}

  /// A packet each `pace`: 1,000 a second while something happens, fewer while a test only waits.
  void run(Duration time, Duration pace = 1ms) {
    for (const auto end = world_.now() + time; world_.now() < end;) {
      ByteVector body(size_, 0x65);
      for (unsigned i = 0; i < 8; ++i) body[i] = static_cast<std::uint8_t>(sent_ >> (56U - 8U * i));
      ++sent_;
      world_.out(*wire::ip::build_udp_packet(world_.user, world_.service, body));
      world_.run_for(pace);
      take();
      if (each) each();
    }
  }
  /// Nothing more is sent; what is under way arrives.
  void settle() {
    world_.run_for(2s);
    take();
    last_ = TimePoint{};  // the pause is ours
  }
  std::uint64_t lost() const { return sent_ - seen_.size(); }
  std::uint64_t duplicates() const { return duplicates_; }
  /// Longest time without an answer since the last call.
  Duration gap() { return std::exchange(gap_, Duration{}); }
  std::function<void()> each;

 private:
  void take() {
    for (const auto& written : world_.in()) {
      const auto view = written.view();
      if (view.protocol != wire::ip::Protocol::udp || view.l4_payload.size() != size_) continue;
      std::uint64_t number = 0;
      for (unsigned i = 0; i < 8; ++i) number = number << 8U | view.l4_payload[i];
      if (!seen_.insert(number).second) ++duplicates_;
      last_ = world_.now();
    }
    if (last_ != TimePoint{}) gap_ = std::max<Duration>(gap_, world_.now() - last_);
  }
  World& world_;
  std::size_t size_;
  std::uint64_t sent_ = 0;
  std::uint64_t duplicates_ = 0;
  std::set<std::uint64_t> seen_;
  TimePoint last_{};
  Duration gap_{};
};

/// A TCP connection whose octets come back, at most 400 KB/s.
template <typename World>
class TcpUser {
 public:
  explicit TcpUser(World& world, std::uint16_t from = 5000) {
    using namespace agent::testing;
    world.in();
    world.out(tcp({world.user.ip, from}, {world.service.ip, 80}, wire::ip::TcpFlags::kSyn));
    world.run_until(
        [&] {
          for (const auto& written : world.in()) {
            const auto view = written.view();
            if (view.protocol != wire::ip::Protocol::tcp || view.dst_port != 40'000) continue;
            events_ = world.agent->accepted(view.source(), std::make_unique<PlayedPort>(wire_), world.now());
          }
          return events_ != nullptr;
        },
        5s);
  }
  bool open() const { return events_ != nullptr; }
  void step() {
    if (wire_->to_agent.size() < 4096) {
      for (int i = 0; i < 400; ++i) wire_->to_agent += octet(written_++);
    }
    events_->on_readable();
    for (const char c : wire_->from_agent) wrong_ += c == octet(read_++) ? 0U : 1U;
    wire_->from_agent.clear();
  }
  bool broken() const { return wire_->aborted || wire_->shut; }
  std::uint64_t wrong() const { return wrong_; }
  std::uint64_t read() const { return read_; }

 private:
  static char octet(std::uint64_t n) { return static_cast<char>('a' + n * 7 % 26); }
  std::shared_ptr<agent::testing::Wire> wire_ = std::make_shared<agent::testing::Wire>();
  agent::TcpEvents* events_ = nullptr;
  std::uint64_t written_ = 0, read_ = 0, wrong_ = 0;
};

}  // namespace ztna::test
