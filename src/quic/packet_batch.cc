#include "quic/packet_batch.h"

#include <algorithm>
#include <cstring>

namespace ztna::quic {

MutableBytes PacketBatch::space(std::size_t headroom, std::size_t size, PacketSink& sink) {
  if (buffer_.size() - end_ < headroom + size) {
    flush(sink);
    begin_ = end_ = 0;
    if (buffer_.size() < headroom + size) buffer_.resize(headroom + size);  // only with a huge max_udp_payload
  }
  headroom_ = headroom;
  return MutableBytes{buffer_}.subspan(end_ + headroom, size);
}

void PacketBatch::add(const Path& path, std::size_t size, PacketSink& sink) {
  const auto headroom = sink.headroom(path);
  if (headroom != headroom_) {  // the packet goes to another path than space() was asked for
    const auto at = end_ + headroom_;
    if (end_ + headroom + size > buffer_.size()) buffer_.resize(end_ + headroom + size);
    std::memmove(buffer_.data() + end_ + headroom, buffer_.data() + at, size);
    headroom_ = headroom;
  }
  const auto whole = headroom + size;
  const bool joins = segments_ > 0 && path == path_ && whole <= segment_;
  if (!joins) {
    const auto packet_begin = end_;
    flush(sink);
    begin_ = end_ = packet_begin;  // the packet stays where it is
    path_ = path;
    segment_ = whole;
  }
  end_ += whole;
  ++segments_;
  if (whole < segment_ || segments_ == kMaxSegments) flush(sink);
}

void PacketBatch::flush(PacketSink& sink) {
  if (segments_ > 0) sink.send(path_, MutableBytes{buffer_}.subspan(begin_, end_ - begin_), segment_);
  segments_ = 0;
  begin_ = end_ = 0;
}

}  // namespace ztna::quic
