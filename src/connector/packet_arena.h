// Memory for packets that are made here and borrowed by the QUIC layer until the next flush: taken by bumping a
// pointer, given back all at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace ztna::connector {

class PacketArena {
 public:
  static constexpr std::size_t kBlock = 256 * 1024;
  /// Blocks kept for the next batch (4 MiB).
  static constexpr std::size_t kKeep = 16;

  /// `size` octets, at most kBlock, uninitialised, valid until release().
  MutableBytes take(std::size_t size) {
    if (current_ == blocks_.size() || kBlock - at_ < size) {
      if (current_ < blocks_.size()) ++current_;
      if (current_ == blocks_.size()) blocks_.push_back(std::make_unique_for_overwrite<std::uint8_t[]>(kBlock));
      at_ = 0;
    }
    const MutableBytes out{blocks_[current_].get() + at_, size};
    at_ += size;
    used_ += size;
    return out;
  }
  std::size_t used() const { return used_; }
  void release() {
    if (blocks_.size() > kKeep) blocks_.resize(kKeep);
    current_ = at_ = used_ = 0;
  }

 private:
  std::vector<std::unique_ptr<std::uint8_t[]>> blocks_;
  std::size_t current_ = 0;  // == blocks_.size(): none yet
  std::size_t at_ = 0;
  std::size_t used_ = 0;
};

}  // namespace ztna::connector
