#include "quic/send_buffer.h"

#include <algorithm>

namespace ztna::quic {

void SendBuffer::push(Chunk chunk) {
  if (chunk.size() == 0) return;
  count_in(chunk.size());
  chunks_.push(std::move(chunk));
}

void SendBuffer::append(Bytes data) {
  while (!data.empty()) {
    if (chunks_.empty() || chunks_.back().space().empty()) chunks_.push(Chunk::allocate());
    const auto space = chunks_.back().space();
    const auto n = std::min(space.size(), data.size());
    std::copy_n(data.begin(), n, space.begin());
    chunks_.back().grow(n);
    count_in(n);
    data = data.subspan(n);
  }
}

std::size_t SendBuffer::peek(std::span<Bytes> views) const {
  std::size_t used = 0;
  std::size_t skip = current_used_;
  for (std::size_t i = current_; i < chunks_.size() && used < views.size(); ++i) {
    const auto rest = chunks_[i].data().subspan(skip);
    skip = 0;
    if (!rest.empty()) views[used++] = rest;
  }
  return used;
}

void SendBuffer::mark_sent(std::size_t octets) {
  sent_ += octets;
  count_out(octets);
  while (octets > 0) {
    const auto left = chunks_[current_].size() - current_used_;
    const auto n = std::min(left, octets);
    current_used_ += n;
    octets -= n;
    // The last chunk stays current while append() may still grow it.
    if (current_used_ == chunks_[current_].size() && current_ + 1 < chunks_.size()) {
      ++current_;
      current_used_ = 0;
    }
  }
}

void SendBuffer::acknowledge(std::uint64_t offset) {
  while (!chunks_.empty() && base_ + chunks_.front().size() <= std::min(offset, sent_)) {
    base_ += chunks_.front().size();
    chunks_.pop();
    if (current_ > 0) {
      --current_;
    } else {
      current_used_ = 0;
    }
  }
  if (chunks_.empty()) chunks_.release();
}

void SendBuffer::drop_unsent() {
  chunks_.truncate(current_ + (current_used_ > 0 ? 1 : 0));
  count_out(unsent());
  end_ = sent_;
}

}  // namespace ztna::quic
