// A Connector at work: registration, echo, UDP, TCP, moves between routes, restarts, reload, drain.
#include <gtest/gtest.h>

#include "tunnel/tcp_bridge.h"
#include "virtual/system_virtual/connector_world.h"
#include "wire/ip/checksum.h"

namespace ztna::connector::test {
namespace {

ByteVector udp(const char* from, const char* to, Bytes data) {
  return *wire::ip::build_udp_packet(address(from), address(to), data);
}
ByteVector udp_payload(const ByteVector& packet) {
  const auto view = wire::ip::parse_ip_packet(packet);
  if (!view || !wire::ip::verify_checksums(*view)) return {};
  return {view->l4_payload.begin(), view->l4_payload.end()};
}
/// An echo request: a UDP packet turned into ICMP would lie about its checksum, so it is put together here.
ByteVector echo_request(const IpAddress& from, const IpAddress& to, std::size_t size) {
  auto packet = *wire::ip::build_udp_packet({from, 0}, {to, 0}, payload(size));
  const auto at = wire::ip::udp_headers_size(from.family()) - 8;
  const bool v4 = from.is_v4();
  packet[v4 ? 9 : 6] = v4 ? 1 : 58;
  const std::array<std::uint8_t, 8> header{static_cast<std::uint8_t>(v4 ? 8 : 128), 0, 0, 0, 0x12, 0x34, 0, 7};
  std::ranges::copy(header, packet.begin() + static_cast<std::ptrdiff_t>(at));
  const auto put = [&packet](std::size_t where, std::uint16_t value) {
    packet[where] = static_cast<std::uint8_t>(value >> 8);
    packet[where + 1] = static_cast<std::uint8_t>(value);
  };
  const auto message = Bytes{packet}.subspan(at);
  put(at + 2,
      v4 ? wire::ip::checksum(message) : wire::ip::upper_layer_checksum(from, to, wire::ip::Protocol::icmpv6, message));
  if (v4) {
    put(10, 0);
    put(10, wire::ip::checksum(Bytes{packet}.first(20)));
  }
  return packet;
}

TEST(ConnectorRegistration, AllServicesAreRegisteredAndRefusalsAreRetried) {
  ConnectorWorld world;
  world.intermediate.refuse = wire::RegistrationStatus::address_conflict;
  world.run_for(2s);
  EXPECT_FALSE(world.connector->state().ready);
  EXPECT_NE(world.connector->state().text.find("the test says no"), std::string::npos) << world.connector->state().text;
  world.intermediate.refuse.reset();
  EXPECT_TRUE(world.run_until([&] { return world.connector->state().ready; }, 10s));
  EXPECT_GE(world.intermediate.inbox.count<wire::RegisterConnector>(), 4U);
}

TEST(ConnectorRegistration, AnIntermediateThatLostItsStateIsNoticedWithin3Seconds) {
  ConnectorWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.connector->state().ready; }));
  world.run_for(20s);  // idle
  world.intermediate.endpoint.restart({}, &world.intermediate.acceptor);
  const auto before = world.intermediate.acceptor.handlers.size();
  ASSERT_TRUE(world.run_until(
      [&] { return world.intermediate.acceptor.handlers.size() > before && world.connector->state().ready; }, 3s));
}

TEST(ConnectorTunnel, EchoIsAnsweredForBothFamilies) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web", "db"});
  ASSERT_TRUE(world.bring_up(agent, 1, "db"));  // a service of TCP only
  const auto request4 = echo_request(ip("10.100.0.254"), ip("10.100.0.2"), 56);
  const auto request6 = echo_request(ip("fd5a:7a74:6e61::fffe"), ip("fd5a:7a74:6e61::2"), 1400);
  ASSERT_TRUE(wire::ip::parse_ip_packet(request4)->is_echo_request());
  agent.send(kOne, request4);
  agent.send(kOne, request6);
  ASSERT_TRUE(world.run_until([&] { return agent.packets.size() == 2; }));
  EXPECT_EQ(world.connector->fates().value(PacketFate::echo_answered), 2U);
  for (const auto& octets : agent.packets) {
    const auto reply = wire::ip::parse_ip_packet(octets);
    ASSERT_TRUE(reply);
    EXPECT_TRUE(wire::ip::verify_checksums(*reply));
    const auto& request = reply->family == Family::v4 ? request4 : request6;
    const auto asked = wire::ip::parse_ip_packet(request);
    EXPECT_EQ(reply->src, asked->dst);
    EXPECT_EQ(reply->dst, asked->src);
    EXPECT_TRUE(equal(reply->l4_payload, asked->l4_payload));
  }
}

TEST(ConnectorTunnel, UdpOfEverySizeIsEchoedAsSent) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  for (const std::size_t size : {0UL, 1UL, 1199UL, 1200UL, 1300UL, 1500UL, 8972UL, 65'507UL}) {
    SCOPED_TRACE(size);
    agent.packets.clear();
    agent.send(kOne, udp("10.100.0.254:4000", "10.100.0.2:7", payload(size, 5)));
    ASSERT_TRUE(world.run_until([&] {
      world.echo();
      return agent.packets.size() == 1;
    }));
    EXPECT_EQ(udp_payload(agent.packets[0]), payload(size, 5));
  }
  ASSERT_EQ(world.backends.udp.size(), 1U);
  EXPECT_EQ(world.backends.udp[0].backend, address("10.0.0.5:8080"));
}

TEST(ConnectorTunnel, AThousandFlowsEachGetTheirOwnAnswers) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  std::map<std::uint16_t, int> answers;
  for (int round = 0; round < 20; ++round) {
    for (std::uint16_t i = 0; i < 50; ++i) {
      const auto port = static_cast<std::uint16_t>(1000 + round * 50 + i);
      const ByteVector data{static_cast<std::uint8_t>(port >> 8), static_cast<std::uint8_t>(port)};
      agent.send(kOne, *wire::ip::build_udp_packet({ip("10.100.0.254"), port}, address("10.100.0.2:7"), data));
    }
    const auto wanted = static_cast<std::size_t>(round + 1) * 50;
    ASSERT_TRUE(world.run_until([&] {
      world.echo();
      return agent.packets.size() == wanted;
    }));
  }
  for (const auto& packet : agent.packets) {
    const auto view = *wire::ip::parse_ip_packet(packet);
    EXPECT_EQ(view.dst_port, view.l4_payload[0] << 8 | view.l4_payload[1]);
    ++answers[view.dst_port];
  }
  EXPECT_EQ(answers.size(), 1000U);
  EXPECT_EQ(world.backends.udp.size(), 1000U);
}

TEST(ConnectorTunnel, TwoAgentsWithEqualPortsNeverSeeEachOther) {
  ConnectorWorld world;
  auto& a = world.add_agent("a", {"web"});
  auto& b = world.add_agent("b", {"web"});
  ASSERT_TRUE(world.bring_up(a, 1, "web", "a"));
  ASSERT_TRUE(world.bring_up(b, 2, "web", "b"));
  for (int i = 0; i < 1000; ++i) {
    a.send(kOne, udp("10.100.0.254:4000", "10.100.0.2:7", payload(30, 'a')));
    b.send(kOne, udp("10.100.0.254:4000", "10.100.0.2:7", payload(30, 'b')));
    if (i % 20 == 19) {
      world.run_for(30ms);
      world.echo();
    }
  }
  world.run_for(1s);
  EXPECT_EQ(a.packets.size(), 1000U);
  EXPECT_EQ(b.packets.size(), 1000U);
  for (const auto& packet : a.packets) EXPECT_EQ(udp_payload(packet), payload(30, 'a'));
  for (const auto& packet : b.packets) EXPECT_EQ(udp_payload(packet), payload(30, 'b'));
}

TEST(ConnectorTunnel, TcpPassesBothWaysWithHalfClose) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  const auto stream = agent.connect(kOne, 80);
  ASSERT_TRUE(world.run_until([&] { return world.backends.tcp.size() == 1; }));
  auto& backend = world.backends.tcp[0];
  world.run_for(500ms);
  EXPECT_TRUE(agent.received(stream).empty()) << "the backend has not answered yet";
  backend.events->on_connected({}, world.now());
  ASSERT_TRUE(world.run_until([&] { return agent.received(stream) == ByteVector{0}; }));
  backend.room = 4U << 20U;
  const auto up = payload(3'000'000, 1);
  ASSERT_TRUE(agent.handler.connection->write(stream, Bytes{up}));
  agent.handler.connection->finish(stream);
  ASSERT_TRUE(world.run_until([&] { return backend.shut; }, 60s));
  EXPECT_TRUE(backend.written == up);
  const auto down = payload(2'000'000, 9);
  backend.to_read.push_back(down);
  backend.ended = true;
  ASSERT_TRUE(world.run_until(
      [&] {
        if (backend.events != nullptr && backend.want_read) backend.events->on_readable();
        return agent.handler.streams[stream.value].fin;
      },
      60s));
  EXPECT_EQ(agent.received(stream).size(), down.size() + 1);
  EXPECT_TRUE(equal(Bytes{agent.received(stream)}.subspan(1), down));
  EXPECT_EQ(world.connector->stream_fates().value(StreamFate::finished), 1U);
}

TEST(ConnectorTunnel, ARefusalArrivesWithinOneRoundTripOfTheBackendsAnswer) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  const auto stream = agent.connect(kOne, 80);
  ASSERT_TRUE(world.run_until([&] { return world.backends.tcp.size() == 1; }));
  const auto begun = world.now();
  world.backends.tcp[0].events->on_connected(fail(Errc::refused, "no"), begun);
  ASSERT_TRUE(world.run_until([&] { return agent.handler.streams[stream.value].fin; }));
  EXPECT_EQ(agent.received(stream), ByteVector{1});
  EXPECT_LE(world.now() - begun, 90ms);
}

TEST(ConnectorTunnel, AReopenedRouteCarriesTheSameTunnelOn) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  const auto stream = agent.connect(kOne, 80);
  ASSERT_TRUE(world.run_until([&] { return world.backends.tcp.size() == 1; }));
  world.backends.tcp[0].events->on_connected({}, world.now());
  ASSERT_TRUE(world.run_until([&] { return agent.received(stream).size() == 1; }));

  world.intermediate.legs.clear();  // the relay forgot everything
  world.intermediate.tell(wire::RouteClosed{ConnectorWorld::tunnel_id(1), wire::RouteCloseReason::peer_gone});
  const auto data = payload(100'000, 3);
  ASSERT_TRUE(agent.handler.connection->write(stream, Bytes{data}));
  world.run_for(20s);  // timers back off
  EXPECT_EQ(world.connector->tunnels(), 1U) << "it may come back";
  const auto route = world.open_route(agent, 1);
  const auto begun = world.now();
  agent.move(route, world.now());
  ASSERT_TRUE(world.run_until([&] { return world.backends.tcp[0].written.size() == data.size(); }));
  EXPECT_LE(world.now() - begun, 1s) << "no backed-off timer adds to the gap";
  EXPECT_EQ(world.connector->hub().relay().size(), 1U);
  EXPECT_EQ(agent.handler.times_closed, 0);
}

TEST(ConnectorTunnel, ACloseIsHeardAlthoughTheEndOfItsRouteOvertookIt) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  agent.handler.connection->close(0, "replaced by a newer tunnel");
  world.intermediate.tell(wire::RouteClosed{ConnectorWorld::tunnel_id(1), wire::RouteCloseReason::asked_for});
  EXPECT_TRUE(world.run_until([&] { return world.connector->tunnels() == 0; }, 1s));
  world.run_for(1s);
  EXPECT_EQ(world.connector->hub().relay().size(), 0U);
}

TEST(ConnectorTunnel, AnotherRunOfTheAgentEndsItsOlderTunnels) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  auto& other = world.add_agent("desktop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  ASSERT_TRUE(world.bring_up(other, 2, "web", "desktop"));
  auto& reborn = world.add_agent("laptop", {"web"});
  reborn.instance = wire::InstanceId{{4, 5, 6}};
  ASSERT_TRUE(world.bring_up(reborn, 3, "web"));
  EXPECT_TRUE(agent.closed_with(wire::CloseCode::replaced));
  EXPECT_FALSE(other.handler.closed);
  EXPECT_EQ(world.connector->tunnels(), 2U);
}

TEST(ConnectorTunnel, AnAgentOfTheSameNameInAnotherTrustDomainIsAnotherAgent) {
  Limits limits;
  limits.tunnels_per_agent = 1;
  ConnectorWorld world{1, limits};
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  auto spec = agent_leaf("laptop", {"web"});
  spec.uris = {"spiffe://other.example/agent/laptop"};
  auto& stranger = world.add_agent(tls(quic::Side::client, world.ca.pem(), world.ca.issue(spec), "ztna-tunnel-v1"));
  stranger.instance = wire::InstanceId{{4, 5, 6}};
  ASSERT_TRUE(world.bring_up(stranger, 2, "web"));
  EXPECT_FALSE(agent.handler.closed);
  EXPECT_EQ(world.connector->tunnels(), 2U);
}

TEST(ConnectorTunnel, ARunThatReplacesAnotherDoesNotMeetItsQuota) {
  Limits limits;
  limits.tunnels_per_agent = 1;
  ConnectorWorld world{1, limits};
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  auto& reborn = world.add_agent("laptop", {"web"});
  reborn.instance = wire::InstanceId{{4, 5, 6}};
  ASSERT_TRUE(world.bring_up(reborn, 2, "web"));
  EXPECT_TRUE(agent.closed_with(wire::CloseCode::replaced));
}

TEST(ConnectorTunnel, ARouteThatNoTunnelCameOnIsGivenBack) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.run_until([&] { return world.connector->state().ready; }));
  (void)world.open_route(agent, 1);
  world.run_for(Routes::kUnused - 1s);
  EXPECT_EQ(world.intermediate.inbox.count<wire::RouteClosed>(), 0U);
  ASSERT_TRUE(world.run_until([&] { return world.intermediate.inbox.last<wire::RouteClosed>() != nullptr; }, 3s));
  EXPECT_EQ(world.intermediate.inbox.last<wire::RouteClosed>()->tunnel, ConnectorWorld::tunnel_id(1));
  EXPECT_EQ(world.connector->hub().relay().size(), 0U);
}

TEST(ConnectorTunnel, RouteThatIsOpenedAnewTakesTheOldOnesPlace) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  for (std::size_t i = 0; i < 5 * Connector::kMaxRoutesPerTunnel; ++i) {
    (void)world.open_route(agent, 1);
    EXPECT_LE(world.connector->hub().relay().size(), 2U) << "the one before is heard on for a moment";
  }
  world.run_for(3s);
  EXPECT_EQ(world.connector->hub().relay().size(), 1U);
  EXPECT_EQ(world.intermediate.inbox.count<wire::RouteClosed>(), 0U) << "none was refused";
}

TEST(ConnectorTunnel, ABackendThatDoesNotReadHoldsNoMoreThanTheWindow) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  const auto stream = agent.connect(kOne, 80);
  ASSERT_TRUE(world.run_until([&] { return world.backends.tcp.size() == 1; }));
  ASSERT_TRUE(agent.handler.connection->write(stream, Bytes{payload(6U << 20U)}));
  world.run_for(20s);  // the backend has not answered
  const auto held = (6U << 20U) - agent.handler.connection->unsent(stream);
  EXPECT_GT(held, Connector::kStreamWindow - 4096);
  EXPECT_LE(held, Connector::kStreamWindow);
  auto& backend = world.backends.tcp[0];
  backend.room = 8U << 20U;
  backend.events->on_connected({}, world.now());
  EXPECT_TRUE(world.run_until([&] { return backend.written.size() == (6U << 20U); }, 60s)) << "nothing is lost";
}

TEST(ConnectorTunnel, AUserWhoDoesNotReadPinsABoundedAmountAndOthersGoOn) {
  using tunnel::TcpBridge;
  constexpr std::size_t kStalled = 48;
  constexpr std::size_t kWindow = 64 * 1024;
  constexpr std::size_t kLively = 20'000'000;
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  agent.stream_window = kWindow;
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  agent.handler.keep_data = false;
  agent.handler.auto_credit = false;
  std::vector<quic::StreamId> streams;
  const auto open = [&] {
    const auto count = world.backends.tcp.size();
    streams.push_back(agent.connect(kOne, 80));
    ASSERT_TRUE(world.run_until([&] { return world.backends.tcp.size() == count + 1; }));
    world.backends.tcp.back().events->on_connected({}, world.now());
  };
  // Backends send as much as is taken of them.
  std::size_t taken = 0;
  const auto feed = [&] {
    for (auto& backend : world.backends.tcp) {
      while (backend.events != nullptr && backend.want_read) {
        constexpr std::size_t kMuch = 32;
        backend.to_read.resize(kMuch, ByteVector(Chunk::kCapacity));
        backend.events->on_readable();
        taken += (kMuch - backend.to_read.size()) * Chunk::kCapacity;
      }
    }
  };
  const auto received = [&] {
    std::size_t sum = 0;
    for (const auto id : streams) sum += agent.handler.streams[id.value].octets;
    return sum;
  };
  for (std::size_t i = 0; i < kStalled; ++i) open();
  ASSERT_TRUE(world.run_until(
      [&] {
        feed();
        return received() == kStalled * kWindow;
      },
      60s));
  world.run_for(2s);
  feed();
  constexpr auto kBound = TcpBridge::kTunnelUnsent + kStalled * 2 * TcpBridge::kMinUnsent;
  EXPECT_LE(taken - received(), kBound);
  EXPECT_GT(taken - received(), TcpBridge::kTunnelUnsent / 2) << "what is there is used";

  open();
  const auto lively = streams.back();
  agent.handler.when_data = [&](quic::StreamId id, Bytes data, bool) {
    if (id == lively) agent.handler.connection->credit(id, data.size());
  };
  const auto begun = world.now();
  EXPECT_TRUE(world.run_until(
      [&] {
        feed();
        return agent.handler.streams[lively.value].octets > kLively;
      },
      60s));
  RecordProperty("lively_ms", static_cast<int>((world.now() - begun) / 1ms));
  EXPECT_LE(taken - received(), kBound + 2 * TcpBridge::kMinUnsent);
  EXPECT_FALSE(agent.handler.closed);
}

TEST(ConnectorTunnel, ARevokedAgentIsClosed) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  world.intermediate.tell(wire::Revoked{"desktop"});
  world.run_for(200ms);
  EXPECT_FALSE(agent.handler.closed);
  world.intermediate.tell(wire::Revoked{"laptop"});
  ASSERT_TRUE(world.run_until([&] { return agent.handler.closed.has_value(); }));
  EXPECT_TRUE(agent.closed_with(wire::CloseCode::revoked));
}

TEST(ConnectorTunnel, AReloadEndsOnlyWhatItTookOut) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web", "db"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  agent.open_service(wire::ServiceHandle{2}, "db");
  ASSERT_TRUE(world.run_until([&] { return agent.opened(wire::ServiceHandle{2}).has_value(); }));
  const auto db = agent.connect(wire::ServiceHandle{2}, 5432);
  const auto web = agent.connect(kOne, 80);
  ASSERT_TRUE(world.run_until([&] { return world.backends.tcp.size() == 2; }));
  for (auto& backend : world.backends.tcp) backend.events->on_connected({}, world.now());
  ASSERT_TRUE(world.run_until([&] { return agent.received(db).size() == 1 && agent.received(web).size() == 1; }));

  auto services = two_services();
  services.pop_back();  // db
  world.connector->reload({services, world.control_tls, world.tunnel_tls, {}}, world.now());
  ASSERT_TRUE(world.run_until([&] { return agent.inbox.last<wire::CloseService>() != nullptr; }));
  EXPECT_EQ(agent.inbox.last<wire::CloseService>()->handle, wire::ServiceHandle{2});
  EXPECT_TRUE(world.run_until([&] { return agent.handler.streams[db.value].reset.has_value(); }));
  EXPECT_FALSE(agent.handler.streams[web.value].reset);
  EXPECT_FALSE(agent.handler.closed);
  auto& controls = world.intermediate.acceptor.handlers;
  ASSERT_EQ(controls.size(), 2U) << "registers anew without it";
  ASSERT_TRUE(world.run_until([&] { return controls[0]->closed || controls[1]->established; }));
  EXPECT_FALSE(controls[0]->closed)
      << "the old connection, and what is registered there, goes when the new one is there";
  ASSERT_TRUE(world.run_until([&] { return controls[0]->closed.has_value() && world.connector->state().ready; }));
  EXPECT_EQ(world.intermediate.inbox.count<wire::RegisterConnector>(), 1U);
}

TEST(ConnectorTunnel, ADrainWaitsForTcpAndThenTellsTheAgent) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  const auto stream = agent.connect(kOne, 80);
  ASSERT_TRUE(world.run_until([&] { return world.backends.tcp.size() == 1; }));
  world.backends.tcp[0].events->on_connected({}, world.now());
  ASSERT_TRUE(world.run_until([&] { return agent.received(stream).size() == 1; }));
  world.connector->drain(world.now());
  EXPECT_EQ(world.connector->state().text, "draining");
  world.run_for(1s);
  EXPECT_FALSE(agent.handler.closed);
  const auto begun = world.now();
  ASSERT_TRUE(world.run_until([&] { return world.connector->drained(); }));
  EXPECT_LE(world.now() - begun, Connector::kDrain);
  ASSERT_TRUE(world.run_until([&] { return agent.handler.closed.has_value(); }));
  EXPECT_TRUE(agent.closed_with(wire::CloseCode::draining));
}

TEST(ConnectorTunnel, ADrainLetsTheLastOctetsOut) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  const auto stream = agent.connect(kOne, 80);
  agent.handler.connection->finish(stream);  // asks, and then only listens
  ASSERT_TRUE(world.run_until([&] { return world.backends.tcp.size() == 1; }));
  auto& backend = world.backends.tcp[0];
  backend.events->on_connected({}, world.now());
  ASSERT_TRUE(world.run_until([&] { return backend.shut; }));
  const auto answer = payload(400'000, 9);
  backend.to_read.push_back(answer);
  backend.ended = true;
  while (backend.events != nullptr) backend.events->on_readable();
  world.connector->drain(world.now());
  EXPECT_FALSE(world.connector->drained()) << "all of it still waits in QUIC";
  ASSERT_TRUE(world.run_until([&] { return agent.handler.closed.has_value(); }, Connector::kDrain));
  EXPECT_TRUE(agent.handler.streams[stream.value].fin);
  EXPECT_EQ(agent.received(stream).size(), answer.size() + 1);
  EXPECT_TRUE(agent.closed_with(wire::CloseCode::draining));
}

TEST(ConnectorTunnel, AnIdleDrainIsImmediate) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  world.connector->drain(world.now());
  EXPECT_TRUE(world.connector->drained());
  ASSERT_TRUE(world.run_until([&] { return agent.handler.closed.has_value(); }));
}

TEST(ConnectorTunnel, AClosedTunnelGivesItsRouteBack) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  agent.handler.connection->close(0, "done");
  ASSERT_TRUE(world.run_until([&] { return world.intermediate.inbox.last<wire::RouteClosed>() != nullptr; }));
  EXPECT_EQ(world.intermediate.inbox.last<wire::RouteClosed>()->tunnel, ConnectorWorld::tunnel_id(1));
  EXPECT_EQ(world.connector->tunnels(), 0U);
  EXPECT_EQ(world.connector->hub().relay().size(), 0U);
}

}  // namespace
}  // namespace ztna::connector::test
