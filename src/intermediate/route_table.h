// Which route id belongs to whom, and where its packets go: read for every relayed row, written when a route opens or
// closes. Shared by all workers; a reader holds the lock for one run of relayed segments, never while QUIC code runs:
// the hot path pays one lock per run, not per packet.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <unordered_map>

#include "base/time.h"
#include "quic/types.h"
#include "wire/ids.h"

namespace ztna::intermediate {

/// One side's end of a route.
struct RouteEnd {
  wire::RouteId id;
  /// The owner's address as its control connection has validated it: the only source accepted, and where to send.
  quic::Path owner;
  RouteEnd* peer = nullptr;
  /// Throttle (GCRA): when the octets sent so far would be paid for. Approximate when two workers race, and that is
  /// enough.
  mutable std::atomic<std::int64_t> paid_until_ns{0};
};

class RouteTable {
 public:
  /// Error: false if either id is taken.
  bool open(wire::RouteId a, const quic::Path& owner_a, wire::RouteId b, const quic::Path& owner_b);
  /// Both ends vanish; no effect on unknown ids.
  void close(wire::RouteId either);
  /// The owner's control connection moved to a new, validated path.
  void move(wire::RouteId id, const quic::Path& owner);
  std::size_t size() const;

  /// Holds the table still while it lives.
  class Reader {
   public:
    explicit Reader(const RouteTable& table) : table_(table), lock_(table.mutex_) {}
    /// Null: unknown. The pointer holds as long as the reader.
    const RouteEnd* find(wire::RouteId id) const {
      const auto found = table_.ends_.find(id);
      return found == table_.ends_.end() ? nullptr : found->second;
    }

   private:
    const RouteTable& table_;
    std::shared_lock<std::shared_mutex> lock_;
  };

 private:
  struct Pair {
    RouteEnd a, b;
  };
  mutable std::shared_mutex mutex_;
  std::unordered_map<wire::RouteId, RouteEnd*> ends_;
  std::unordered_map<wire::RouteId, std::unique_ptr<Pair>> pairs_;  // by the id of `a`
};

}  // namespace ztna::intermediate
