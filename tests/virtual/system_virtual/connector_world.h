// A Connector between fake backends, a playing Intermediate and small Agents, all on virtual time:
//
//   MiniAgent -- relay of FakeIntermediate -- Connector -- FakeBackends
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "connector/connector.h"
#include "support/sim_quic.h"
#include "tunnel/datagram_channel.h"
#include "unit/connector/fakes.h"
#include "wire/control/framer.h"
#include "wire/control/message.h"
#include "wire/routed_datagram.h"
#include "wire/stream_header.h"

namespace ztna::connector::test {

using ztna::test::LeafSpec;
using ztna::test::PemPair;
using ztna::test::RecordingHandler;
using ztna::test::SimEndpoint;
using ztna::test::SimNetwork;
using ztna::test::SimPacket;

inline constexpr wire::ServiceHandle kOne{1};  // what the small Agents call their first service

inline std::shared_ptr<const quic::TlsContext> tls(quic::Side side, const std::string& ca, const PemPair& own,
                                                   const char* alpn) {
  quic::TlsOptions options;
  options.ca_pem = ca;
  options.cert_pem = own.cert;
  options.key_pem = own.key;
  options.alpn = alpn;
  return *quic::TlsContext::create(side, std::move(options));
}

inline LeafSpec agent_leaf(const std::string& name, const std::vector<std::string>& services) {
  LeafSpec spec;
  for (const auto& service : services) spec.dns.push_back("agent." + service + ".ztna");
  spec.uris = {"spiffe://ztna.internal/agent/" + name};
  spec.purpose = ztna::test::Purpose::client;
  return spec;
}

/// Messages of one side of a control stream, collected.
template <typename Message>
class Inbox {
 public:
  void push(Bytes octets) {
    (void)framer_.push(octets, [this](const wire::Frame& frame) -> Result<void> {
      auto message = parse(frame);
      if (message) all.push_back(std::move(*message));
      return {};
    });
  }
  /// The last message of a type; null: none.
  template <typename T>
  const T* last() const {
    for (auto it = all.rbegin(); it != all.rend(); ++it) {
      if (const auto* found = std::get_if<T>(&*it)) return found;
    }
    return nullptr;
  }
  template <typename T>
  std::size_t count() const {
    std::size_t n = 0;
    for (const auto& message : all) n += std::holds_alternative<T>(message) ? 1U : 0U;
    return n;
  }
  std::vector<Message> all;

 private:
  static Result<Message> parse(const wire::Frame& frame) {
    if constexpr (std::is_same_v<Message, wire::TunnelMessage>) {
      return wire::parse_tunnel_message(frame.type, frame.body);
    } else {
      return wire::parse_control_message(frame.type, frame.body);
    }
  }
  wire::Framer framer_;
};

/// Answers Hello and registrations of a Connector, and forwards routed datagrams.
class FakeIntermediate {
 public:
  FakeIntermediate(SimNetwork& network, const SocketAddress& where, const std::string& ca, const PemPair& own);

  void route(wire::RouteId agent_side, const SocketAddress& agent, wire::RouteId connector_side,
             const SocketAddress& connector) {
    legs[agent_side] = {connector_side, connector};
    legs[connector_side] = {agent_side, agent};
  }
  template <typename M>
  void tell(const M& message) {
    ASSERT_NE(handler(), nullptr);
    ASSERT_TRUE(handler()->connection->write(quic::StreamId{0}, Bytes{wire::encode_frame(message)}));
  }
  /// Of the newest connection.
  RecordingHandler* handler() { return acceptor.handlers.empty() ? nullptr : acceptor.handlers.back().get(); }

  SocketAddress address;
  ztna::test::RecordingAcceptor acceptor;
  SimEndpoint endpoint;
  Inbox<wire::ControlMessage> inbox;
  struct Leg {
    wire::RouteId other;
    SocketAddress to;
  };
  std::map<wire::RouteId, Leg> legs;
  std::optional<wire::RegistrationStatus> refuse;  // registrations get a Nack
  wire::VirtualIps virtual_ips{ip("10.100.0.2"), ip("fd5a:7a74:6e61::2")};
};

/// The least that is an Agent: one tunnel over the relay.
class MiniAgent {
 public:
  MiniAgent(SimNetwork& network, const SocketAddress& where, const SocketAddress& relay,
            std::shared_ptr<const quic::TlsContext> context, std::uint64_t seed);

  /// Begins the tunnel on a route of its own.
  void dial(wire::RouteId route, TimePoint now);
  /// Moves the tunnel to a new route at once.
  void move(wire::RouteId route, TimePoint now);
  /// The same to the direct path, once QUIC has validated it.
  void go_direct(const SocketAddress& connector, TimePoint now);
  void hello(std::uint64_t version = wire::kProtocolVersion);
  template <typename M>
  void tell(const M& message) {
    const auto frame = wire::encode_frame(message);
    ASSERT_TRUE(handler.connection->write(quic::StreamId{0}, Bytes{frame}));
  }
  void open_service(wire::ServiceHandle handle, const std::string& id) { tell(wire::OpenService{handle, id}); }
  std::optional<wire::RegistrationStatus> opened(wire::ServiceHandle handle) const;
  void send(wire::ServiceHandle handle, const ByteVector& packet);
  /// A TCP stream with its header; -1: no stream.
  quic::StreamId connect(wire::ServiceHandle handle, std::uint16_t port);
  ByteVector& received(quic::StreamId id) { return handler.streams[id.value].data; }
  bool closed_with(wire::CloseCode code) const {
    return handler.closed && handler.closed->application && handler.closed->code == static_cast<std::uint64_t>(code);
  }

  SocketAddress address;
  SocketAddress relay;
  SimEndpoint endpoint;
  RecordingHandler handler;
  Inbox<wire::TunnelMessage> inbox;
  CounterSet<tunnel::DatagramFate> fates;
  std::optional<tunnel::DatagramChannel> channel;
  std::list<ByteVector> kept;       // borrowed by the connection until the flush
  std::vector<ByteVector> packets;  // from the Connector
  wire::InstanceId instance{{1, 2, 3}};
  wire::RouteId route{};
  quic::Path path;
  std::function<void(const SimPacket&)> when_probe;
  std::uint16_t next_path = 1;
  std::shared_ptr<const quic::TlsContext> context;
  std::uint64_t stream_window = quic::TransportOptions{}.stream_window;  // before dial()
};

class ConnectorWorld {
 public:
  explicit ConnectorWorld(std::uint64_t seed = 1, Limits limits = {});

  /// Runs until `done` or until `limit` of virtual time passed; false: the latter.
  bool run_until(const std::function<bool()>& done, Duration limit = 5s);
  void run_for(Duration duration) {
    run_until([] { return false; }, duration);
  }
  TimePoint now() const { return network.now(); }

  MiniAgent& add_agent(const std::string& name, const std::vector<std::string>& services);
  MiniAgent& add_agent(std::shared_ptr<const quic::TlsContext> context);
  /// Opens a route for the agent's tunnel `tunnel_number` at Intermediate and Connector. Returns the Agent's route id.
  wire::RouteId open_route(MiniAgent& agent, std::uint8_t tunnel_number, const std::string& name = "laptop");
  /// Route, handshake, Hello, OpenService of handle 1. False: it did not work.
  bool bring_up(MiniAgent& agent, std::uint8_t tunnel_number, const std::string& service,
                const std::string& name = "laptop");
  /// Everything that backends' sockets received and was not echoed yet goes back.
  void echo();

  static wire::TunnelId tunnel_id(std::uint8_t number) { return wire::TunnelId{{number}}; }

  /// Something else that runs in this world: its deadline, and what it does then.
  std::function<TimePoint()> guest_deadline;
  std::function<void()> run_guest;

  SimNetwork network;
  ztna::test::TestCa ca;
  SocketAddress connector_address = address("198.51.100.7:4434");
  SocketAddress intermediate_address = address("192.0.2.1:4433");
  FakeIntermediate intermediate;
  FakeBackends backends;
  FakeResolver resolver;
  ztna::test::SeededRandom random;
  std::unique_ptr<Connector> connector;
  std::list<MiniAgent> agents;
  std::shared_ptr<const quic::TlsContext> control_tls, tunnel_tls;
  std::size_t packets_from_connector = 0;
  SocketAddress last_destination;

 private:
  struct Port final : tunnel::UdpPort {
    explicit Port(ConnectorWorld& w) : world(w) {}
    void send(const SocketAddress& to, Bytes row, std::size_t segment) override;
    bool writable() const override { return true; }
    ConnectorWorld& world;
  };
  Port port_{*this};
  std::uint64_t next_route_ = 100;
  std::map<std::size_t, std::size_t> echoed_;
};

std::vector<ServiceDefinition> two_services();

}  // namespace ztna::connector::test
