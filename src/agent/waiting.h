// What waits for a service's tunnel: packets for a short time, and TCP connections whose SYN is held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "agent/packet_fate.h"
#include "agent/tcp_reentry.h"
#include "base/address.h"
#include "base/bytes.h"
#include "base/time.h"

namespace ztna::agent {

struct WaitingPacket {
  TunFate kind = TunFate::carried_udp;  // its fate once it is sent
  ByteVector octets;
  TimePoint expires;
};

struct WaitingFlow {
  FlowId flow;
  SocketAddress dialled;
  TimePoint expires;
};

/// What all services' packets hold together, of the one Agent.
class WaitingBudget {
 public:
  static constexpr std::size_t kMaxOctets = 16U << 20U;  // 16 services that all come up at once

  bool take(std::size_t octets) {
    if (octets > kMaxOctets - used_) return false;
    used_ += octets;
    return true;
  }
  void give(std::size_t octets) { used_ -= octets; }
  std::size_t used() const { return used_; }

 private:
  std::size_t used_ = 0;
};

class Waiting {
 public:
  /// Per service, a packet counted with kOverhead: 789 UDP packets of 1,200 octets over IPv4, or 4,599 of 100.
  static constexpr std::size_t kMaxOctets = 1U << 20U;
  static constexpr std::size_t kOverhead = 100;  // what the queue and the allocator add to a packet
  static constexpr Duration kPacketWait = 2s;    // older news help nobody
  static constexpr Duration kFlowWait = 5s;      // then the user hears that the service cannot be reached

  /// `budget` must outlive it.
  explicit Waiting(WaitingBudget& budget) : budget_(budget) {}
  ~Waiting() { budget_.give(octets_); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  bool empty() const { return packets_.empty() && flows_.empty(); }
  std::size_t packets() const { return packets_.size(); }
  std::size_t flows() const { return flows_.size(); }
  /// As the limits count them.
  std::size_t octets() const { return octets_; }

  /// Copies the packet. Else why there is no room: queue_full (of this service), queue_full_all.
  std::optional<TunFate> add(TunFate kind, Bytes packet, TimePoint now);
  void add(FlowId flow, const SocketAddress& dialled, TimePoint now) {
    flows_.push_back({flow, dialled, now + kFlowWait});
  }
  /// What take_flows() gave, in its order, with the time that it has left.
  void put_back(const WaitingFlow& flow) { flows_.push_back(flow); }
  void remove(FlowId flow);

  std::vector<WaitingPacket> take_packets();
  std::vector<WaitingFlow> take_flows();
  /// Those whose time is over.
  std::vector<WaitingPacket> expired_packets(TimePoint now);
  std::vector<WaitingFlow> expired_flows(TimePoint now);
  TimePoint deadline() const;

 private:
  void give(std::size_t octets);

  WaitingBudget& budget_;
  std::deque<WaitingPacket> packets_;
  std::deque<WaitingFlow> flows_;
  std::size_t octets_ = 0;
};

}  // namespace ztna::agent
