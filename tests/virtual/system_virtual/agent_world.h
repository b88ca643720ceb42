// An Agent between a TUN that the test plays, a playing Intermediate and a playing Connector, all on virtual time:
//
//   user and kernel (the test) -- TUN -- Agent -- relay of PlayedIntermediate -- PlayedConnector (echoes)
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "support/sim_quic.h"
#include "tunnel/datagram_channel.h"
#include "unit/agent/packets.h"
#include "wire/control/framer.h"
#include "wire/control/message.h"
#include "wire/routed_datagram.h"
#include "wire/stream_header.h"

namespace ztna::agent::testing {

using test::LeafSpec;
using test::RecordingHandler;
using test::SimEndpoint;
using test::SimNetwork;
using test::SimPacket;

/// A socket whose other end is the test.
struct Wire {
  std::string to_agent;  // what the user's side wrote
  bool end_of_stream = false;
  std::string from_agent;
  bool shut = false;
  bool aborted = false;
};

class PlayedPort final : public tunnel::TcpPort {
 public:
  explicit PlayedPort(Wire& wire) : wire_(wire) {}  // it must outlive the Agent
  explicit PlayedPort(std::shared_ptr<Wire> wire) : kept_(std::move(wire)), wire_(*kept_) {}
  tunnel::IoResult read(MutableBytes into) override;
  tunnel::IoResult write(std::span<const Bytes> blocks) override;
  void shutdown_write() override { wire_.shut = true; }
  void abort() override { wire_.aborted = true; }
  void want(bool, bool) override {}

 private:
  std::shared_ptr<Wire> kept_;
  Wire& wire_;
};

class AgentWorld {
 public:
  struct Setup {
    std::string intermediate_uri = "spiffe://ztna.internal/intermediate/i1";
    std::string connector_service = "web";
    std::vector<WantedService> services{{id("web"), {}}};
    DirectOptions direct{false, {}};
    bool two_servers = false;  // the Intermediate has a second address, which counts as another one
  };
  AgentWorld();  // a world where everything is right
  explicit AgentWorld(const Setup& setup);

  /// Runs until `done` or until `limit` of virtual time passed; false: the latter.
  bool run_until(const std::function<bool()>& done, Duration limit = 5s);
  void run_for(Duration duration) {
    run_until([] { return false; }, duration);
  }
  TimePoint now() const { return network.now(); }
  /// The Agent's machine sleeps: its clock goes on, nothing runs there, what is sent to it is lost.
  void suspend(Duration duration);
  bool registered() const { return agent->registered().value() != 0 && !addresses_told.empty(); }

  /// The kernel routes a packet into the TUN.
  void out(ByteVector packet);
  /// What the Agent wrote into the TUN since the last call.
  std::vector<FakeTun::Written> in();

  /// What the Agent dials with: each call makes another certificate.
  AgentTls agent_tls() const;
  /// The Agent's packets to the Intermediate itself, and the answers, are lost; the relay works on.
  void cut_control() {
    network.tap = [](SimPacket& packet) { return wire::RelayDatagram::parse(packet.payload).has_value(); };
  }

  /// The Intermediate crashes and comes back without its state.
  void restart_intermediate();
  template <typename M>
  void intermediate_says(const M& message) {
    ASSERT_FALSE(control.handlers.empty());
    auto& to = answering != nullptr ? *answering : control.last();
    ASSERT_TRUE(to.connection->write(quic::StreamId{0}, Bytes{wire::encode_frame(message)}));
  }

  const SocketAddress agent_at = at("198.51.100.9", 5000);
  const SocketAddress intermediate_at = at("192.0.2.1", 4433);
  const SocketAddress second_intermediate_at = at("192.0.2.2", 4433);
  const SocketAddress user = at("10.100.0.254", 5000);
  const SocketAddress service = at("10.100.0.5", 7000);

  SimNetwork network{1};
  test::TestCa ca;
  test::SeededRandom random{3};
  FakeTun tun;

  // The Intermediate.
  test::RecordingAcceptor control;
  SimEndpoint intermediate;
  RecordingHandler* answering = nullptr;    // the connection whose message is being heard
  std::vector<wire::ControlMessage> heard;  // in this life of the Intermediate
  std::vector<IpAddress> addresses_told;
  std::function<void(const wire::ControlMessage&)> when_heard;
  std::optional<wire::RouteCloseReason> refuse_routes;
  wire::InstanceId connector_instance{{1}};

  // The Connector.
  test::RecordingAcceptor tunnels;
  SimEndpoint connector;
  wire::StreamResult stream_result = wire::StreamResult::connected;
  std::string greeting;  // what the backend says first
  std::size_t routes_opened = 0;

  std::unique_ptr<Agent> agent;

 private:
  struct Udp final : tunnel::UdpPort {
    explicit Udp(AgentWorld& w) : world(w) {}
    void send(const SocketAddress& to, Bytes row, std::size_t segment) override;
    bool writable() const override { return true; }
    AgentWorld& world;
  };
  struct NoNames final : tunnel::Resolver {
    void resolve(const std::string&, Done) override {}
  };
  void hear(const wire::ControlMessage& message);
  void relay(const SimPacket& packet);
  void prepare_tunnel(RecordingHandler& handler);

  bool asleep_ = false;
  Udp udp_{*this};
  NoNames names_;
  std::map<wire::RouteId, quic::Path> routes_;      // the Agent's id -> what the Connector's end calls the path
  std::map<wire::RouteId, SocketAddress> came_by_;  // which address of the Intermediate's
  std::uint16_t next_path_ = 1;
  std::deque<CounterSet<tunnel::DatagramFate>> fates_;
  std::deque<ByteVector> lent_;  // packets, borrowed until the flush
};

}  // namespace ztna::agent::testing
