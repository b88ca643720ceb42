// What one stream has to send: chunks, kept where they are from write() until the peer acknowledged them.
#pragma once

#include <cstdint>
#include <span>

#include "base/chunk.h"
#include "quic/fifo.h"

namespace ztna::quic {

class SendBuffer {
 public:
  SendBuffer() = default;
  /// `total` is kept at the sum of unsent() over all buffers that were given it; it must outlive them.
  explicit SendBuffer(std::size_t& total) : total_(&total) {}
  ~SendBuffer() { count_out(unsent()); }
  SendBuffer(const SendBuffer&) = delete;
  SendBuffer& operator=(const SendBuffer&) = delete;

  void push(Chunk chunk);
  /// Copies, into the last chunk as far as there is room.
  void append(Bytes data);

  std::uint64_t sent() const { return sent_; }  // stream offset of what was not sent yet
  std::size_t unsent() const { return static_cast<std::size_t>(end_ - sent_); }
  /// Fills `views` with the next unsent octets; returns how many views were used. Valid until the octets are
  /// acknowledged.
  std::size_t peek(std::span<Bytes> views) const;
  /// `octets` of what peek() showed went into a packet.
  void mark_sent(std::size_t octets);
  /// All octets below `offset` of the stream were acknowledged: frees whole chunks.
  void acknowledge(std::uint64_t offset);
  /// Frees whole chunks of which nothing was sent; nothing may be written or sent any more.
  void drop_unsent();

 private:
  void count_in(std::size_t octets) {
    end_ += octets;
    if (total_ != nullptr) *total_ += octets;
  }
  void count_out(std::size_t octets) {
    if (total_ != nullptr) *total_ -= octets;
  }

  std::size_t* total_ = nullptr;
  Fifo<Chunk> chunks_;
  std::uint64_t base_ = 0;        // stream offset of the first chunk's first octet
  std::uint64_t sent_ = 0;        // stream offset
  std::uint64_t end_ = 0;         // stream offset
  std::size_t current_ = 0;       // chunk that holds sent_
  std::size_t current_used_ = 0;  // octets of it that were sent
};

}  // namespace ztna::quic
