// What a connection says of its path while the network breaks it, at both ends: the figures that path::judge() goes by.
// Topology as in migration_test.cc: a relay-like path and a direct one.
#include "virtual/quic_virtual/fixture.h"

namespace ztna::test {
namespace {

using quic::Migration;

class Life : public QuicWorld, public ::testing::WithParamInterface<int> {
 protected:
  Life() {
    client_address = address("[fd00::1]:1");
    server_address = address("[fd00::2]:1");
    connect_options.transport.initial_rtt = acceptor.transport.initial_rtt = 200ms;
  }
  Duration rtt() const { return std::chrono::milliseconds{GetParam()}; }
  quic::Path relay() const { return {client_address, server_address}; }
  quic::Path direct() const { return {direct_client, direct_server}; }
  bool begin() {
    world.network.defaults.delay = rtt() / 2;
    start();
    client->bind(direct_client);
    server->bind(direct_server);
    return world.run_until([&] { return handler.established && !acceptor.handlers.empty() && peer().established; },
                           10s);
  }
  bool go_direct() {
    if (!connection().migrate(direct(), Migration::validate_first, world.now())) return false;
    if (!world.run_until([&] { return connection().path() == direct(); }, 3s)) return false;
    connection().ping();
    return world.run_until([&] { return peer().connection->path() == quic::Path{direct_server, direct_client}; }, 3s);
  }
  void out(bool blocked) { world.network.link(direct_client.ip, direct_server.ip).blocked = blocked; }
  void back(bool blocked) { world.network.link(direct_server.ip, direct_client.ip).blocked = blocked; }
  void largest(std::size_t octets) {
    world.network.link(direct_client.ip, direct_server.ip).mtu = octets;
    world.network.link(direct_server.ip, direct_client.ip).mtu = octets;
  }
  /// A datagram each way each 5 ms.
  void traffic(Duration time, std::size_t size = 100, bool up = true, bool down = true) {
    const ByteVector body(size);
    for (const auto end = world.now() + time; world.now() < end;) {
      if (up) (void)connection().send_datagram({}, body);
      if (down) (void)peer().connection->send_datagram({}, body);
      world.run_for(5ms);
    }
  }
  quic::Liveness ours() { return connection().liveness(); }
  quic::Liveness theirs() { return peer().connection->liveness(); }
  Duration waits(const quic::Liveness& seen) const {
    return seen.waiting_since == kNever ? 0ns : world.now() - seen.waiting_since;
  }

  SocketAddress direct_client = address("10.0.0.1:5000");
  SocketAddress direct_server = address("10.0.0.2:4434");
};

TEST_P(Life, NothingWaitsOnAnIdlePath) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(go_direct());
  world.run_for(10s);
  EXPECT_EQ(ours().waiting_since, kNever);
  EXPECT_EQ(theirs().waiting_since, kNever);
  EXPECT_EQ(ours().large_since, kNever);
  EXPECT_GE(ours().rtt, rtt());
  EXPECT_LE(ours().rtt, rtt() + 30ms);
}

TEST_P(Life, AnAlivePathIsAcknowledgedWithinARoundTripAndTheDelay) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(go_direct());
  traffic(1s + 4 * rtt());
  for (int i = 0; i < 100; ++i) {
    traffic(10ms);
    EXPECT_LE(waits(ours()), rtt() + 60ms) << i;
    EXPECT_LE(world.now() - ours().heard, 30ms) << i;
    EXPECT_LE(world.now() - ours().payload, 30ms) << i;
    EXPECT_LE(waits(theirs()), rtt() + 60ms) << i;
  }
}

TEST_P(Life, BothWaysBlocked) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(go_direct());
  traffic(1s + 4 * rtt());
  out(true), back(true);
  traffic(1s);
  EXPECT_GE(waits(ours()), 1s - rtt());
  EXPECT_GE(world.now() - ours().heard, 1s - rtt());
  EXPECT_GE(waits(theirs()), 1s - rtt());
}

TEST_P(Life, OurWayBlockedIsSeenAsWaitingWhileTheirsComes) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(go_direct());
  traffic(1s + 4 * rtt());
  out(true);
  traffic(1s);
  EXPECT_GE(waits(ours()), 940ms - rtt());
  EXPECT_GT(ours().heard, theirs().heard);
  EXPECT_GE(world.now() - theirs().heard, 1s - rtt());
  EXPECT_GE(waits(theirs()), 1s - 2 * rtt());
}

TEST_P(Life, TheirWayBlockedIsSilenceForUs) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(go_direct());
  traffic(1s + 4 * rtt());
  back(true);
  traffic(1s);
  EXPECT_GE(world.now() - ours().heard, 1s - rtt());
  EXPECT_GE(waits(ours()), 940ms - rtt());
  EXPECT_GT(theirs().heard, ours().heard);  // the Connector hears us: no acknowledgement of its own data tells it
  EXPECT_GE(waits(theirs()), 1s - 3 * rtt());
}

TEST_P(Life, LargePacketsLostWhileSmallOnesPass) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(go_direct());
  traffic(3s + 10 * rtt(), 1300);  // PMTUD has found that they pass
  ASSERT_GT(connection().stats().max_udp_payload, 1300U);
  EXPECT_TRUE(ours().large_since == kNever || world.now() - ours().large_since <= rtt() + 60ms);
  largest(1250);
  const auto began = world.now();
  const auto patience = std::clamp<Duration>(6 * rtt(), 300ms, 1s);
  const auto found = [&](const quic::Liveness& seen) {
    return seen.heard > seen.large_since && world.now() - seen.large_since >= patience;
  };
  Duration ours_after = 0s, theirs_after = 0s;
  for (int i = 0; i < 150; ++i) {
    traffic(5ms, 1300);
    traffic(5ms, 50);
    if (ours_after == 0s && found(ours())) ours_after = world.now() - began;
    if (theirs_after == 0s && found(theirs())) theirs_after = world.now() - began;
  }
  EXPECT_GE(ours_after, patience - rtt() - 60ms);
  EXPECT_LE(ours_after, patience + rtt() + 60ms);
  EXPECT_GE(theirs_after, patience - rtt() - 60ms);
  EXPECT_LE(theirs_after, patience + rtt() + 60ms);
}

TEST_P(Life, LargeStreamPacketsLostAreSeenToo) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(go_direct());
  const auto stream = connection().open_stream().value();
  traffic(3s + 10 * rtt());
  const auto feed = [&](Duration time) {
    for (const auto end = world.now() + time; world.now() < end;) {
      if (connection().unsent(stream) < 8192) {
        ASSERT_TRUE(connection().write(stream, ByteVector(8192, 1)));
      }
      traffic(5ms, 50);
    }
  };
  feed(1s + 4 * rtt());
  EXPECT_TRUE(ours().large_since == kNever || world.now() - ours().large_since <= 3 * rtt() + 100ms);
  largest(1250);
  const auto began = world.now();
  feed(1s);
  ASSERT_NE(ours().large_since, kNever);
  EXPECT_LE(ours().large_since, began + rtt() + 100ms);
  EXPECT_GT(ours().heard, ours().large_since);
  // And on another path everything comes through.
  ASSERT_TRUE(connection().migrate(relay(), Migration::immediate, world.now()));
  connection().finish(stream);
  EXPECT_TRUE(world.run_until([&] { return peer().streams[stream.value].fin; }, 20s));
}

TEST_P(Life, ANarrowPathThatNeverCarriedLargeOnesIsNoBlackHole) {
  ASSERT_TRUE(begin());
  largest(1240);
  ASSERT_TRUE(go_direct());
  const auto stream = connection().open_stream().value();
  for (int i = 0; i < 400; ++i) {
    ASSERT_TRUE(connection().write(stream, ByteVector(2000, 1)));
    traffic(5ms);
    ASSERT_EQ(ours().large_since, kNever) << i;
    ASSERT_LE(waits(ours()), 3 * rtt() + 150ms) << i;
  }
  world.run_for(30s);  // idle: probes of the MTU vanish, and nothing waits for them
  EXPECT_EQ(ours().waiting_since, kNever);
}

TEST_P(Life, APathThatOthersPretendToBeAliveOn) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(go_direct());
  traffic(500ms + 4 * rtt());
  // Whoever sees the packets can copy their first octets: only what decrypts counts as heard.
  ByteVector seen;
  world.network.tap = [&](SimPacket& packet) {
    if (packet.to == direct_client) seen = packet.payload;
    return true;
  };
  traffic(100ms);
  world.network.tap = nullptr;
  back(true);
  world.run_for(rtt());
  const auto heard = ours().heard;
  ASSERT_GT(seen.size(), 20U);
  seen[seen.size() - 1] ^= 1U;
  for (int i = 0; i < 100; ++i) {
    (*client)->receive(direct(), seen, world.now(), *client);
    world.run_for(1ms);
  }
  EXPECT_EQ(ours().heard, heard);
}

TEST_P(Life, FallingBackFromADeadPathEndsABackedOffTimer) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(go_direct());
  const auto stream = connection().open_stream().value();
  traffic(1s + 4 * rtt());
  out(true), back(true);
  ASSERT_TRUE(connection().write(stream, ByteVector(20'000, 7)));
  ASSERT_TRUE(peer().connection->send_datagram({}, as_bytes("lost")));
  world.run_for(20s);  // the probe timeout has doubled again and again
  const auto before = peer().streams[stream.value].octets;
  ASSERT_TRUE(connection().migrate(relay(), Migration::immediate, world.now()));
  connection().ping();
  EXPECT_TRUE(world.run_until([&] { return peer().streams[stream.value].octets == 20'000; }, 3 * rtt() + 400ms))
      << before << " then " << peer().streams[stream.value].octets;
  const auto datagrams = handler.datagrams;
  ASSERT_TRUE(peer().connection->send_datagram({}, as_bytes("down")));
  EXPECT_TRUE(world.run_until([&] { return handler.datagrams > datagrams; }, 2 * rtt()));
}

TEST_P(Life, AnIdleServerFollowsAFallBackByItsPing) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(go_direct());
  world.run_for(2s);
  out(true), back(true);
  ASSERT_TRUE(connection().migrate(relay(), Migration::immediate, world.now()));
  connection().ping();
  EXPECT_TRUE(world.run_until(
      [&] {
        return peer().connection->path() == quic::Path{server_address, client_address};
      },
      2 * rtt()));
}

TEST_P(Life, QuickReturnsLoseNothing) {
  ASSERT_TRUE(begin());
  peer().keep_data = handler.keep_data = false;
  traffic(1s + 4 * rtt());
  std::uint64_t sent = 0;
  const auto up0 = peer().datagrams;
  const auto down0 = handler.datagrams;
  world.run_for(2 * rtt());
  const auto late_up = peer().datagrams - up0, late_down = handler.datagrams - down0;
  const auto pass = [&](Duration time) {
    for (const auto end = world.now() + time; world.now() < end;) {
      ASSERT_TRUE(connection().send_datagram({}, as_bytes("u")));
      ASSERT_TRUE(peer().connection->send_datagram({}, as_bytes("d")));
      ++sent;
      world.run_for(1ms);
    }
  };
  const auto base_up = up0 + late_up, base_down = down0 + late_down;
  for (int i = 0; i < 10; ++i) {  // up, and down again as soon as it is there
    ASSERT_TRUE(connection().migrate(direct(), Migration::validate_first, world.now())) << i;
    for (int turn = 0; turn < 20 && connection().path() != direct(); ++turn) pass(rtt() / 4 + 1ms);
    ASSERT_EQ(connection().path(), direct()) << i;
    ASSERT_TRUE(connection().migrate(relay(), Migration::immediate, world.now())) << i;
    pass(2 * rtt() + 20ms);
  }
  world.run_for(3s);
  EXPECT_EQ(peer().datagrams - base_up, sent);
  EXPECT_EQ(handler.datagrams - base_down, sent);
}

INSTANTIATE_TEST_SUITE_P(Rtt, Life, ::testing::Values(10, 30, 100, 300), ::testing::PrintToStringParamName());

class Many : public Life {};

TEST_P(Many, TwoHundredMigrationsUseUpNothing) {
  ASSERT_TRUE(begin());
  peer().keep_data = handler.keep_data = false;
  const auto stream = connection().open_stream().value();
  std::uint64_t written = 0;
  for (int i = 0; i < 200; ++i) {
    const bool up = i % 2 == 0;
    const auto ok = connection().migrate(up ? direct() : relay(), up ? Migration::validate_first : Migration::immediate,
                                         world.now());
    ASSERT_TRUE(ok) << i << " " << ok.error().text;
    ASSERT_TRUE(connection().write(stream, ByteVector(3000, 1)));
    written += 3000;
    traffic(std::max<Duration>(100ms, 4 * rtt()));
    ASSERT_EQ(connection().path(), up ? direct() : relay()) << i;
    ASSERT_FALSE(handler.closed);
    ASSERT_FALSE(peer().closed);
  }
  connection().finish(stream);
  EXPECT_TRUE(world.run_until([&] { return peer().streams[stream.value].fin; }, 20s));
  EXPECT_EQ(peer().streams[stream.value].octets, written);
}

INSTANTIATE_TEST_SUITE_P(Rtt, Many, ::testing::Values(10, 100, 300), ::testing::PrintToStringParamName());

}  // namespace
}  // namespace ztna::test
