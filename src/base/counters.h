// Counters for hot paths: one relaxed atomic add, read by the metrics page from another thread.
//
// Every packet has exactly one counted fate (docs/life-of-a-packet.md): declare the fates as an enum whose last member
// is `count_`, count with `fates.add(Fate::bad_checksum)`.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ztna {

class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  void sub(std::uint64_t n = 1) { value_.fetch_sub(n, std::memory_order_relaxed); }
  void set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

template <typename Enum>
class CounterSet {
 public:
  static constexpr std::size_t kSize = static_cast<std::size_t>(Enum::count_);
  void add(Enum which, std::uint64_t n = 1) { counters_[static_cast<std::size_t>(which)].add(n); }
  std::uint64_t value(Enum which) const { return counters_[static_cast<std::size_t>(which)].value(); }
  std::uint64_t total() const {
    std::uint64_t sum = 0;
    for (const auto& c : counters_) sum += c.value();
    return sum;
  }

 private:
  std::array<Counter, kSize> counters_{};
};

}  // namespace ztna
