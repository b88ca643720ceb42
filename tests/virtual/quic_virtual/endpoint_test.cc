// What an endpoint makes of packets: Retry, tokens, version negotiation, junk, stateless resets, steering, limits.
#include "virtual/quic_virtual/fixture.h"

namespace ztna::test {
namespace {

using quic::Acceptor;
using quic::CloseReason;
using quic::PacketFate;

class Endpoints : public QuicWorld {
 protected:
  /// Gives the server a packet that came from `from`.
  PacketFate inject(Bytes packet, const SocketAddress& from) {
    const auto fate = (*server)->receive({server_address, from}, packet, world.now(), *server);
    server->flush();
    return fate;
  }
  /// Records what the client sends.
  void record() {
    world.network.tap = [this](SimPacket& p) {
      if (p.to == server_address) recorded.push_back(p.payload);
      return true;
    };
  }
  std::vector<ByteVector> recorded;
  SocketAddress stranger = address("203.0.113.66:666");
};

TEST_F(Endpoints, RetryValidatesTheAddress) {
  acceptor.verdict = Acceptor::Admit::retry;
  ASSERT_TRUE(establish());
  EXPECT_EQ(server->fates[PacketFate::retry_sent], 1U);
  EXPECT_EQ(server->fates[PacketFate::accepted], 1U);
  EXPECT_EQ((*server)->retry_tokens_validated().value(), 1U);
  EXPECT_EQ((*server)->retry_token_failures().value(), 0U);
  EXPECT_EQ(acceptor.asked_validated, 1);
}

TEST_F(Endpoints, RetryTokenOfAnotherAddressIsRefused) {
  acceptor.verdict = Acceptor::Admit::retry;
  record();
  ASSERT_TRUE(establish());
  ASSERT_GE(recorded.size(), 2U);
  const auto with_token = recorded[1];  // the second Initial
  world.run_for(1s);
  // The same Initial (its id is still known here) from elsewhere, at a server that has forgotten the connection.
  server->restart(server_options, &acceptor);
  EXPECT_EQ(inject(with_token, stranger), PacketFate::bad_token);
  EXPECT_EQ((*server)->retry_token_failures().value(), 1U);
  EXPECT_EQ((*server)->connections(), 0U);
}

TEST_F(Endpoints, RetryTokenExpires) {
  acceptor.verdict = Acceptor::Admit::retry;
  record();
  ASSERT_TRUE(establish());
  server->restart(server_options, &acceptor);
  world.run_for(11s);
  EXPECT_EQ(inject(recorded[1], client_address), PacketFate::bad_token);
}

TEST_F(Endpoints, ForgedTokensAreRefused) {
  acceptor.verdict = Acceptor::Admit::retry;
  record();
  ASSERT_TRUE(establish());
  auto forged = recorded[1];
  // Long header: 1 + 4 + 1 + 8 + 1 + 8, token length (2), token.
  forged[40] ^= 1;
  server->restart(server_options, &acceptor);
  EXPECT_EQ(inject(forged, client_address), PacketFate::bad_token);
  EXPECT_EQ((*server)->retry_token_failures().value(), 1U);
}

TEST_F(Endpoints, NewTokenSavesTheRetry) {
  acceptor.verdict = Acceptor::Admit::retry;
  ASSERT_TRUE(establish());
  ASSERT_TRUE(world.run_until([&] { return !handler.new_token.empty(); }, 2s));
  connection().close(0, "");
  world.run_for(5s);
  connect_options.token = handler.new_token;
  RecordingHandler second;
  connect_with(second);
  ASSERT_TRUE(world.run_until([&] { return second.established; }, 5s));
  EXPECT_EQ(server->fates[PacketFate::retry_sent], 1U);
  // From another address the token is worth nothing.
  const auto elsewhere = address("198.51.100.9:7000");
  client->bind(elsewhere);
  RecordingHandler third;
  ASSERT_TRUE((*client)->connect(connect_options, {elsewhere, server_address}, third, world.now()));
  ASSERT_TRUE(world.run_until([&] { return third.established; }, 5s));
  EXPECT_EQ(server->fates[PacketFate::retry_sent], 2U);
}

TEST_F(Endpoints, UnknownVersionIsNegotiatedAndSmallOnesAreNot) {
  start_server();
  ByteVector packet(1200);
  packet[0] = 0xC0;
  packet[1] = 0xAB;
  packet[5] = 8;
  packet[14] = 8;
  EXPECT_EQ(inject(packet, stranger), PacketFate::version_negotiation_sent);
  EXPECT_EQ(server->packets_sent, 1U);
  EXPECT_LT(server->largest_sent, 100U);
  packet.resize(1199);
  EXPECT_EQ(inject(packet, stranger), PacketFate::malformed);
  packet.resize(1200);
  acceptor.verdict = Acceptor::Admit::ignore;
  EXPECT_EQ(inject(packet, stranger), PacketFate::not_welcome);
  EXPECT_EQ(server->packets_sent, 1U);
}

TEST_F(Endpoints, LongConnectionIdsOfUnknownVersionsAreEchoed) {
  start_server();
  ByteVector packet(1300, 0x55);
  packet[0] = 0xC0;
  packet[5] = 255;
  packet[5 + 256] = 255;
  EXPECT_EQ(inject(packet, stranger), PacketFate::version_negotiation_sent);
}

TEST_F(Endpoints, JunkIsCountedAndUnanswered) {
  start_server();
  EXPECT_EQ(inject({}, stranger), PacketFate::malformed);
  EXPECT_EQ(inject(ByteVector{0x40}, stranger), PacketFate::malformed);
  EXPECT_EQ(inject(ByteVector(100, 0x00), stranger), PacketFate::malformed);
  EXPECT_EQ(inject(ByteVector(5, 0xC0), stranger), PacketFate::malformed);
  EXPECT_EQ(inject(ByteVector(21, 0x41), stranger), PacketFate::unknown_connection);
  EXPECT_EQ(server->packets_sent, 0U);
  SeededRandom random{4};
  for (int i = 0; i < 20'000; ++i) {
    ByteVector packet(random.below(1400));
    random.fill(packet);
    inject(packet, stranger);
  }
  EXPECT_EQ((*server)->connections(), 0U);
  EXPECT_EQ((*server)->fates().total(), 20'005U);
}

TEST_F(Endpoints, MutatedPacketsNeverHurtALiveConnection) {
  record();
  acceptor.verdict = Acceptor::Admit::retry;
  ASSERT_TRUE(establish());
  const auto id = connection().open_stream().value();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(connection().write(id, ByteVector(500, static_cast<std::uint8_t>(i))));
    ASSERT_TRUE(connection().send_datagram({}, as_bytes("datagram")));
    world.run_for(5ms);
  }
  world.run_for(1s);
  auto corpus = recorded;
  SeededRandom random{99};
  const std::vector<SocketAddress> sources{client_address, stranger};
  for (int i = 0; i < 100'000; ++i) {
    auto packet = corpus[random.below(corpus.size())];
    switch (random.below(4)) {
      case 0: packet.resize(random.below(packet.size() + 1)); break;
      case 1: packet.insert(packet.end(), random.below(200), 0x40); break;
      default: break;
    }
    // The header only, or anywhere; replays of whole packets too.
    const auto changes = random.below(6);
    for (std::uint64_t c = 0; c < changes && !packet.empty(); ++c) {
      const auto limit = random.below(2) == 0 ? std::min<std::size_t>(packet.size(), 40) : packet.size();
      packet[random.below(limit)] = static_cast<std::uint8_t>(random.u64());
    }
    inject(packet, sources[random.below(2)]);
    if (i % 1000 == 0) world.run_for(10ms);
  }
  world.run_for(5s);
  EXPECT_FALSE(handler.closed);
  ASSERT_TRUE(connection().send_datagram({}, as_bytes("still here")));
  ASSERT_TRUE(world.run_until(
      [&] { return !peer().datagram_list.empty() && as_text(peer().datagram_list.back()) == "still here"; }, 5s));
}

TEST_F(Endpoints, MutatedPacketsNeverHurtAClient) {
  std::vector<ByteVector> from_server;
  world.network.tap = [&](SimPacket& p) {
    if (p.from == server_address) from_server.push_back(p.payload);
    return true;
  };
  ASSERT_TRUE(establish());
  world.run_for(1s);
  const auto corpus = from_server;
  SeededRandom random{5};
  for (int i = 0; i < 50'000; ++i) {
    auto packet = corpus[random.below(corpus.size())];
    for (std::uint64_t c = random.below(5); c > 0; --c)
      packet[random.below(packet.size())] = static_cast<std::uint8_t>(random.u64());
    if (random.below(3) == 0) packet.resize(random.below(packet.size() + 1));
    (*client)->receive(path(), packet, world.now(), *client);
    if (i % 1000 == 0) world.run_for(10ms);
  }
  world.run_for(1s);
  EXPECT_FALSE(handler.closed);
}

TEST_F(Endpoints, StatelessResetAfterTheServerLostItsState) {
  ASSERT_TRUE(establish());
  world.run_for(1s);
  server->restart(server_options, &acceptor);
  connection().ping();
  ASSERT_TRUE(world.run_until([&] { return handler.closed.has_value(); }, 5s));
  EXPECT_EQ(handler.closed->by, CloseReason::By::stateless_reset);
  EXPECT_GT(server->fates[PacketFate::stateless_reset_sent], 0U);
  world.run_for(30s);
  EXPECT_EQ((*client)->connections(), 0U);
}

TEST_F(Endpoints, StatelessResetReachesTheServerToo) {
  ASSERT_TRUE(establish());
  world.run_for(1s);
  // A client's first id comes without a token (RFC 9000 18.2); the one that the server uses after a migration has one.
  const auto other = address("198.51.100.1:6000");
  client->bind(other);
  ASSERT_TRUE(connection().migrate({other, server_address}, quic::Migration::immediate, world.now()));
  world.run_for(1s);
  client->restart(client_options, nullptr);
  ASSERT_TRUE(peer().connection->send_datagram({}, as_bytes("are you there")));
  ASSERT_TRUE(world.run_until([&] { return peer().closed.has_value(); }, 5s));
  EXPECT_EQ(peer().closed->by, CloseReason::By::stateless_reset);
}

TEST_F(Endpoints, WithoutItsSecretNoResetIsBelieved) {
  ASSERT_TRUE(establish());
  world.run_for(1s);
  auto other = server_options;
  other.reset_secret.fill(8);
  server->restart(other, &acceptor);
  connection().ping();
  world.run_for(10s);
  EXPECT_FALSE(handler.closed);
}

TEST_F(Endpoints, ResetsAreShorterThanTheirTriggerAndLimited) {
  start_server();
  for (std::size_t size = 9; size < 60; ++size) {
    const auto before = server->packets_sent;
    server->largest_sent = 0;
    inject(ByteVector(size, 0x41), stranger);
    if (size <= 21) {
      EXPECT_EQ(server->packets_sent, before) << size;
    } else {
      EXPECT_EQ(server->packets_sent, before + 1) << size;
      EXPECT_LT(server->largest_sent, size);
    }
  }
  const auto before = server->packets_sent;
  for (int i = 0; i < 10'000; ++i) inject(ByteVector(100, 0x41), stranger);
  EXPECT_LT(server->packets_sent, before + 1000);
  acceptor.verdict = Acceptor::Admit::ignore;
  world.run_for(60s);
  const auto silent = server->packets_sent;
  EXPECT_EQ(inject(ByteVector(100, 0x41), stranger), PacketFate::not_welcome);
  EXPECT_EQ(server->packets_sent, silent);
}

TEST_F(Endpoints, AStrangerCannotUseUpTheResetsOfOthers) {
  ASSERT_TRUE(establish());
  world.run_for(1s);
  server->restart(server_options, &acceptor);
  for (int i = 0; i < 10'000; ++i) inject(ByteVector(100, 0x41), {stranger.ip, static_cast<std::uint16_t>(1024 + i)});
  EXPECT_LE((*server)->fates().value(PacketFate::stateless_reset_sent), 100U);
  EXPECT_EQ(inject(ByteVector(100, 0x41), client_address), PacketFate::stateless_reset_sent);
  // Nor a network of his own.
  for (int i = 0; i < 10'000; ++i) {
    inject(ByteVector(100, 0x41), {*IpAddress::parse("2001:db8:1:2::" + std::to_string(i % 9999)), 666});
  }
  EXPECT_LE((*server)->fates().value(PacketFate::stateless_reset_sent), 200U);
  EXPECT_EQ(inject(ByteVector(100, 0x41), address("[2001:db8:1:3::1]:5000")), PacketFate::stateless_reset_sent);
  connection().ping();
  ASSERT_TRUE(world.run_until([&] { return handler.closed.has_value(); }, 1s));
  EXPECT_EQ(handler.closed->by, CloseReason::By::stateless_reset);
}

TEST_F(Endpoints, RelayedPathsDoNotShareTheirResets) {
  start_server();
  // As tunnel::RelayPaths makes them.
  const auto one = address("[fd7a:746e:6100:2::1]:1");
  const auto other = address("[fd7a:746e:6100:2::2]:1");
  for (int i = 0; i < 1000; ++i) inject(ByteVector(100, 0x41), one);
  EXPECT_EQ(inject(ByteVector(100, 0x41), one), PacketFate::unknown_connection);
  EXPECT_EQ(inject(ByteVector(100, 0x41), other), PacketFate::stateless_reset_sent);
}

TEST_F(Endpoints, ForgedSourcesDoNotMakeAFloodOfResets) {
  start_server();
  for (std::uint32_t i = 0; i < 20'000; ++i) inject(ByteVector(100, 0x41), {IpAddress::v4(0x0A000000 + i), 5000});
  EXPECT_LE((*server)->fates().value(PacketFate::stateless_reset_sent), 4000U);
  EXPECT_GE((*server)->fates().value(PacketFate::stateless_reset_sent), 1000U)
      << "all clients of a restarted server need one";
}

TEST_F(Endpoints, PacketsOfAnotherWorkerAreHandedBack) {
  server_options.worker = 1;
  server_options.workers = 4;
  record();
  ASSERT_TRUE(establish());  // the client's made-up ids name any worker: Initials are accepted everywhere
  ByteVector packet(100, 0x41);
  packet[1] = 2;
  EXPECT_EQ(inject(packet, stranger), PacketFate::foreign_worker);
  packet[1] = 1;
  EXPECT_EQ(inject(packet, stranger), PacketFate::stateless_reset_sent);
  packet[1] = 5;  // 5 % 4
  EXPECT_EQ(inject(packet, stranger), PacketFate::stateless_reset_sent);
  // Every packet of the client after the handshake names worker 1.
  recorded.clear();
  connection().ping();
  world.run_for(1s);
  ASSERT_FALSE(recorded.empty());
  for (const auto& p : recorded) {
    if ((p[0] & 0x80U) == 0) {
      EXPECT_EQ(p[1], 1);
    }
  }
}

TEST_F(Endpoints, TooManyHandshakesAskForRetryAndTooManyConnectionsAreRefused) {
  server_options.max_handshakes = 4;
  server_options.max_connections = 6;
  start_server();
  std::vector<std::unique_ptr<RecordingHandler>> handlers;
  for (int i = 0; i < 12; ++i) {
    handlers.push_back(std::make_unique<RecordingHandler>());
    connect_with(*handlers.back());
  }
  world.run_until([&] { return std::ranges::all_of(handlers, [](auto& h) { return h->established || h->closed; }); },
                  20s);
  EXPECT_GT(server->fates[PacketFate::retry_sent], 0U);
  const auto established = std::ranges::count_if(handlers, [](auto& h) { return h->established; });
  EXPECT_LE(established, 6);
  EXPECT_GE(established, 4);
  // A limit that is raised counts at once.
  (*server)->set_max_connections(20);
  RecordingHandler late;
  connect_with(late);
  EXPECT_TRUE(world.run_until([&] { return late.established; }, 20s));
  // One that is lowered ends none, and is for what others begin.
  (*server)->set_max_connections(1);
  RecordingHandler refused;
  connect_with(refused);
  EXPECT_TRUE(world.run_until([&] { return refused.closed.has_value(); }, 20s));
  EXPECT_FALSE(late.closed);
  (*client)->set_max_connections(0);
  (*server)->set_max_connections(20);
  RecordingHandler own;
  connect_with(own);
  EXPECT_TRUE(world.run_until([&] { return own.established; }, 20s));
}

TEST_F(Endpoints, IdleTimeout) {
  connect_options.transport.idle_timeout = 5s;
  ASSERT_TRUE(establish());
  const auto begin = world.now();
  ASSERT_TRUE(world.run_until([&] { return handler.closed && peer().closed; }, 60s));
  EXPECT_EQ(handler.closed->by, CloseReason::By::idle);
  EXPECT_EQ(peer().closed->by, CloseReason::By::idle);
  EXPECT_LT(world.now() - begin, 8s);
}

TEST_F(Endpoints, KeepAliveKeepsAlive) {
  connect_options.transport.idle_timeout = 5s;
  connect_options.transport.keep_alive = 2s;
  ASSERT_TRUE(establish());
  world.run_for(120s);
  EXPECT_FALSE(handler.closed);
  EXPECT_FALSE(peer().closed);
}

TEST_F(Endpoints, PingIsAnsweredAtOnce) {
  connect_options.transport.keep_alive = 10s;
  ASSERT_TRUE(establish());
  world.run_for(3s);
  const auto received = connection().stats().packets_received;
  const auto sent = connection().stats().packets_sent;
  connection().ping();
  world.run_for(100ms);
  EXPECT_EQ(connection().stats().packets_sent, sent + 1);
  EXPECT_EQ(connection().stats().packets_received, received + 1);
  world.run_for(9s);  // and the keep-alive is what it was
  EXPECT_EQ(connection().stats().packets_sent, sent + 1);
}

TEST_F(Endpoints, NatRebindingIsFollowed) {
  const auto outside = address("198.51.100.7:40001");
  world.network.nat(client_address, outside);
  ASSERT_TRUE(establish());
  EXPECT_EQ(peer().connection->path().remote, outside);
  world.run_for(1s);
  const auto rebound = address("198.51.100.7:40002");
  world.network.nat(client_address, rebound);
  connection().ping();
  ASSERT_TRUE(world.run_until([&] { return peer().connection->path().remote == rebound; }, 3s));
  ASSERT_TRUE(world.run_until([&] { return !peer().paths.empty(); }, 3s));
  EXPECT_EQ(peer().paths.back().remote, rebound);
  EXPECT_EQ(peer().connection->validated_path().remote, rebound);
  ASSERT_TRUE(peer().connection->send_datagram({}, as_bytes("found you")));
  ASSERT_TRUE(world.run_until([&] { return handler.datagrams == 1; }, 3s));
}

TEST_F(Endpoints, ASpoofedSourceIsNeverToldAsThePath) {
  ASSERT_TRUE(establish());
  world.run_for(1s);
  const auto home = peer().connection->path();
  const auto victim = address("203.0.113.9:53");
  int spoofed = 0;
  world.network.tap = [&](test::SimPacket& packet) {
    if (packet.to == home.local && packet.from == home.remote && spoofed == 0) {
      packet.from = victim;
      ++spoofed;
    }
    return true;
  };
  connection().ping();
  ASSERT_TRUE(world.run_until([&] { return peer().connection->path().remote == victim; }, 3s))
      << "ngtcp2 follows at once";
  EXPECT_TRUE(peer().paths.empty());
  EXPECT_EQ(peer().connection->validated_path(), home);
  connection().ping();
  world.run_for(10s);
  EXPECT_TRUE(peer().paths.empty());
  EXPECT_EQ(peer().connection->validated_path(), home);
  EXPECT_EQ(peer().connection->path(), home);
}

TEST_F(Endpoints, CloseTextIsCutAndMadePrintable) {
  ASSERT_TRUE(establish());
  std::string text(1000, 'x');
  text[1] = '\n';
  text[2] = '\x1b';
  connection().close(9, text);
  EXPECT_EQ(handler.times_closed, 1);
  EXPECT_EQ(handler.closed->by, CloseReason::By::local);
  connection().close(10, "again");
  EXPECT_EQ(handler.times_closed, 1);
  ASSERT_TRUE(world.run_until([&] { return peer().closed.has_value(); }, 3s));
  EXPECT_EQ(peer().closed->code, 9U);
  EXPECT_EQ(peer().closed->text.size(), 256U);
  EXPECT_EQ(peer().closed->text.substr(0, 4), "x??x");
  world.run_for(10s);
  EXPECT_EQ((*client)->connections(), 0U);
  EXPECT_EQ((*server)->connections(), 0U);
}

TEST_F(Endpoints, CloseIsRepeatedForAPeerThatMissedIt) {
  ASSERT_TRUE(establish());
  world.run_for(1s);
  auto& link = world.network.link(client_address.ip, server_address.ip);
  link.blocked = true;
  connection().close(4, "draining");
  world.run_for(20ms);
  link.blocked = false;
  ASSERT_TRUE(peer().connection->send_datagram({}, as_bytes("x")));
  ASSERT_TRUE(world.run_until([&] { return peer().closed.has_value(); }, 1s));
  EXPECT_EQ(peer().closed->code, 4U);
}

TEST_F(Endpoints, ResumptionVerifiesAgain) {
  server_tls.session_tickets = client_tls.session_tickets = true;
  ASSERT_TRUE(establish());
  ASSERT_TRUE(world.run_until([&] { return !handler.session.empty(); }, 2s));
  connection().close(0, "");
  connect_options.session = handler.session;
  RecordingHandler second;
  connect_with(second);
  ASSERT_TRUE(world.run_until([&] { return second.established && peer().established; }, 5s));
  EXPECT_EQ(second.verified, 1);
  EXPECT_EQ(peer().verified, 1);
  EXPECT_EQ(second.leaf_seen, handler.leaf_seen);
  EXPECT_EQ(peer().leaf_seen, acceptor.handlers[0]->leaf_seen);
}

TEST_F(Endpoints, ResumptionOfAnExpiredCertificateIsRefused) {
  client_tls =
      tls_options(pki.ca.pem(), pki.ca.issue({.purpose = Purpose::client, .not_after = std::chrono::seconds{600}}));
  server_tls.session_tickets = client_tls.session_tickets = true;
  ASSERT_TRUE(establish());
  ASSERT_TRUE(world.run_until([&] { return !handler.session.empty(); }, 2s));
  connection().close(0, "");
  const ShiftedWallClock later{std::chrono::seconds{1200}};
  connect_options.session = handler.session;
  RecordingHandler second;
  connect_with(second);
  ASSERT_TRUE(world.run_until([&] { return second.closed.has_value(); }, 5s));
  EXPECT_FALSE(second.established);
  EXPECT_EQ(second.closed->text, "certificate expired");
  EXPECT_EQ(second.closed->code, 0x100U + 45);
}

TEST_F(Endpoints, HandlerRefusesAResumption) {
  server_tls.session_tickets = client_tls.session_tickets = true;
  ASSERT_TRUE(establish());
  ASSERT_TRUE(world.run_until([&] { return !handler.session.empty(); }, 2s));
  connection().close(0, "");
  acceptor.prepare = [](RecordingHandler& h) { h.refuse_with = "revoked"; };
  connect_options.session = handler.session;
  RecordingHandler second;
  connect_with(second);
  ASSERT_TRUE(world.run_until([&] { return second.closed.has_value(); }, 5s));
  EXPECT_FALSE(second.established);
  EXPECT_EQ(second.closed->text, "revoked");
}

TEST_F(Endpoints, NoTicketsUnlessAsked) {
  ASSERT_TRUE(establish());
  world.run_for(2s);
  EXPECT_TRUE(handler.session.empty());
}

TEST_F(Endpoints, AReloadedContextLeavesOldConnectionsAlone) {
  ASSERT_TRUE(establish());
  acceptor.tls.reset();
  connect_options.tls.reset();
  ASSERT_TRUE(connection().send_datagram({}, as_bytes("x")));
  ASSERT_TRUE(world.run_until([&] { return peer().datagrams == 1; }, 2s));
}

TEST_F(Endpoints, ThousandsOfConnections) {
  constexpr int kMany = 2000;
  server_options.max_handshakes = kMany;
  start_server();
  std::vector<std::unique_ptr<RecordingHandler>> handlers;
  for (int i = 0; i < kMany; ++i) {
    handlers.push_back(std::make_unique<RecordingHandler>());
    connect_with(*handlers.back());
    if (i % 100 == 0) world.run_for(1ms);
  }
  ASSERT_TRUE(
      world.run_until([&] { return std::ranges::all_of(handlers, [](auto& h) { return h->established; }); }, 60s));
  for (int round = 0; round < 3; ++round) {
    for (auto& h : handlers) ASSERT_TRUE(h->connection->send_datagram({}, as_bytes("hello")));
    world.run_for(1s);
  }
  std::uint64_t seen = 0;
  for (auto& h : acceptor.handlers) seen += h->datagrams;
  EXPECT_EQ(seen, 3U * kMany);
  for (auto& h : handlers) h->connection->close(0, "");
  world.run_for(10s);
  EXPECT_EQ((*server)->connections(), 0U);
  EXPECT_EQ((*client)->connections(), 0U);
}

}  // namespace
}  // namespace ztna::test
