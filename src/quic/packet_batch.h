// Collects packets of one path and size into the row that UDP_SEGMENT sends with one system call.
#pragma once

#include <cstdint>
#include <vector>

#include "quic/packet_sink.h"

namespace ztna::quic {

class PacketBatch {
 public:
  static constexpr std::size_t kMaxOctets = 65'000;  // a UDP payload's limit is 65,507
  static constexpr std::size_t kMaxSegments = 64;    // UDP_MAX_SEGMENTS of kernels before 6.9

  PacketBatch() : buffer_(kMaxOctets) {}

  /// Room for one packet of up to `size` octets behind `headroom`; what is collected is sent first if it is in the way.
  MutableBytes space(std::size_t headroom, std::size_t size, PacketSink& sink);
  /// `size` octets of space() became a packet for `path`.
  void add(const Path& path, std::size_t size, PacketSink& sink);
  void flush(PacketSink& sink);

 private:
  std::vector<std::uint8_t> buffer_;
  Path path_;
  std::size_t begin_ = 0;  // the row is [begin_, end_)
  std::size_t end_ = 0;
  std::size_t segment_ = 0;  // headroom included
  std::size_t segments_ = 0;
  std::size_t headroom_ = 0;  // of the last space()
};

}  // namespace ztna::quic
