#include "support/sim_nat.h"

namespace ztna::test {

using wire::NatFiltering;
using wire::NatMapping;

SimNat::SimNat(SimNetwork& network, Config config, SimNat* upstream)
    : network_(network),
      config_(std::move(config)),
      upstream_(upstream),
      next_port_(static_cast<std::uint16_t>(20'000 + network.random().below(20'000))) {
  if (config_.mapping == NatMapping::none) return;  // its hosts' addresses are attached one by one
  const auto receiver = [this](const SimPacket& p) { receive(p); };
  upstream_ != nullptr ? upstream_->attach_ip(config_.outside, receiver)
                       : network_.attach_ip(config_.outside, receiver);
}

void SimNat::attach(const SocketAddress& inside, SimNetwork::Receiver receiver) {
  hosts_[inside] = std::move(receiver);
  if (config_.mapping == NatMapping::none) network_.attach_ip(inside.ip, [this](const SimPacket& p) { receive(p); });
}

void SimNat::attach_ip(const IpAddress& inside, SimNetwork::Receiver receiver) {
  host_ips_[inside] = std::move(receiver);
}

bool SimNat::is_inside(const SocketAddress& address) const {
  return hosts_.contains(address) || host_ips_.contains(address.ip);
}

void SimNat::deliver(SimPacket packet) {
  network_.at(network_.now() + config_.inside_delay, [this, packet = std::move(packet)] {
    if (const auto it = hosts_.find(packet.to); it != hosts_.end()) {
      const auto receiver = it->second;  // which may detach itself
      return receiver(packet);
    }
    if (const auto it = host_ips_.find(packet.to.ip); it != host_ips_.end()) it->second(packet);
  });
}

std::uint16_t SimNat::free_port(std::uint16_t wanted) {
  auto port = wanted;
  while (port < 1024 || by_port_.contains(port)) {
    port = config_.ports == Ports::sequential ? next_port_++
                                              : static_cast<std::uint16_t>(1024 + network_.random().below(64'512));
  }
  return port;
}

std::uint16_t SimNat::external_port(const SocketAddress& inside, const SocketAddress& remote) {
  Key key{.inside = inside};
  if (config_.mapping != NatMapping::endpoint_independent) key.remote = remote.ip;
  if (config_.mapping == NatMapping::address_and_port_dependent) key.remote_port = remote.port;
  const auto now = network_.now();
  if (const auto it = by_key_.find(key); it != by_key_.end()) {
    if (now - by_port_.at(it->second).used <= config_.timeout) return it->second;
    by_port_.erase(it->second);
    by_key_.erase(it);
  }
  const auto port = free_port(config_.ports == Ports::preserving ? inside.port : std::uint16_t{0});
  by_key_[key] = port;
  by_port_[port] = {.key = key, .used = now};
  return port;
}

bool SimNat::admits(const Mapping& mapping, const SocketAddress& remote) const {
  const auto fresh = [&](TimePoint sent) { return network_.now() - sent <= config_.timeout; };
  switch (config_.filtering) {
    case NatFiltering::unknown:
    case NatFiltering::none:
    case NatFiltering::endpoint_independent: return true;
    case NatFiltering::address_dependent:
      for (const auto& [address, sent] : mapping.sent_to) {
        if (address.ip == remote.ip && fresh(sent)) return true;
      }
      return false;
    case NatFiltering::address_and_port_dependent: {
      const auto it = mapping.sent_to.find(remote);
      return it != mapping.sent_to.end() && fresh(it->second);
    }
  }
  return false;
}

void SimNat::send(const SimPacket& packet) {
  if (is_inside(packet.to)) return deliver(packet);
  if (config_.permits && !config_.permits(packet.to)) return;
  auto out = packet;
  if (config_.mapping == NatMapping::none) {
    firewall_[packet.from].sent_to[packet.to] = network_.now();
  } else {
    out.from = {config_.outside, external_port(packet.from, packet.to)};
    auto& mapping = by_port_.at(out.from.port);
    mapping.used = network_.now();
    mapping.sent_to[packet.to] = network_.now();
    if (packet.to.ip == config_.outside) {
      if (config_.hairpin) receive(out);
      return;
    }
  }
  upstream_ != nullptr ? upstream_->send(out) : network_.send(std::move(out));
}

void SimNat::receive(const SimPacket& packet) {
  auto in = packet;
  const Mapping* mapping = nullptr;
  static const Mapping kClosed{};
  if (config_.mapping == NatMapping::none) {
    const auto it = firewall_.find(packet.to);
    mapping = it != firewall_.end() ? &it->second : &kClosed;
  } else if (const auto it = by_port_.find(packet.to.port);
             it != by_port_.end() && network_.now() - it->second.used <= config_.timeout) {
    mapping = &it->second;
    in.to = mapping->key.inside;
  }
  if (mapping == nullptr || !admits(*mapping, packet.from) || (config_.permits && !config_.permits(packet.from))) {
    ++kept_out;
    return;
  }
  deliver(std::move(in));
}

}  // namespace ztna::test
