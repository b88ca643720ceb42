// A real Intermediate on virtual time, with an Agent's and a Connector's control connection and what they say of paths:
//
//   Player (Agent, behind a 1:1 NAT) --- 10 ms --- Worker, Registry --- 50 ms --- Player (Connector)
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "intermediate/worker.h"
#include "support/sim_quic.h"
#include "tunnel/control_client.h"
#include "tunnel/hub.h"
#include "wire/probe.h"

namespace ztna::intermediate {
namespace {

using test::LeafSpec;
using test::SimEndpoint;
using test::SimNetwork;
using test::SimPacket;

SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }
WallTime wall() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

std::shared_ptr<const quic::TlsContext> tls(quic::Side side, const test::TestCa& ca, const LeafSpec& spec) {
  const auto own = ca.issue(spec);
  quic::TlsOptions options;
  options.ca_pem = ca.pem();
  options.cert_pem = own.cert;
  options.key_pem = own.key;
  options.alpn = "ztna-v1";
  return *quic::TlsContext::create(side, std::move(options));
}

const SocketAddress kServer = at("192.0.2.1:4433");
const SocketAddress kProbeServer = at("192.0.2.1:4435");
const SocketAddress kAgent = at("10.0.0.2:5000");
const SocketAddress kAgentOutside = at("198.51.100.9:5000");
const SocketAddress kConnector = at("203.0.113.2:4434");
const wire::TunnelId kTunnel{{1}};
const wire::SessionId kSession{{2}};

/// One program's control connection.
class Player final : public tunnel::ControlClientOwner {
 public:
  struct Heard {
    TimePoint at;
    wire::ControlMessage message;
  };

  Player(SimNetwork& net, const test::TestCa& ca, const SocketAddress& where, const std::string& role,
         std::uint64_t seed)
      : network(net), endpoint(net, {}, nullptr, seed), random(seed) {
    endpoint.packet_for = [where](const quic::Path& path, ByteVector payload) {
      return SimPacket{where, path.remote, std::move(payload)};
    };
    net.attach(where, [this](const SimPacket& packet) {
      if (wire::classify(packet.payload) == wire::PayloadKind::probe) return probes.push_back(packet);
      endpoint->receive(tunnel::Hub::direct_path(packet.from), packet.payload, network.now(), endpoint);
    });
    LeafSpec leaf;
    leaf.dns = {role + ".web.ztna"};
    leaf.uris = {"spiffe://ztna.internal/" + role + "/p"};
    tunnel::ControlClientOptions options;
    options.server = {"192.0.2.1", 4433};
    options.instance = wire::InstanceId{{static_cast<std::uint8_t>(seed)}};
    client = std::make_unique<tunnel::ControlClient>(options, *endpoint, names, random,
                                                     tls(quic::Side::client, ca, leaf), *this);
    client->start(net.now());
  }
  Result<void> verify_intermediate(Bytes) override { return {}; }
  void on_control_ready() override {}
  void on_control_lost(const quic::CloseReason&) override {}
  bool on_control_message(const wire::ControlMessage& message) override {
    heard.push_back({network.now(), message});
    return true;
  }
  template <typename M>
  std::vector<std::pair<TimePoint, M>> all() const {
    std::vector<std::pair<TimePoint, M>> found;
    for (const auto& h : heard) {
      if (const auto* m = std::get_if<M>(&h.message)) found.emplace_back(h.at, *m);
    }
    return found;
  }

  SimNetwork& network;
  SimEndpoint endpoint;
  test::SeededRandom random;
  struct NoNames final : tunnel::Resolver {
    void resolve(const std::string&, Done) override {}
  } names;
  std::unique_ptr<tunnel::ControlClient> client;
  std::vector<Heard> heard;
  std::vector<SimPacket> probes;
};

struct SignalingWorld : testing::Test, WorkerUdp, WorkerMail {
  SimNetwork network{5};
  test::TestCa ca;
  test::SeededRandom random{6};
  RouteTable routes;
  Registry registry{{}, {{*Prefix::parse("10.100.0.0/24"), {}}}, routes, random};
  SharedCounters counters;
  std::deque<Delivery> mail;
  std::unique_ptr<Worker> worker;
  std::unique_ptr<Player> agent, connector;

  void SetUp() override {
    LeafSpec own;
    own.ips = {"192.0.2.1"};
    own.uris = {"spiffe://ztna.internal/intermediate/i1"};
    WorkerOptions options;
    options.port = kServer.port;
    options.probe_port = kProbeServer.port;
    worker = std::make_unique<Worker>(options, registry, routes, counters, static_cast<WorkerUdp&>(*this),
                                      static_cast<WorkerMail&>(*this), random, tls(quic::Side::server, ca, own));
    for (const auto& address : {kServer, kProbeServer}) {
      network.attach(address, [this](const SimPacket& packet) {
        auto row = packet.payload;
        worker->receive(packet.to, packet.from, row, row.size(), network.now(), wall());
      });
    }
    network.nat(kAgent, kAgentOutside);
    // The way back goes to the address behind the NAT.
    network.set_links(kAgentOutside.ip, kServer.ip, {.delay = 10ms});
    network.set_links(kAgent.ip, kServer.ip, {.delay = 10ms});
    network.set_links(kConnector.ip, kServer.ip, {.delay = 50ms});
    agent = std::make_unique<Player>(network, ca, kAgent, "agent", 7);
    connector = std::make_unique<Player>(network, ca, kConnector, "connector", 8);
    ASSERT_TRUE(run_until([&] { return agent->client->ready() && connector->client->ready(); }));
    ASSERT_TRUE(connector->client->send(wire::RegisterConnector{"web", 0, {}}));
    ASSERT_TRUE(run_until([&] { return registry.counters().services.value() == 1; }));
    ASSERT_TRUE(agent->client->send(wire::RouteRequest{kTunnel, "web", ""}));
    ASSERT_TRUE(run_until([&] { return !connector->all<wire::RouteOpened>().empty(); }));
  }

  // WorkerUdp, WorkerMail
  void send(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) override {
    for (std::size_t n = 0; n < row.size(); n += segment) {
      const auto packet = row.subspan(n, std::min(segment, row.size() - n));
      network.send({local, to, ByteVector{packet.begin(), packet.end()}});
    }
  }
  void forward(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) override {
    send(local, to, row, segment);
  }
  bool writable() const override { return true; }
  void deliver(Delivery delivery) override { mail.push_back(std::move(delivery)); }
  void kick(Kick) override {}
  void hand_over(std::uint8_t, const quic::Path&, Bytes) override {}

  bool run_until(const std::function<bool()>& done, Duration limit = 5s) {
    const auto end = network.now() + limit;
    for (;;) {
      for (; !mail.empty(); mail.pop_front()) worker->deliver(mail.front());
      worker->flush(network.now());
      std::vector<Player*> players;
      for (auto* p : {agent.get(), connector.get()}) {
        if (p != nullptr) players.push_back(p);
      }
      auto next = std::min(network.next_event(), worker->deadline());
      for (auto* p : players) {
        p->endpoint.flush();
        next = std::min({next, p->endpoint.deadline(), p->client->deadline()});
      }
      next = std::min(next, network.next_event());  // flushing made some
      if (done()) return true;
      if (next > end) {
        network.advance(end);
        return done();
      }
      network.advance(std::max(next, network.now()));
      const auto now = network.now();
      if (worker->deadline() <= now) worker->on_deadline(now, wall());
      for (auto* p : players) {
        if (p->endpoint.deadline() <= now) p->endpoint.on_deadline();
        if (p->client->deadline() <= now) p->client->on_deadline(now);
      }
    }
  }
  void run_for(Duration d) {
    run_until([] { return false; }, d);
  }
  static wire::CandidateOffer offer() {
    return {kSession,
            kTunnel,
            wire::NatMapping::endpoint_independent,
            wire::NatFiltering::unknown,
            {{wire::CandidateKind::server_reflexive, 1, kAgentOutside}}};
  }
  static wire::CandidateAnswer answer() { return {kSession, kTunnel, {}, {}, {}}; }
};

TEST_F(SignalingWorld, ClientsKnowThePortsAndAddressesForNatDiscovery) {
  for (const auto* p : {agent.get(), connector.get()}) {
    EXPECT_EQ(p->client->probe_port(), kProbeServer.port);
    EXPECT_EQ(p->client->addresses(), std::vector{kServer.ip});
    EXPECT_EQ(p->all<wire::ProbePort>().size(), 0U) << "the client keeps it to itself";
    EXPECT_EQ(p->all<wire::ObservedAddress>().size(), 1U);
  }
}

TEST_F(SignalingWorld, ProbesAreAnsweredThroughANatFromThePortThatWasAskedFor) {
  const auto ask = [&](const SocketAddress& to, wire::ProbeKind kind) {
    agent->probes.clear();
    network.send({kAgent, to, wire::encode_probe({kind, {}, {}, {}, {}}, wire::Role::agent)});
    EXPECT_TRUE(run_until([&] { return !agent->probes.empty(); }, 1s));
    if (agent->probes.empty()) return SocketAddress{};
    EXPECT_EQ(wire::Probe::parse(agent->probes[0].payload)->address, kAgentOutside);
    return agent->probes[0].from;
  };
  EXPECT_EQ(ask(kServer, wire::ProbeKind::open_request), kServer);
  EXPECT_EQ(ask(kProbeServer, wire::ProbeKind::open_request), kProbeServer);
  EXPECT_EQ(ask(kServer, wire::ProbeKind::open_request_other), kProbeServer);
  EXPECT_EQ(ask(kProbeServer, wire::ProbeKind::open_request_other), kServer);
}

TEST_F(SignalingWorld, BothEndsBeginAtTheSameMoment) {
  ASSERT_TRUE(agent->client->send(offer()));
  ASSERT_TRUE(run_until([&] { return !connector->all<wire::CandidateOffer>().empty(); }));
  EXPECT_EQ(connector->all<wire::CandidateOffer>()[0].second, offer());
  ASSERT_TRUE(connector->client->send(answer()));
  ASSERT_TRUE(run_until(
      [&] { return !agent->all<wire::StartPunching>().empty() && !connector->all<wire::StartPunching>().empty(); }));
  const auto begins = [](const Player& p) {
    const auto [heard_at, start] = p.all<wire::StartPunching>()[0];
    return heard_at + Millis{start.delay_ms};
  };
  const auto apart = begins(*agent) - begins(*connector);
  EXPECT_LT(std::chrono::abs(apart), 5ms) << apart.count() << " ns; the ways differ by 40 ms";
  EXPECT_EQ(connector->all<wire::StartPunching>()[0].second.delay_ms, 0);
}

TEST_F(SignalingWorld, ASessionSurvivesARebindingOfTheNat) {
  ASSERT_TRUE(agent->client->send(offer()));
  ASSERT_TRUE(run_until([&] { return !connector->all<wire::CandidateOffer>().empty(); }));
  const auto moved = at("198.51.100.9:6000");
  network.nat(kAgent, moved);
  agent->client->connection()->ping();
  ASSERT_TRUE(run_until([&] { return agent->all<wire::ObservedAddress>().back().second.address == moved; }, 2s));
  ASSERT_TRUE(connector->client->send(answer()));
  ASSERT_TRUE(run_until([&] { return !agent->all<wire::CandidateAnswer>().empty(); }, 2s));
  EXPECT_EQ(registry.signaling_counters().live.value(), 1U);
}

TEST_F(SignalingWorld, ASessionExpiresAndEndsWithAControlConnection) {
  ASSERT_TRUE(agent->client->send(offer()));
  run_for(4900ms);
  EXPECT_TRUE(agent->all<wire::SignalingError>().empty());
  run_for(1300ms);  // the tick comes once a second
  for (const auto* p : {agent.get(), connector.get()}) {
    const auto errors = p->all<wire::SignalingError>();
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_EQ(errors[0].second.code, wire::SignalingErrorCode::expired);
  }
  auto next = offer();
  next.session = wire::SessionId{{3}};
  ASSERT_TRUE(agent->client->send(next));
  ASSERT_TRUE(run_until([&] { return connector->all<wire::CandidateOffer>().size() == 2; }));
  connector->client->stop("leaves");
  ASSERT_TRUE(run_until([&] { return agent->all<wire::SignalingError>().size() == 2; }));
  EXPECT_EQ(agent->all<wire::SignalingError>()[1].second.code, wire::SignalingErrorCode::peer_gone);
}

}  // namespace
}  // namespace ztna::intermediate
