// DATAGRAM payloads that wait for a packet. A payload that does not fit the path's packets now (they shrink for a
// moment at a migration) is set aside, so that it does not hold up those behind it, and dropped after a while.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/time.h"
#include "quic/fifo.h"

namespace ztna::quic {

class DatagramQueue {
 public:
  static constexpr std::size_t kMaxHead = 16;
  static constexpr Duration kMaxWaitForPathMtu = 200ms;  // PMTUD recovers in 20-130 ms where the path can carry it

  struct Item {
    std::array<std::uint8_t, kMaxHead> head{};
    std::uint8_t head_size = 0;
    bool is_borrowed = true;
    Bytes borrowed;
    ByteVector owned;
    TimePoint expires{};  // of those set aside

    Bytes head_view() const { return {head.data(), head_size}; }
    Bytes body() const { return is_borrowed ? borrowed : Bytes{owned}; }
    std::size_t size() const { return head_size + body().size(); }
  };

  explicit DatagramQueue(std::size_t limit) : limit_(limit) {}

  bool empty() const { return fresh_.empty() && aside_.empty(); }
  std::size_t bytes() const { return bytes_; }
  /// False: full. `body` is borrowed until own().
  bool push(Bytes head, Bytes body);
  /// The next item that is at most `max` octets; what is larger is set aside on the way. Null: none.
  Item* next(std::size_t max, TimePoint now);
  /// The item behind next() if it, too, is at most `max` octets and no other is in between; null else. Changes nothing.
  const Item* peek_second(std::size_t max) const;
  /// Removes what next() gave.
  void pop();
  /// Copies what is still borrowed.
  void own();
  /// Drops what waited too long aside; returns how many.
  std::size_t expire(TimePoint now);
  /// When expire() has something to do.
  TimePoint deadline() const { return aside_.empty() ? kNever : aside_[0].expires; }
  /// How many were dropped.
  std::size_t clear();

 private:
  static constexpr std::size_t kItemCost = 64;  // so that empty payloads are bounded too

  std::size_t limit_;
  std::size_t bytes_ = 0;
  Fifo<Item> fresh_;
  Fifo<Item> aside_;         // oldest first
  bool from_aside_ = false;  // next() gave aside_'s front
};

}  // namespace ztna::quic
