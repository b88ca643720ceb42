// An AgentWorld whose Connector can be reached directly: it answers signaling and probes, and its tunnels' packets go
// where they come from.
//
//   user (the test) -- TUN -- Agent 198.51.100.9:5000 ==== relay of the played Intermediate ==== played Connector
//                                   \==================== direct ==================/ 203.0.113.7:4434
#pragma once

#include <algorithm>

#include "tunnel/punching.h"
#include "virtual/system_virtual/agent_users.h"
#include "virtual/system_virtual/users.h"

namespace ztna::agent::testing {

class DirectWorld : public AgentWorld, private tunnel::PunchingOwner {
 public:
  explicit DirectWorld(Duration rtt = 30ms, bool enabled = true) : AgentWorld(setup_of(enabled)) {
    network.defaults.delay = rtt / 2;
    const auto relayed = std::move(connector.packet_for);
    connector.packet_for = [this, relayed](const quic::Path& path, ByteVector payload) {
      if (path.local == connector_at) return SimPacket{connector_at, path.remote, std::move(payload)};
      return relayed(path, std::move(payload));
    };
    network.attach(connector_at, [this](const SimPacket& packet) {
      if (wire::classify(packet.payload) == wire::PayloadKind::probe) {
        punching.on_probe(tunnel::kMainSocket, packet.from, packet.payload, network.now());
      } else {
        connector->receive({connector_at, packet.from}, packet.payload, network.now(), connector);
      }
    });
    punching.set_hosts({host("203.0.113.7")}, now());
    when_heard = [this](const wire::ControlMessage& message) { signal(message); };
    agent->set_hosts({host("198.51.100.9")}, now());
    tick();
  }

  static path::HostAddress host(const char* address) { return {ip(address), 24, "eth0", 2, true}; }

  bool direct() const {
    const auto tunnels_now = agent->snapshot(now()).tunnels;
    return !tunnels_now.empty() && tunnels_now[0].path == "direct";
  }
  PathStatus way() const { return agent->snapshot(now()).services.at(0).way.value_or(PathStatus{}); }
  bool go_direct(Duration limit = 3s) {
    return run_until([&] { return registered(); }) && echoed(*this, 10) && run_until([&] { return direct(); }, limit);
  }
  test::LinkProperties& out_link() { return network.link(agent_at.ip, connector_at.ip); }
  test::LinkProperties& back_link() { return network.link(connector_at.ip, agent_at.ip); }
  void block(bool blocked) { out_link().blocked = back_link().blocked = blocked; }
  void relay_works(bool works) {
    network.link(agent_at.ip, intermediate_at.ip).blocked = !works;
    network.link(intermediate_at.ip, agent_at.ip).blocked = !works;
  }
  template <typename M>
  std::size_t heard_of() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(heard, [](const auto& m) { return std::holds_alternative<M>(m); }));
  }

  const SocketAddress connector_at = at("203.0.113.7", 4434);
  bool answers_signaling = true;
  bool starts_punching = true;
  wire::NatMapping peer_mapping = wire::NatMapping::none;
  wire::NatFiltering peer_filtering = wire::NatFiltering::none;
  std::vector<wire::Candidate> extra_candidates;  // of the Connector
  wire::SessionId last_session;
  wire::TunnelId last_tunnel;

  struct Port final : tunnel::UdpPort {
    explicit Port(DirectWorld& w) : world(w) {}
    void send(const SocketAddress& to, Bytes row, std::size_t) override {
      world.network.send({world.connector_at, to, ByteVector{row.begin(), row.end()}});
    }
    bool writable() const override { return true; }
    DirectWorld& world;
  };
  Port port{*this};
  tunnel::Punching punching{wire::Role::connector, port, random, *this, {4434, 0, {}, {}}};

 private:
  static Setup setup_of(bool enabled) {
    Setup setup;
    setup.direct.enabled = enabled;
    setup.direct.local.port_v4 = 5000;
    setup.direct.local.tunnels = {*Prefix::parse("10.100.0.0/24")};
    return setup;
  }
  void tick() {
    if (now() >= punching.deadline()) punching.on_deadline(now());
    network.at(now() + 5ms, [this] { tick(); });
  }
  void signal(const wire::ControlMessage& message) {
    const auto* offer = std::get_if<wire::CandidateOffer>(&message);
    if (offer == nullptr || !answers_signaling) return;
    last_session = offer->session;
    last_tunnel = offer->tunnel;
    const bool first = punching.find(offer->session) == nullptr;
    if (first) (void)punching.begin(offer->session, offer->tunnel, *tunnels.last().connection, now());
    punching.add_remote(offer->session, offer->candidates, now());
    auto own = punching.take_untold(offer->session);
    own.insert(own.end(), extra_candidates.begin(), extra_candidates.end());
    intermediate_says(wire::CandidateAnswer{offer->session, offer->tunnel, peer_mapping, peer_filtering, own});
    if (!first || !starts_punching) return;
    intermediate_says(wire::StartPunching{offer->session, 0});
    punching.start(offer->session, 0ms, now());
  }
  // tunnel::PunchingOwner
  void on_punched(const wire::SessionId&, const wire::TunnelId&, const path::PunchSession&) override {}
  void on_not_punched(const wire::SessionId&, const wire::TunnelId&, const path::PunchSession&) override {}
  void on_local_changed() override {}
  void on_search_found(const wire::SessionId&, const wire::TunnelId&, const path::BirthdaySearch::Found&) override {}
  void on_search_failed(const wire::SessionId&, const wire::TunnelId&, tunnel::SearchEnd) override {}
};

using Echo = test::EchoUser<DirectWorld>;
using TcpEcho = test::TcpUser<DirectWorld>;

}  // namespace ztna::agent::testing
