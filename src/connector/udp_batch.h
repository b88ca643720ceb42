// Consecutive datagrams of one flow and one size leave with one system call (UDP_SEGMENT).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/time.h"

namespace ztna::connector {

/// Who sends what was collected.
class UdpBatchTarget {
 public:
  virtual ~UdpBatchTarget() = default;
  /// `datagrams` of `segment` octets each, the last may be shorter (segment >= row.size(): one, maybe empty).
  virtual void send_batch(Bytes row, std::size_t segment, std::size_t datagrams, TimePoint now) = 0;
};

/// One for all flows of a Connector: it holds datagrams of one flow at a time.
class UdpBatch {
 public:
  static constexpr std::size_t kMaxDatagrams = 64;   // UDP_MAX_SEGMENTS of kernels before 6.9
  static constexpr std::size_t kMaxOctets = 65'000;  // below what an IPv4 packet carries
  static constexpr std::size_t kMaxSegment = 1'400;  // larger ones may not fit the backend's MTU, which GSO requires

  UdpBatch() { row_.reserve(kMaxOctets); }

  void add(UdpBatchTarget& target, Bytes payload, TimePoint now) {
    const bool joins = target_ == &target && !ended_ && datagrams_ < kMaxDatagrams && payload.size() <= segment_ &&
                       !payload.empty() && row_.size() + payload.size() <= kMaxOctets;
    if (!joins) flush(now);
    if (payload.empty() || payload.size() > kMaxSegment) {
      target.send_batch(payload, payload.size(), 1, now);
      return;
    }
    if (target_ == nullptr) {
      target_ = &target;
      segment_ = payload.size();
    }
    row_.insert(row_.end(), payload.begin(), payload.end());
    ++datagrams_;
    ended_ = payload.size() < segment_;
  }
  void flush(TimePoint now) {
    if (target_ == nullptr) return;
    auto* target = target_;
    target_ = nullptr;
    target->send_batch(row_, segment_, datagrams_, now);
    row_.clear();
    datagrams_ = 0;
    ended_ = false;
  }
  /// `target` is going away: what it has not sent yet leaves now.
  void forget(UdpBatchTarget& target, TimePoint now) {
    if (target_ == &target) flush(now);
  }

 private:
  UdpBatchTarget* target_ = nullptr;
  ByteVector row_;  // never shrinks: no allocation after the first
  std::size_t segment_ = 0;
  std::size_t datagrams_ = 0;
  bool ended_ = false;  // a shorter one was the last
};

}  // namespace ztna::connector
