#include "quic/datagram_queue.h"

#include <algorithm>

namespace ztna::quic {

bool DatagramQueue::push(Bytes head, Bytes body) {
  const auto cost = head.size() + body.size() + kItemCost;
  if (bytes_ + cost > limit_) return false;
  bytes_ += cost;
  Item item;
  item.head_size = static_cast<std::uint8_t>(head.size());
  std::ranges::copy(head, item.head.begin());
  item.borrowed = body;
  fresh_.push(std::move(item));
  return true;
}

DatagramQueue::Item* DatagramQueue::next(std::size_t max, TimePoint now) {
  if (!aside_.empty() && aside_.front().size() <= max) {
    from_aside_ = true;
    return &aside_.front();
  }
  from_aside_ = false;
  while (!fresh_.empty()) {
    if (fresh_.front().size() <= max) return &fresh_.front();
    Item item = std::move(fresh_.front());
    fresh_.pop();
    item.expires = now + kMaxWaitForPathMtu;
    aside_.push(std::move(item));
  }
  return nullptr;
}

const DatagramQueue::Item* DatagramQueue::peek_second(std::size_t max) const {
  const auto& queue = from_aside_ ? aside_ : fresh_;
  if (queue.size() < 2 || queue[1].size() > max) return nullptr;
  return &queue[1];
}

void DatagramQueue::pop() {
  auto& queue = from_aside_ ? aside_ : fresh_;
  bytes_ -= queue.front().size() + kItemCost;
  queue.pop();
}

void DatagramQueue::own() {
  const auto take = [](Fifo<Item>& queue) {
    // Borrowed items are the newest ones: stop at the first that is owned.
    for (std::size_t i = queue.size(); i > 0; --i) {
      auto& item = queue[i - 1];
      if (!item.is_borrowed) break;
      item.owned.assign(item.borrowed.begin(), item.borrowed.end());
      item.is_borrowed = false;
    }
  };
  take(fresh_);
  take(aside_);
}

std::size_t DatagramQueue::expire(TimePoint now) {
  std::size_t dropped = 0;
  while (!aside_.empty() && aside_.front().expires <= now) {
    bytes_ -= aside_.front().size() + kItemCost;
    aside_.pop();
    ++dropped;
  }
  return dropped;
}

std::size_t DatagramQueue::clear() {
  const auto dropped = fresh_.size() + aside_.size();
  fresh_.release();
  aside_.release();
  bytes_ = 0;
  return dropped;
}

}  // namespace ztna::quic
