// One connection that moves between a relay-like path (synthetic addresses) and a direct one:
//
//   client --- fd00::1:1 ------ relay ------ fd00::2:1 --- server
//          \-- 10.0.0.1:5000 -- direct -- 10.0.0.2:4434 -/
//
// 1000 datagrams a second each way and a stream all the while; none may be lost that the network does not lose.
#include "virtual/quic_virtual/fixture.h"

namespace ztna::test {
namespace {

class Migrations : public QuicWorld {
 protected:
  Migrations() {
    client_address = address("[fd00::1]:1");
    server_address = address("[fd00::2]:1");
  }
  quic::Path relay() const { return {client_address, server_address}; }
  quic::Path direct() const { return {direct_client, direct_server}; }
  bool begin(Duration rtt) {
    world.network.defaults.delay = rtt / 2;
    start();
    client->bind(direct_client);
    server->bind(direct_server);
    return world.run_until([&] { return handler.established && !acceptor.handlers.empty() && peer().established; },
                           10s);
  }
  /// Both ends send a datagram each millisecond, and the client feeds stream 0.
  void traffic(Duration time) {
    const auto end = world.now() + time;
    while (world.now() < end) {
      if (connection().unsent(stream) < 64 * 1024) {
        ASSERT_TRUE(connection().write(stream, ByteVector(1000, 7)));
      }
      ASSERT_FALSE(handler.closed) << to_string(*handler.closed);
      ASSERT_FALSE(peer().closed) << to_string(*peer().closed);
      ASSERT_TRUE(connection().send_datagram(as_bytes("up"), body));
      ASSERT_TRUE(peer().connection->send_datagram(as_bytes("down"), body));
      sent += 1;
      world.run_for(1ms);
    }
  }
  SocketAddress direct_client = address("10.0.0.1:5000");
  SocketAddress direct_server = address("10.0.0.2:4434");
  quic::StreamId stream{0};
  std::uint64_t sent = 0;
  ByteVector body = ByteVector(600);
};

TEST_F(Migrations, Preconditions) {
  ASSERT_TRUE(begin(20ms));
  EXPECT_EQ(connection().migrate(relay(), quic::Migration::immediate, world.now()).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(peer().connection->migrate(direct(), quic::Migration::immediate, world.now()).error().code,
            Errc::invalid_argument);
  EXPECT_FALSE(handler.closed);
}

TEST_F(Migrations, TooManyAtOnceRunOutOfIdsAndHarmNothing) {
  ASSERT_TRUE(begin(20ms));
  world.run_for(1s);
  bool exhausted = false;
  for (int i = 0; i < 20; ++i) {
    const auto result = connection().migrate(i % 2 == 0 ? direct() : relay(), quic::Migration::immediate, world.now());
    if (!result) {
      EXPECT_EQ(result.error().code, Errc::exhausted);
      exhausted = true;
      break;
    }
  }
  EXPECT_TRUE(exhausted);
  world.run_for(5s);
  ASSERT_TRUE(connection().send_datagram({}, as_bytes("x")));
  EXPECT_TRUE(world.run_until([&] { return peer().datagrams == 1; }, 3s));
}

TEST_F(Migrations, ValidatedFirstTellsBothEnds) {
  ASSERT_TRUE(begin(20ms));
  world.run_for(1s);
  ASSERT_TRUE(connection().migrate(direct(), quic::Migration::validate_first, world.now()));
  EXPECT_EQ(connection().path(), relay());
  ASSERT_TRUE(world.run_until([&] { return !handler.validated.empty(); }, 2s));
  EXPECT_EQ(handler.validated[0].first, direct());
  EXPECT_TRUE(handler.validated[0].second);
  EXPECT_EQ(connection().path(), direct());
  ASSERT_EQ(handler.paths.size(), 1U);
  connection().ping();
  ASSERT_TRUE(world.run_until([&] { return !peer().paths.empty(); }, 2s));
  EXPECT_EQ(peer().paths.back(), (quic::Path{direct_server, direct_client}));
}

TEST_F(Migrations, ProbeOfADeadPathLosesNothing) {
  ASSERT_TRUE(begin(20ms));
  stream = connection().open_stream().value();
  LinkProperties dead;
  dead.blocked = true;
  world.network.set_links(direct_client.ip, direct_server.ip, dead);
  ASSERT_TRUE(connection().migrate(direct(), quic::Migration::validate_first, world.now()));
  traffic(5s);
  ASSERT_EQ(handler.validated.size(), 1U);
  EXPECT_FALSE(handler.validated[0].second);
  EXPECT_EQ(connection().path(), relay());
  world.run_for(1s);
  EXPECT_EQ(peer().datagrams, sent);
  EXPECT_EQ(handler.datagrams, sent);
}

TEST_F(Migrations, ImmediateToADeadPathAndBack) {
  ASSERT_TRUE(begin(20ms));
  stream = connection().open_stream().value();
  traffic(500ms);
  LinkProperties dead;
  dead.blocked = true;
  world.network.set_links(direct_client.ip, direct_server.ip, dead);
  ASSERT_TRUE(connection().migrate(direct(), quic::Migration::immediate, world.now()));
  world.run_for(300ms);
  ASSERT_TRUE(connection().migrate(relay(), quic::Migration::immediate, world.now()));
  const auto before = peer().datagrams;
  ASSERT_TRUE(connection().send_datagram({}, as_bytes("back")));
  EXPECT_TRUE(world.run_until([&] { return peer().datagrams > before; }, 500ms));
  traffic(500ms);
  connection().finish(stream);
  EXPECT_TRUE(world.run_until([&] { return peer().streams[stream.value].fin; }, 5s));
}

class RoundTrips : public Migrations, public ::testing::WithParamInterface<int> {};

TEST_P(RoundTrips, FortyMigrationsLoseNothing) {
  const auto rtt = std::chrono::milliseconds{GetParam()};
  ASSERT_TRUE(begin(rtt));
  stream = connection().open_stream().value();
  peer().keep_data = handler.keep_data = false;
  traffic(2s);
  for (int i = 0; i < 40; ++i) {
    const bool up = i % 2 == 0;
    // An upgrade that is still being validated when the next switch is due counts as an aborted one.
    const auto ok = connection().migrate(
        up ? direct() : relay(), up ? quic::Migration::validate_first : quic::Migration::immediate, world.now());
    ASSERT_TRUE(ok) << i << " " << ok.error().text;
    // Each switch starts with a fresh congestion window, which takes some round trips to carry 5 Mbit/s again.
    traffic(std::max<Duration>(100ms, rtt * (GetParam() > 100 ? 12 : 6)));
    ASSERT_EQ(connection().path(), up ? direct() : relay()) << i;
  }
  traffic(1s);
  world.run_for(3s);
  EXPECT_EQ(peer().datagrams, sent);
  EXPECT_EQ(handler.datagrams, sent);
  EXPECT_EQ(connection().stats().datagrams_dropped, 0U);
  EXPECT_EQ(peer().connection->stats().datagrams_dropped, 0U);
  connection().finish(stream);
  EXPECT_TRUE(world.run_until([&] { return peer().streams[stream.value].fin; }, 20s));
  EXPECT_FALSE(handler.closed);
}

INSTANTIATE_TEST_SUITE_P(Rtt, RoundTrips, ::testing::Values(10, 30, 100, 300), ::testing::PrintToStringParamName());

}  // namespace
}  // namespace ztna::test
