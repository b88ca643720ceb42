#include "support/sim_quic.h"

#include <algorithm>

namespace ztna::test {

SimEndpoint::SimEndpoint(SimNetwork& network, quic::EndpointOptions options, quic::Acceptor* acceptor,
                         std::uint64_t seed)
    : network_(network), random_(seed), endpoint_(quic::Endpoint::create(options, random_, acceptor)) {}

void SimEndpoint::bind(const SocketAddress& address) {
  network_.attach(address, [this](const SimPacket& packet) {
    const auto path = path_of ? path_of(packet) : quic::Path{packet.to, packet.from};
    ++fates[endpoint_->receive(path, packet.payload, network_.now(), *this)];
  });
}

void SimEndpoint::restart(quic::EndpointOptions options, quic::Acceptor* acceptor) {
  endpoint_ = quic::Endpoint::create(options, random_, acceptor);
}

void SimEndpoint::flush() { endpoint_->flush(network_.now(), *this); }

void SimEndpoint::on_deadline() { endpoint_->on_deadline(network_.now()); }

void SimEndpoint::send(const quic::Path& path, MutableBytes buffer, std::size_t segment) {
  ++batches_sent;
  for (std::size_t at = 0; at < buffer.size(); at += segment) {
    const auto whole = buffer.subspan(at, std::min(segment, buffer.size() - at));
    std::ranges::fill(whole.first(headroom_octets), std::uint8_t{0xAA});  // what the sink may do
    const auto packet = whole.subspan(headroom_octets);
    ++packets_sent;
    largest_sent = std::max(largest_sent, packet.size());
    ByteVector payload(packet.begin(), packet.end());
    network_.send(packet_for ? packet_for(path, std::move(payload))
                             : SimPacket{path.local, path.remote, std::move(payload)});
  }
}

SimEndpoint& SimWorld::add(quic::EndpointOptions options, quic::Acceptor* acceptor) {
  endpoints_.push_back(std::make_unique<SimEndpoint>(network, options, acceptor, seed_ * 31 + endpoints_.size() + 1));
  return *endpoints_.back();
}

bool SimWorld::run_until(const std::function<bool()>& done, Duration limit) {
  const auto end = now() + limit;
  for (;;) {
    for (auto& endpoint : endpoints_) endpoint->flush();
    if (done()) return true;
    auto next = network.next_event();
    for (auto& endpoint : endpoints_) next = std::min(next, endpoint->deadline());
    if (next > end) {
      network.advance(end);
      return done();
    }
    network.advance(std::max(next, now()));
    for (auto& endpoint : endpoints_) {
      if (endpoint->deadline() <= now()) endpoint->on_deadline();
    }
  }
}

}  // namespace ztna::test
