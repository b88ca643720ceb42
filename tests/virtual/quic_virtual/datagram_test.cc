// DATAGRAM frames (RFC 9221).
#include "virtual/quic_virtual/fixture.h"

namespace ztna::test {
namespace {

class Datagrams : public QuicWorld {
 protected:
  /// PMTUD has found the largest size.
  bool settle() {
    return world.run_until(
        [&] { return connection().stats().max_udp_payload == connect_options.transport.max_udp_payload; }, 10s);
  }
};

TEST_F(Datagrams, TooLargeIsRefused) {
  ASSERT_TRUE(establish());
  EXPECT_EQ(connection().send_datagram({}, ByteVector(1500)).error().code, Errc::too_large);
  EXPECT_EQ(connection().send_datagram(ByteVector(17), {}).error().code, Errc::too_large);
}

TEST_F(Datagrams, PeerWithoutDatagramsGetsNone) {
  acceptor.transport.datagrams = false;
  ASSERT_TRUE(establish());
  EXPECT_EQ(connection().max_datagram(), 0U);
  EXPECT_EQ(connection().send_datagram({}, as_bytes("x")).error().code, Errc::too_large);
}

TEST_F(Datagrams, FullQueueRefuses) {
  connect_options.transport.datagram_queue_bytes = 10'000;
  ASSERT_TRUE(establish());
  const ByteVector body(1000);
  int accepted = 0;
  Errc last{};
  for (int i = 0; i < 20; ++i) {
    if (auto ok = connection().send_datagram({}, body); ok) {
      ++accepted;
    } else {
      last = ok.error().code;
    }
  }
  EXPECT_EQ(accepted, 9);
  EXPECT_EQ(last, Errc::exhausted);
  ASSERT_TRUE(world.run_until([&] { return peer().datagrams == 9; }, 5s));
  EXPECT_TRUE(connection().send_datagram({}, body));
}

TEST_F(Datagrams, EverySizeUpToTheMaximumArrivesWhole) {
  ASSERT_TRUE(establish());
  ASSERT_TRUE(settle());
  const auto max = connection().max_datagram();
  EXPECT_GT(max, 1400U);
  std::vector<ByteVector> sent;
  for (std::size_t size = 0; size <= max; size += size < 70 || size + 70 > max ? 1 : 61) {
    ByteVector payload(size);
    for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<std::uint8_t>(size + i);
    const auto head = std::min<std::size_t>(size, 12);
    ASSERT_TRUE(connection().send_datagram(Bytes{payload}.first(head), Bytes{payload}.subspan(head)));
    client->flush();
    sent.push_back(std::move(payload));
  }
  ASSERT_TRUE(world.run_until([&] { return peer().datagrams == sent.size(); }, 10s));
  std::ranges::sort(peer().datagram_list);
  std::ranges::sort(sent);
  EXPECT_TRUE(peer().datagram_list == sent);
}

TEST_F(Datagrams, TheMaximumLeavesInOnePacketAndOneMoreDoesNotFit) {
  ASSERT_TRUE(establish());
  ASSERT_TRUE(settle());
  world.run_for(1s);
  const auto max = connection().max_datagram();
  const auto before = client->packets_sent;
  const ByteVector body(max);
  ASSERT_TRUE(connection().send_datagram({}, body));
  client->flush();
  EXPECT_EQ(client->packets_sent, before + 1);
  EXPECT_LE(client->largest_sent, connection().stats().max_udp_payload);
  EXPECT_EQ(connection().send_datagram({}, ByteVector(max + 1)).error().code, Errc::too_large);
}

TEST_F(Datagrams, SmallOnesShareAPacket) {
  ASSERT_TRUE(establish());
  ASSERT_TRUE(settle());
  world.run_for(1s);
  const auto before = client->packets_sent;
  const ByteVector body(60);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(connection().send_datagram(as_bytes("head"), body));
  client->flush();
  EXPECT_EQ(client->packets_sent, before + 1);
  ASSERT_TRUE(world.run_until([&] { return peer().datagrams == 20; }, 2s));
}

TEST_F(Datagrams, FullPacketsLeaveAsOneRow) {
  client_options.worker = 0;
  ASSERT_TRUE(establish());
  client->headroom_octets = 10;
  ASSERT_TRUE(settle());
  const ByteVector opener(1200);
  for (int i = 0; i < 40; ++i) {  // open the congestion window
    ASSERT_TRUE(connection().send_datagram({}, opener));
    world.run_for(20ms);
  }
  world.run_for(1s);
  const auto packets = client->packets_sent;
  const auto batches = client->batches_sent;
  const ByteVector body(connection().max_datagram());
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(connection().send_datagram({}, body));
  client->flush();
  EXPECT_EQ(client->packets_sent, packets + 8);
  EXPECT_EQ(client->batches_sent, batches + 1);
}

TEST_F(Datagrams, BorrowedBodiesAreCopiedWhenTheyCannotLeave) {
  ASSERT_TRUE(establish());
  world.run_for(1s);  // pacing allows the next packet
  client->may_write = false;
  ByteVector body(500, 1);
  ASSERT_TRUE(connection().send_datagram({}, body));
  ASSERT_TRUE(connection().send_datagram({}, {}));
  client->flush();
  std::ranges::fill(body, std::uint8_t{2});
  client->may_write = true;
  const auto before = client->packets_sent;
  client->flush();  // no timer is needed for what was held back
  EXPECT_GT(client->packets_sent, before);
  ASSERT_TRUE(world.run_until([&] { return peer().datagrams == 2; }, 2s));
  EXPECT_EQ(peer().datagram_list[0], ByteVector(500, 1));
}

TEST_F(Datagrams, LostOnesAreNotSentAgain) {
  ASSERT_TRUE(establish());
  ASSERT_TRUE(settle());
  world.network.link(client_address.ip, server_address.ip).loss = 0.2;
  const ByteVector body(1000);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(connection().send_datagram({}, body));
    world.run_for(5ms);
  }
  world.network.link(client_address.ip, server_address.ip).loss = 0;
  world.run_for(5s);
  EXPECT_GT(peer().datagrams, 700U);
  EXPECT_LT(peer().datagrams, 900U);
}

TEST_F(Datagrams, StreamsAreNotStarvedByDatagrams) {
  world.network.defaults = {.delay = 5ms, .rate = 1'250'000, .queue = 30'000};
  ASSERT_TRUE(establish());
  static_cast<void>(connection().open_stream());  // id 0 has precedence: not the one to test
  const auto id = connection().open_stream().value();
  ASSERT_TRUE(connection().write(id, ByteVector(100'000)));
  connection().finish(id);
  const ByteVector body(1000);
  const auto begin = world.now();
  while (!peer().streams[id.value].fin && world.now() < begin + 30s) {
    while (connection().send_datagram({}, body)) {
    }
    world.run_for(5ms);
  }
  EXPECT_TRUE(peer().streams[id.value].fin);
  EXPECT_GT(peer().datagrams, 1000U);
}

TEST_F(Datagrams, WhatNoLongerFitsDoesNotBlockAndIsDropped) {
  ASSERT_TRUE(establish());
  ASSERT_TRUE(settle());
  const auto other = address("198.51.100.1:6000");
  client->bind(other);
  LinkProperties narrow{.delay = 10ms};
  narrow.mtu = 1200;
  world.network.set_links(other.ip, server_address.ip, narrow);
  ASSERT_TRUE(connection().migrate({other, server_address}, quic::Migration::immediate, world.now()));
  EXPECT_LT(connection().max_datagram(), 1200U);
  const ByteVector large(1300);
  const ByteVector small(100);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(connection().send_datagram({}, large));
    ASSERT_TRUE(connection().send_datagram({}, small));
  }
  ASSERT_TRUE(world.run_until([&] { return peer().datagrams == 5; }, 1s));
  EXPECT_TRUE(world.run_until([&] { return connection().stats().datagrams_dropped == 5; }, 1s));
  EXPECT_EQ(peer().datagrams, 5U);
}

TEST_F(Datagrams, WhatFitsAgainAfterPmtudIsDelivered) {
  ASSERT_TRUE(establish());
  ASSERT_TRUE(settle());
  const auto other = address("198.51.100.1:6000");
  client->bind(other);
  world.run_for(1s);
  ASSERT_TRUE(connection().migrate({other, server_address}, quic::Migration::immediate, world.now()));
  const ByteVector large(1300);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(connection().send_datagram({}, large));
  ASSERT_TRUE(world.run_until([&] { return peer().datagrams == 5; }, 1s));
  EXPECT_EQ(connection().stats().datagrams_dropped, 0U);
}

TEST_F(Datagrams, PmtudFindsASmallPath) {
  world.network.defaults.mtu = 1380;
  ASSERT_TRUE(establish());
  ASSERT_TRUE(world.run_until([&] { return connection().stats().max_udp_payload == 1350; }, 60s));
}

}  // namespace
}  // namespace ztna::test
