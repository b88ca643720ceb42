#include "agent/live_flows.h"

#include <functional>
#include <utility>

#include "base/address.h"

namespace ztna::agent {

LiveFlows::Key LiveFlows::key(const wire::ip::PacketView& packet) {
  const std::hash<SocketAddress> hash;
  if (packet.protocol == wire::ip::Protocol::udp) {
    return hash(packet.source()) * 0x9E37'79B9'7F4A'7C15ULL + hash(packet.destination());
  }
  return hash({packet.src, 0}) * 0x9E37'79B9'7F4A'7C15ULL + hash({packet.dst, 0});
}

void LiveFlows::note(Key flow, TimePoint now) {
  age(now);
  if (flow == last_) return;
  last_ = flow;
  if (recent_.size() < kMax) recent_.insert(flow);
}

bool LiveFlows::knows(Key flow, TimePoint now) {
  age(now);
  return recent_.contains(flow) || older_.contains(flow);
}

void LiveFlows::age(TimePoint now) {
  if (now - turned_ < kHalf) return;
  older_ = now - turned_ < 2 * kHalf ? std::exchange(recent_, {}) : std::unordered_set<Key>{};
  recent_.clear();
  turned_ = now;
  last_ = 0;
}

}  // namespace ztna::agent
