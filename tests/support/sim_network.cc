#include "support/sim_network.h"

#include <algorithm>

namespace ztna::test {

SimNetwork::Way& SimNetwork::way(const IpAddress& from, const IpAddress& to) {
  const auto it = ways_.find({from, to});
  return it != ways_.end() ? it->second : ways_.emplace(std::pair{from, to}, Way{defaults, {}}).first->second;
}

LinkProperties& SimNetwork::link(const IpAddress& from, const IpAddress& to) { return way(from, to).properties; }

void SimNetwork::set_links(const IpAddress& a, const IpAddress& b, const LinkProperties& properties) {
  link(a, b) = properties;
  link(b, a) = properties;
}

void SimNetwork::nat(const SocketAddress& inside, const SocketAddress& outside) {
  if (const auto it = nat_out_.find(inside); it != nat_out_.end()) nat_in_.erase(it->second);
  nat_out_[inside] = outside;
  nat_in_[outside] = inside;
}

void SimNetwork::at(TimePoint at, std::function<void()> call) {
  events_.push({std::max(at, now_), next_order_++, std::move(call)});
}

void SimNetwork::send(SimPacket packet) {
  if (tap && !tap(packet)) {
    ++dropped;
    return;
  }
  auto& way = this->way(packet.from.ip, packet.to.ip);
  const auto& p = way.properties;
  if (p.blocked || packet.payload.size() > p.mtu || random_.unit() < p.loss) {
    ++dropped;
    return;
  }
  auto leaves = now_;
  if (p.rate > 0) {
    leaves = std::max(leaves, way.free_at);
    const auto waiting = std::chrono::duration<double>(leaves - now_).count() * static_cast<double>(p.rate);
    if (waiting > static_cast<double>(p.queue)) {
      ++dropped;
      return;
    }
    leaves += Duration{
        static_cast<std::int64_t>(1e9 * static_cast<double>(packet.payload.size() + 28) / static_cast<double>(p.rate))};
    way.free_at = leaves;
  }
  if (const auto it = nat_out_.find(packet.from); it != nat_out_.end()) packet.from = it->second;
  const auto copies = random_.unit() < p.duplication ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    auto copy = packet;
    if (!copy.payload.empty() && random_.unit() < p.corruption) {
      copy.payload[random_.below(copy.payload.size())] ^= static_cast<std::uint8_t>(1 + random_.below(255));
    }
    const auto extra = p.jitter > 0s
                           ? Duration{static_cast<std::int64_t>(random_.unit() * static_cast<double>(p.jitter.count()))}
                           : 0s;
    at(leaves + p.delay + extra, [this, copy = std::move(copy)] { deliver(copy); });
  }
}

void SimNetwork::deliver(const SimPacket& packet) {
  auto to = packet.to;
  if (const auto it = nat_in_.find(to); it != nat_in_.end()) to = it->second;
  const auto it = hosts_.find(to);
  const auto ip = host_ips_.find(to.ip);
  if (it == hosts_.end() && ip == host_ips_.end()) {
    ++dropped;
    return;
  }
  ++delivered;
  SimPacket arrived = packet;
  arrived.to = to;
  it != hosts_.end() ? it->second(arrived) : ip->second(arrived);
}

void SimNetwork::advance(TimePoint to) {
  now_ = std::max(now_, to);
  while (!events_.empty() && events_.top().at <= now_) {
    auto run = std::move(const_cast<Event&>(events_.top()).run);  // popped at once: the order does not see it
    events_.pop();
    run();
  }
}

}  // namespace ztna::test
