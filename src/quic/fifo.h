// A queue in one block of memory that costs nothing while it is empty (std::deque allocates at once).
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace ztna::quic {

template <typename T>
class Fifo {
 public:
  bool empty() const { return head_ == items_.size(); }
  std::size_t size() const { return items_.size() - head_; }
  T& front() { return items_[head_]; }
  T& back() { return items_.back(); }
  T& operator[](std::size_t i) { return items_[head_ + i]; }
  const T& operator[](std::size_t i) const { return items_[head_ + i]; }
  void push(T item) { items_.push_back(std::move(item)); }

  void pop() {
    items_[head_] = T{};
    if (++head_ == items_.size()) {
      items_.clear();
      head_ = 0;
    } else if (head_ >= 32 && head_ * 2 >= items_.size()) {  // moves each item once on average
      items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }
  /// Keeps the first `size` items.
  void truncate(std::size_t size) {
    while (this->size() > size) items_.pop_back();
  }
  void clear() {
    items_.clear();
    head_ = 0;
  }
  /// Gives the memory back too.
  void release() {
    std::vector<T>().swap(items_);
    head_ = 0;
  }

 private:
  std::vector<T> items_;
  std::size_t head_ = 0;
};

}  // namespace ztna::quic
