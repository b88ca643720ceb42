// What a Connector does not do: strangers, wrong certificates, other services, bad packets, broken protocol.
#include <gtest/gtest.h>

#include "virtual/system_virtual/connector_world.h"
#include "wire/ip/checksum.h"

namespace ztna::connector::test {
namespace {

using ztna::test::Purpose;
using ztna::test::TestCa;

ByteVector udp(const char* from, const char* to, std::size_t size = 20) {
  return *wire::ip::build_udp_packet(address(from), address(to), payload(size));
}

TEST(ConnectorRefusals, AStrangerAtTheDirectPortGetsNoAnswer) {
  ConnectorWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.connector->state().ready; }));
  world.run_for(200ms);  // registration's last acknowledgements
  bool answered = false;
  const SocketAddress stranger = address("203.0.113.99:1234");
  world.network.attach(stranger, [&](const SimPacket&) { answered = true; });
  // A real Initial of a real client with a good certificate, and junk of every kind.
  SimEndpoint client(world.network, {}, nullptr, 5);
  RecordingHandler handler;
  quic::ConnectOptions options;
  options.tls =
      tls(quic::Side::client, world.ca.pem(), world.ca.issue(agent_leaf("laptop", {"web"})), "ztna-tunnel-v1");
  handler.connection = *client->connect(options, {stranger, world.connector_address}, handler, world.now());
  client.flush();
  for (const std::uint8_t first :
       std::initializer_list<std::uint8_t>{0x00, 0x1A, 0x2F, 0x40, 0x5F, 0x80, 0xC0, 0xE3, 0xFF}) {
    world.network.send({stranger, world.connector_address, ByteVector(1200, first)});
    world.network.send({stranger, world.connector_address, ByteVector(1, first)});
  }
  world.network.send({stranger, world.connector_address, {}});
  world.run_for(3s);
  EXPECT_FALSE(answered);
  EXPECT_EQ(world.connector->tunnels(), 0U);
  EXPECT_GE(world.connector->endpoint().fates().value(quic::PacketFate::not_welcome), 1U);
  EXPECT_EQ(world.connector->endpoint().fates().value(quic::PacketFate::accepted), 0U);
  EXPECT_GE(world.connector->hub().fates().value(tunnel::UdpFate::junk), 1U);
}

TEST(ConnectorRefusals, ARoutedInitialFromElsewhereThanTheIntermediateIsDropped) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.run_until([&] { return world.connector->state().ready; }));
  world.open_route(agent, 1);
  const auto sent = world.packets_from_connector;
  ByteVector forged(wire::RelayDatagram::kHeaderSize + 1200, 0xC0);
  for (std::uint64_t id = 99; id < 104; ++id) {
    wire::write_relay_header(std::span{forged}.first<wire::RelayDatagram::kHeaderSize>(), wire::RouteId{id});
    world.network.send({address("203.0.113.99:1234"), world.connector_address, forged});
  }
  world.run_for(500ms);
  EXPECT_EQ(world.connector->hub().fates().value(tunnel::UdpFate::relay_wrong_source), 1U);
  EXPECT_EQ(world.connector->hub().fates().value(tunnel::UdpFate::relay_unknown_route), 4U);
  EXPECT_EQ(world.packets_from_connector, sent);
}

struct BadCertificate {
  const char* what;
  LeafSpec leaf;
  bool other_ca = false;
  identity::IdentityFault fault = identity::IdentityFault::count_;  // count_: refused by TLS already
};

TEST(ConnectorRefusals, WrongCertificatesNeverMakeATunnel) {
  auto nameless = agent_leaf("laptop", {"web"});
  nameless.uris.clear();
  auto serviceless = agent_leaf("laptop", {});
  auto wrong_role = agent_leaf("laptop", {});
  wrong_role.dns = {"connector.web.ztna"};
  wrong_role.uris = {"spiffe://ztna.internal/connector/laptop"};
  auto expired = agent_leaf("laptop", {"web"});
  expired.not_after = -60s;
  auto future = agent_leaf("laptop", {"web"});
  future.not_before = 3600s;
  auto server_only = agent_leaf("laptop", {"web"});
  server_only.purpose = Purpose::server;
  LeafSpec anonymous;
  const std::vector<BadCertificate> cases{
      {"another CA", agent_leaf("laptop", {"web"}), true},
      {"no identity at all", anonymous, false, identity::IdentityFault::no_names},
      {"no name", nameless, false, identity::IdentityFault::no_uri},
      {"no service", serviceless, false, identity::IdentityFault::no_service},
      {"a connector's", wrong_role, false, identity::IdentityFault::role_not_expected},
      {"expired", expired},
      {"not valid yet", future},
      {"for servers only", server_only},
  };
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.what);
    ConnectorWorld world;
    const TestCa foreign{"foreign"};
    const auto pair = (bad.other_ca ? foreign : world.ca).issue(bad.leaf);
    auto& agent = world.add_agent(tls(quic::Side::client, world.ca.pem(), pair, "ztna-tunnel-v1"));
    ASSERT_TRUE(world.run_until([&] { return world.connector->state().ready; }));
    agent.dial(world.open_route(agent, 1), world.now());
    ASSERT_TRUE(world.run_until([&] { return agent.handler.closed.has_value(); }));
    EXPECT_FALSE(agent.handler.closed->text.empty()) << "the client is told why";
    EXPECT_FALSE(agent.handler.established);
    world.run_for(1s);
    EXPECT_EQ(world.connector->tunnels(), 0U);
    const bool by_tls = bad.fault == identity::IdentityFault::count_;
    if (!by_tls) {
      EXPECT_EQ(world.connector->refused_agents().value(bad.fault), 1U);
    }
    const auto end = by_tls ? TunnelEnd::handshake_failed : TunnelEnd::identity_refused;
    EXPECT_EQ(world.connector->tunnel_ends().value(end), 1U);
    EXPECT_EQ(world.connector->tunnel_ends().total(), 1U);
  }
}

TEST(ConnectorRefusals, AServiceThatIsNotOfferedHereIsToldFromABadId) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"*"});
  ASSERT_TRUE(world.bring_up(agent, 1, "elsewhere"));
  EXPECT_EQ(agent.opened(kOne), wire::RegistrationStatus::no_such_service);
  agent.open_service(wire::ServiceHandle{2}, "Not A Service!");
  agent.open_service(wire::ServiceHandle{3}, "web");
  ASSERT_TRUE(world.run_until([&] { return agent.opened(wire::ServiceHandle{3}).has_value(); }));
  EXPECT_EQ(agent.opened(wire::ServiceHandle{2}), wire::RegistrationStatus::bad_service_id);
  EXPECT_EQ(agent.opened(wire::ServiceHandle{3}), wire::RegistrationStatus::ok);
}

TEST(ConnectorRefusals, AServiceOutsideTheCertificateStaysShut) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "db"));
  EXPECT_EQ(agent.opened(kOne), wire::RegistrationStatus::not_permitted);
  agent.open_service(wire::ServiceHandle{2}, "nonexistent");
  agent.open_service(wire::ServiceHandle{3}, "Not A Service!");
  ASSERT_TRUE(world.run_until([&] { return agent.opened(wire::ServiceHandle{3}).has_value(); }));
  EXPECT_EQ(agent.opened(wire::ServiceHandle{2}), wire::RegistrationStatus::not_permitted);
  EXPECT_EQ(agent.opened(wire::ServiceHandle{3}), wire::RegistrationStatus::bad_service_id);
  agent.send(kOne, udp("10.100.0.254:4000", "10.100.0.2:7"));
  const auto stream = agent.connect(kOne, 5432);
  ASSERT_TRUE(world.run_until([&] { return agent.handler.streams[stream.value].fin; }));
  EXPECT_EQ(agent.received(stream), ByteVector{4}) << "not permitted";
  EXPECT_EQ(world.connector->fates().value(PacketFate::unknown_handle), 1U);
  EXPECT_TRUE(world.backends.udp.empty());
  EXPECT_TRUE(world.backends.tcp.empty());
}

TEST(ConnectorRefusals, EachBadPacketHasItsReason) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  const auto good = udp("10.100.0.254:4000", "10.100.0.2:7");
  auto wrong_sum = good;
  wrong_sum.back() ^= 1;
  auto wrong_header_sum = good;
  wrong_header_sum[8] ^= 1;  // TTL
  const ByteVector cut(good.begin(), good.end() - 1);
  auto longer = good;
  longer.push_back(0);
  auto fragment = good;
  fragment[6] = 0x20;  // more fragments
  fragment[10] = fragment[11] = 0;
  const auto sum = wire::ip::checksum(Bytes{fragment}.first(20));
  fragment[10] = static_cast<std::uint8_t>(sum >> 8);
  fragment[11] = static_cast<std::uint8_t>(sum);
  auto dead = *wire::ip::build_udp_packet(address("10.100.0.254:4000"), address("10.100.0.2:7"), payload(20), 0, 0);

  const std::vector<std::tuple<const char*, ByteVector, PacketFate>> cases{
      {"not IP", ByteVector(40, 0x00), PacketFate::not_ip},
      {"cut", cut, PacketFate::truncated},
      {"octets left over", longer, PacketFate::bad_length},
      {"UDP checksum", wrong_sum, PacketFate::bad_checksum},
      {"IP checksum", wrong_header_sum, PacketFate::bad_checksum},
      {"fragment", fragment, PacketFate::fragment},
      {"no hops left", dead, PacketFate::hop_limit},
      {"port", udp("10.100.0.254:4000", "10.100.0.2:6"), PacketFate::wrong_port},
      {"port", udp("10.100.0.254:4000", "10.100.0.2:10"), PacketFate::wrong_port},
      {"another source", udp("10.100.0.253:4000", "10.100.0.2:7"), PacketFate::not_agents_source},
      {"loopback over v6", udp("[::1]:4000", "[fd5a:7a74:6e61::2]:7"), PacketFate::not_agents_source},
  };
  agent.send(kOne, good);  // the tunnel's source is known now
  ASSERT_TRUE(world.run_until([&] { return world.connector->fates().value(PacketFate::forwarded_udp) == 1; }));
  for (const auto& [what, packet, fate] : cases) {
    SCOPED_TRACE(what);
    const auto before = world.connector->fates().value(fate);
    agent.send(kOne, packet);
    EXPECT_TRUE(world.run_until([&] { return world.connector->fates().value(fate) == before + 1; }));
  }
  agent.send(wire::ServiceHandle{9}, good);
  EXPECT_TRUE(world.run_until([&] { return world.connector->fates().value(PacketFate::unknown_handle) == 1; }));
  EXPECT_EQ(world.connector->fates().value(PacketFate::forwarded_udp), 1U);
  EXPECT_EQ(world.backends.udp.size(), 1U);
  EXPECT_TRUE(agent.packets.empty()) << "nothing is sent back";
  EXPECT_FALSE(agent.handler.closed);
}

TEST(ConnectorRefusals, APinnedServiceTakesItsOwnAddressOnly) {
  ConnectorWorld world;
  ASSERT_TRUE(world.run_until([&] { return world.connector->state().ready; }));
  auto services = two_services();
  services[0].pinned = {ip("10.100.0.2")};
  world.connector->reload({services, world.control_tls, world.tunnel_tls, {}}, world.now());
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  const auto* asked = world.intermediate.inbox.last<wire::RegisterConnector>();
  ASSERT_NE(asked, nullptr);
  EXPECT_EQ(asked->pinned, wire::VirtualIps{ip("10.100.0.2")});
  agent.send(kOne, udp("10.100.0.254:4000", "10.100.0.3:7"));
  EXPECT_TRUE(world.run_until([&] { return world.connector->fates().value(PacketFate::wrong_service_ip) == 1; }));
  agent.send(kOne, udp("10.100.0.254:4000", "10.100.0.2:7"));
  EXPECT_TRUE(world.run_until([&] { return world.connector->fates().value(PacketFate::forwarded_udp) == 1; }));
}

TEST(ConnectorRefusals, ABrokenProtocolClosesTheTunnel) {
  using Play = std::function<void(MiniAgent&)>;
  const auto raw = [](MiniAgent& agent, ByteVector octets) {
    ASSERT_TRUE(agent.handler.connection->write(quic::StreamId{0}, Bytes{octets}));
  };
  const std::vector<std::tuple<const char*, wire::CloseCode, Play>> cases{
      {"no Hello first", wire::CloseCode::protocol_violation,
       [](MiniAgent& agent) {
         ASSERT_TRUE(agent.handler.connection->open_stream());
         agent.open_service(kOne, "web");
       }},
      {"another version", wire::CloseCode::unsupported_version, [](MiniAgent& agent) { agent.hello(2); }},
      {"Hello twice", wire::CloseCode::protocol_violation,
       [](MiniAgent& agent) {
         agent.hello();
         agent.tell(wire::Hello{});
       }},
      {"a handle twice", wire::CloseCode::protocol_violation,
       [](MiniAgent& agent) {
         agent.hello();
         agent.open_service(kOne, "web");
         agent.open_service(kOne, "web");
       }},
      {"the other side's message", wire::CloseCode::protocol_violation,
       [](MiniAgent& agent) {
         agent.hello();
         agent.tell(wire::ServiceOpened{kOne, wire::RegistrationStatus::ok});
       }},
      {"unknown critical type", wire::CloseCode::protocol_violation,
       [&](MiniAgent& agent) {
         agent.hello();
         raw(agent, {0x7E, 0});
       }},
      {"oversized", wire::CloseCode::protocol_violation,
       [&](MiniAgent& agent) {
         agent.hello();
         raw(agent, {0x40, 0x80, 0x01, 0x00, 0x00});
       }},
      {"the control stream ends", wire::CloseCode::protocol_violation,
       [](MiniAgent& agent) {
         agent.hello();
         agent.handler.connection->finish(quic::StreamId{0});
       }},
      {"the control stream is reset", wire::CloseCode::protocol_violation,
       [](MiniAgent& agent) {
         agent.hello();
         agent.handler.connection->reset(quic::StreamId{0}, 1);
       }},
      {"requests without end", wire::CloseCode::limit,
       [](MiniAgent& agent) {
         agent.hello();
         for (std::uint16_t i = 1; i <= AgentTunnel::kRequestBurst; ++i) {
           agent.open_service(wire::ServiceHandle{i}, "web");
           agent.tell(wire::CloseService{wire::ServiceHandle{i}, wire::ServiceCloseReason::asked_for});
         }
       }},
      {"silence", wire::CloseCode::protocol_violation, [](MiniAgent&) {}},
  };
  for (const auto& [what, code, play] : cases) {
    SCOPED_TRACE(what);
    ConnectorWorld world;
    auto& agent = world.add_agent("laptop", {"web"});
    ASSERT_TRUE(world.run_until([&] { return world.connector->state().ready; }));
    agent.dial(world.open_route(agent, 1), world.now());
    ASSERT_TRUE(world.run_until([&] { return agent.handler.established; }));
    play(agent);
    EXPECT_TRUE(world.run_until([&] { return agent.handler.closed.has_value(); }, 15s));
    EXPECT_TRUE(agent.closed_with(code)) << (agent.handler.closed ? to_string(*agent.handler.closed) : "open");
    EXPECT_EQ(world.connector->tunnels(), 0U);
    const auto end = end_of({quic::CloseReason::By::local, true, static_cast<std::uint64_t>(code), ""}, true);
    EXPECT_NE(end, TunnelEnd::other);
    EXPECT_EQ(world.connector->tunnel_ends().value(end), 1U);
    EXPECT_EQ(world.connector->tunnel_ends().total(), 1U);
  }
}

TEST(ConnectorRefusals, HandshakesOnARouteHaveARate) {
  ConnectorWorld world;
  auto& honest = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.run_until([&] { return world.connector->state().ready; }));
  auto& first = world.add_agent("phone", {"web"});
  const auto route = world.open_route(first, 1, "phone");
  constexpr std::uint32_t kBegun = 40;
  for (std::uint32_t i = 0; i < kBegun; ++i) {
    auto& agent = i == 0 ? first : world.add_agent("phone", {"web"});
    agent.dial(route, world.now());
  }
  world.run_for(50ms);
  const auto& fates = world.connector->endpoint().fates();
  EXPECT_EQ(fates.value(quic::PacketFate::accepted), Route::kHandshakeBurst);
  EXPECT_GE(fates.value(quic::PacketFate::not_welcome), kBegun - Route::kHandshakeBurst);
  EXPECT_TRUE(world.bring_up(honest, 2, "web"));
}

TEST(ConnectorRefusals, AnUnknownExtensionIsSkipped) {
  ConnectorWorld world;
  auto& agent = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(agent, 1, "web"));
  const ByteVector extension{0x80, 2, 1, 2};
  ASSERT_TRUE(agent.handler.connection->write(quic::StreamId{0}, Bytes{extension}));
  agent.open_service(wire::ServiceHandle{2}, "web");
  EXPECT_TRUE(world.run_until([&] { return agent.opened(wire::ServiceHandle{2}) == wire::RegistrationStatus::ok; }));
}

TEST(ConnectorRefusals, AnAgentHasALimitOfTunnels) {
  Limits limits;
  limits.tunnels_per_agent = 1;
  ConnectorWorld world{1, limits};
  auto& first = world.add_agent("laptop", {"web"});
  ASSERT_TRUE(world.bring_up(first, 1, "web"));
  auto& second = world.add_agent("laptop", {"web"});
  second.dial(world.open_route(second, 2), world.now());
  ASSERT_TRUE(world.run_until([&] { return second.handler.closed.has_value(); }));
  EXPECT_TRUE(second.closed_with(wire::CloseCode::limit));
  EXPECT_EQ(world.connector->tunnel_ends().value(TunnelEnd::limit), 1U);
  EXPECT_FALSE(first.handler.closed);
}

}  // namespace
}  // namespace ztna::connector::test
