// Blocks of octets on their way between a socket and a stream: read into once, sent from in place, freed once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace ztna {

/// Owns a block; the octets in use are [begin, end). Movable.
class Chunk {
 public:
  static constexpr std::size_t kCapacity = 32 * 1024;

  Chunk() = default;
  static Chunk allocate() {
    Chunk c;
    c.block_ = std::make_unique_for_overwrite<std::uint8_t[]>(kCapacity);
    return c;
  }

  explicit operator bool() const { return block_ != nullptr; }
  Bytes data() const { return {block_.get() + begin_, end_ - begin_}; }
  std::size_t size() const { return end_ - begin_; }
  /// Where the next octets go; call grow() with how many were put there.
  MutableBytes space() { return block_ ? MutableBytes{block_.get() + end_, kCapacity - end_} : MutableBytes{}; }
  void grow(std::size_t n) { end_ += n; }
  void consume(std::size_t n) { begin_ += n; }

 private:
  std::unique_ptr<std::uint8_t[]> block_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace ztna
