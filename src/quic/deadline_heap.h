// The next deadline among many owners: O(log n) to change one, O(1) to see the earliest.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/time.h"

namespace ztna::quic {

/// T has a member `std::size_t heap_slot`, kNoSlot while it is not in a heap.
inline constexpr std::size_t kNoSlot = static_cast<std::size_t>(-1);

template <typename T>
class DeadlineHeap {
 public:
  TimePoint earliest() const { return entries_.empty() ? kNever : entries_.front().at; }
  T* top() { return entries_.front().owner; }
  bool empty() const { return entries_.empty(); }

  /// kNever removes.
  void set(T& owner, TimePoint at) {
    if (at == kNever) return remove(owner);
    if (owner.heap_slot == kNoSlot) {
      owner.heap_slot = entries_.size();
      entries_.push_back({at, &owner});
      up(owner.heap_slot);
      return;
    }
    auto& entry = entries_[owner.heap_slot];
    if (entry.at == at) return;
    const bool earlier = at < entry.at;
    entry.at = at;
    earlier ? up(owner.heap_slot) : down(owner.heap_slot);
  }

  void remove(T& owner) {
    const auto slot = owner.heap_slot;
    if (slot == kNoSlot) return;
    owner.heap_slot = kNoSlot;
    const Entry last = entries_.back();
    entries_.pop_back();
    if (slot == entries_.size()) return;
    place(slot, last);
    up(slot);
    down(last.owner->heap_slot);
  }

 private:
  struct Entry {
    TimePoint at;
    T* owner;
  };

  void place(std::size_t slot, Entry entry) {
    entries_[slot] = entry;
    entry.owner->heap_slot = slot;
  }
  void up(std::size_t slot) {
    const Entry moving = entries_[slot];
    while (slot > 0 && moving.at < entries_[(slot - 1) / 2].at) {
      place(slot, entries_[(slot - 1) / 2]);
      slot = (slot - 1) / 2;
    }
    place(slot, moving);
  }
  void down(std::size_t slot) {
    const Entry moving = entries_[slot];
    for (;;) {
      auto child = slot * 2 + 1;
      if (child >= entries_.size()) break;
      if (child + 1 < entries_.size() && entries_[child + 1].at < entries_[child].at) ++child;
      if (entries_[child].at >= moving.at) break;
      place(slot, entries_[child]);
      slot = child;
    }
    place(slot, moving);
  }

  std::vector<Entry> entries_;
};

}  // namespace ztna::quic
