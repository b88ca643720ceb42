#include "agent/waiting.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace ztna::agent {

std::optional<TunFate> Waiting::add(TunFate kind, Bytes packet, TimePoint now) {
  const auto cost = packet.size() + kOverhead;
  if (octets_ + cost > kMaxOctets) return TunFate::queue_full;
  if (!budget_.take(cost)) return TunFate::queue_full_all;
  packets_.push_back({kind, ByteVector{packet.begin(), packet.end()}, now + kPacketWait});
  octets_ += cost;
  return std::nullopt;
}

void Waiting::give(std::size_t octets) {
  octets_ -= octets;
  budget_.give(octets);
}

void Waiting::remove(FlowId flow) {
  std::erase_if(flows_, [&](const WaitingFlow& w) { return w.flow == flow; });
}

std::vector<WaitingPacket> Waiting::take_packets() {
  give(octets_);
  auto all = std::exchange(packets_, {});
  return {std::make_move_iterator(all.begin()), std::make_move_iterator(all.end())};
}

std::vector<WaitingFlow> Waiting::take_flows() {
  const auto all = std::exchange(flows_, {});
  return {all.begin(), all.end()};
}

std::vector<WaitingPacket> Waiting::expired_packets(TimePoint now) {
  std::vector<WaitingPacket> over;
  while (!packets_.empty() && now >= packets_.front().expires) {
    give(packets_.front().octets.size() + kOverhead);
    over.push_back(std::move(packets_.front()));
    packets_.pop_front();
  }
  return over;
}

std::vector<WaitingFlow> Waiting::expired_flows(TimePoint now) {
  std::vector<WaitingFlow> over;
  while (!flows_.empty() && now >= flows_.front().expires) {
    over.push_back(flows_.front());
    flows_.pop_front();
  }
  return over;
}

TimePoint Waiting::deadline() const {
  return std::min(packets_.empty() ? kNever : packets_.front().expires,
                  flows_.empty() ? kNever : flows_.front().expires);
}

}  // namespace ztna::agent
