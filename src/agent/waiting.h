// What waits for a service's tunnel: a few packets for a short time, and TCP connections whose SYN is held.
#pragma once

#include <cstdint>
#include <deque>
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

class Waiting {
 public:
  static constexpr std::size_t kMaxPackets = 64;
  static constexpr std::size_t kMaxOctets = 512 * 1024;  // a few of the longest datagrams
  static constexpr Duration kPacketWait = 2s;
  static constexpr Duration kFlowWait = 5s;  // then the user hears that the service cannot be reached

  bool empty() const { return packets_.empty() && flows_.empty(); }
  std::size_t packets() const { return packets_.size(); }
  std::size_t flows() const { return flows_.size(); }

  /// Copies the packet. False: full.
  bool add(TunFate kind, Bytes packet, TimePoint now);
  void add(FlowId flow, const SocketAddress& dialled, TimePoint now) {
    flows_.push_back({flow, dialled, now + kFlowWait});
  }
  void remove(FlowId flow);

  std::vector<WaitingPacket> take_packets();
  std::vector<WaitingFlow> take_flows();
  /// Those whose time is over.
  std::vector<WaitingPacket> expired_packets(TimePoint now);
  std::vector<WaitingFlow> expired_flows(TimePoint now);
  TimePoint deadline() const;

 private:
  std::deque<WaitingPacket> packets_;
  std::deque<WaitingFlow> flows_;
  std::size_t octets_ = 0;
};

}  // namespace ztna::agent
