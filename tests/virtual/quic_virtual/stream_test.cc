// Streams over a network that loses and reorders.
#include <numeric>

#include "virtual/quic_virtual/fixture.h"

namespace ztna::test {
namespace {

using quic::StreamId;

ByteVector pattern(std::size_t size, std::uint64_t seed) {
  ByteVector out(size);
  std::uint64_t x = seed * 0x9E3779B97F4A7C15U + 1;
  for (auto& octet : out) {
    x ^= x << 13U;
    x ^= x >> 7U;
    x ^= x << 17U;
    octet = static_cast<std::uint8_t>(x);
  }
  return out;
}

/// Feeds a stream as a well-behaved user does: not above 1 MiB of unsent octets.
struct Feeder {
  quic::Connection& connection;
  StreamId id;
  ByteVector data;
  std::size_t at = 0;
  bool finished = false;

  void feed() {
    while (at < data.size() && connection.unsent(id) < (1U << 20U)) {
      auto chunk = Chunk::allocate();
      const auto n = std::min(chunk.space().size(), data.size() - at);
      std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(at), n, chunk.space().begin());
      chunk.grow(n);
      ASSERT_TRUE(connection.write(id, std::move(chunk)));
      at += n;
    }
    if (at == data.size() && !finished) {
      connection.finish(id);
      finished = true;
    }
  }
};

class Streams : public QuicWorld {
 protected:
  void expect_no_more_streams() {
    EXPECT_TRUE(
        world.run_until([&] { return handler.streams.empty() || handler.streams.begin()->second.closed; }, 10s));
  }
};

TEST_F(Streams, UnknownStreamIsNotFound) {
  ASSERT_TRUE(establish());
  const StreamId none{400};
  EXPECT_EQ(connection().write(none, as_bytes("x")).error().code, Errc::not_found);
  connection().finish(none);
  connection().reset(none, 1);
  connection().stop_sending(none, 1);
  connection().credit(none, 100);
  EXPECT_EQ(connection().unsent(none), 0U);
  world.run_for(1s);
  EXPECT_FALSE(handler.closed);
}

TEST_F(Streams, NothingBeforeTheHandshake) {
  start();
  EXPECT_EQ(connection().open_stream().error().code, Errc::exhausted);
  EXPECT_FALSE(connection().send_datagram({}, as_bytes("x")));
  EXPECT_FALSE(connection().migrate({address("192.0.2.9:1"), server_address}, quic::Migration::immediate, world.now()));
  connection().ping();
  std::array<std::uint8_t, 8> key{};
  EXPECT_EQ(connection().export_key("label", {}, key).error().code, Errc::crypto);
}

TEST_F(Streams, StreamLimitIsToldAndLifted) {
  acceptor.transport.max_peer_streams = 2;
  ASSERT_TRUE(establish());
  const auto first = connection().open_stream();
  ASSERT_TRUE(first);
  ASSERT_TRUE(connection().open_stream());
  EXPECT_EQ(connection().open_stream().error().code, Errc::exhausted);
  peer().when_data = [&](StreamId id, Bytes, bool fin) {
    if (fin) peer().connection->finish(id);
  };
  connection().finish(*first);
  ASSERT_TRUE(world.run_until([&] { return handler.streams_available > 0; }, 5s));
  EXPECT_TRUE(connection().open_stream());
}

TEST_F(Streams, TenMegabytesBothWaysWithLossAndReordering) {
  world.network.defaults = {.delay = 50ms, .jitter = 10ms, .loss = 0.05, .duplication = 0.01};
  ASSERT_TRUE(establish());
  const auto up = pattern(10'000'000, 1);
  const auto down = pattern(10'000'000, 2);
  const auto id = connection().open_stream().value();
  Feeder a{connection(), id, up};
  Feeder b{*peer().connection, id, down};
  handler.when_drained = [&](StreamId) { a.feed(); };
  peer().when_drained = [&](StreamId) { b.feed(); };
  peer().when_data = [&](StreamId, Bytes, bool) {
    if (b.at == 0) b.feed();
  };
  a.feed();
  const auto begin = world.now();
  ASSERT_TRUE(world.run_until([&] { return handler.streams[0].closed && peer().streams[0].closed; }, 600s));
  EXPECT_TRUE(handler.streams[0].data == down);
  EXPECT_TRUE(peer().streams[0].data == up);
  EXPECT_TRUE(handler.streams[0].fin);
  EXPECT_TRUE(peer().streams[0].fin);
  EXPECT_GT(connection().stats().packets_lost, 0U);
  std::cout << "10 MB each way, 100 ms, 5 % loss: " << std::chrono::duration<double>(world.now() - begin).count()
            << " s\n";
}

TEST_F(Streams, TwoHundredParallelStreams) {
  world.network.defaults = {.delay = 20ms, .jitter = 2ms, .loss = 0.01};
  ASSERT_TRUE(establish());
  std::vector<Feeder> feeders;
  feeders.reserve(200);
  for (std::uint64_t i = 0; i < 200; ++i) {
    feeders.push_back({connection(), connection().open_stream().value(), pattern(20'000 + i * 100, i)});
    feeders.back().feed();
  }
  ASSERT_TRUE(world.run_until(
      [&] { return std::ranges::all_of(feeders, [&](auto& f) { return peer().streams[f.id.value].fin; }); }, 120s));
  for (const auto& f : feeders) EXPECT_TRUE(peer().streams[f.id.value].data == f.data) << f.id.value;
}

TEST_F(Streams, ManyStreamsShareThePacketsFairly) {
  world.network.defaults = {.delay = 20ms, .rate = 1'000'000};
  ASSERT_TRUE(establish());
  const auto big = connection().open_stream().value();
  const auto big2 = connection().open_stream().value();
  Feeder a{connection(), big, pattern(5'000'000, 1)};
  Feeder b{connection(), big2, pattern(5'000'000, 2)};
  handler.when_drained = [&](StreamId id) { (id == big ? a : b).feed(); };
  a.feed();
  b.feed();
  world.run_for(3s);
  const auto x = static_cast<double>(peer().streams[big.value].octets);
  const auto y = static_cast<double>(peer().streams[big2.value].octets);
  // The control stream (id 0) goes first, so that it is the one that gets more.
  EXPECT_GT(x, 0);
  EXPECT_GT(x + y, 1'500'000);
}

TEST_F(Streams, AStalledStreamDoesNotFreezeTheOthers) {
  acceptor.transport.stream_window = 64 * 1024;
  acceptor.transport.connection_window = 256 * 1024;
  acceptor.prepare = [](RecordingHandler& h) { h.auto_credit = false; };
  ASSERT_TRUE(establish());
  std::vector<StreamId> stalled;
  std::vector<Feeder> feeders;
  feeders.reserve(16);
  for (int i = 0; i < 16; ++i) {  // 16 windows are four times the connection's
    stalled.push_back(connection().open_stream().value());
    feeders.push_back({connection(), stalled.back(), pattern(500'000, 3)});
    feeders.back().feed();
  }
  world.run_for(2s);
  for (const auto id : stalled) EXPECT_EQ(peer().streams[id.value].octets, 64U * 1024);
  const auto lively = connection().open_stream().value();
  peer().when_data = [&](StreamId id, Bytes data, bool) {
    if (id == lively) peer().connection->credit(id, data.size());
  };
  Feeder feeder{connection(), lively, pattern(2'000'000, 4)};
  handler.when_drained = [&](StreamId id) {
    if (id == lively) feeder.feed();
  };
  feeder.feed();
  ASSERT_TRUE(world.run_until([&] { return peer().streams[lively.value].fin; }, 20s));
  EXPECT_TRUE(peer().streams[lively.value].data == feeder.data);
  // Crediting more than was received is refused: the window cannot be opened wider than it was.
  peer().connection->credit(stalled[0], 1'000'000);
  world.run_for(2s);
  EXPECT_EQ(peer().streams[stalled[0].value].octets, 2U * 64 * 1024);
  for (std::size_t i = 1; i < stalled.size(); ++i) EXPECT_EQ(peer().streams[stalled[i].value].octets, 64U * 1024);
}

TEST_F(Streams, HalfCloseEachWay) {
  ASSERT_TRUE(establish());
  const auto id = connection().open_stream().value();
  ASSERT_TRUE(connection().write(id, as_bytes("question")));
  connection().finish(id);
  EXPECT_EQ(connection().write(id, as_bytes("more")).error().code, Errc::not_found);
  ASSERT_TRUE(world.run_until([&] { return peer().streams[id.value].fin; }, 2s));
  world.run_for(5s);
  EXPECT_FALSE(handler.streams[id.value].closed);
  ASSERT_TRUE(peer().connection->write(id, as_bytes("answer")));
  peer().connection->finish(id);
  ASSERT_TRUE(world.run_until([&] { return handler.streams[id.value].closed && peer().streams[id.value].closed; }, 5s));
  EXPECT_EQ(as_text(handler.streams[id.value].data), "answer");
  EXPECT_EQ(as_text(peer().streams[id.value].data), "question");
}

TEST_F(Streams, FinWithoutAnyData) {
  ASSERT_TRUE(establish());
  const auto id = connection().open_stream().value();
  connection().finish(id);
  ASSERT_TRUE(world.run_until([&] { return peer().streams[id.value].fin; }, 2s));
  EXPECT_EQ(peer().opened.size(), 1U);
  EXPECT_EQ(peer().streams[id.value].octets, 0U);
}

TEST_F(Streams, ResetCarriesItsCode) {
  ASSERT_TRUE(establish());
  const auto id = connection().open_stream().value();
  ASSERT_TRUE(connection().write(id, as_bytes("x")));
  ASSERT_TRUE(world.run_until([&] { return peer().streams[id.value].octets == 1; }, 2s));
  connection().reset(id, 77);
  EXPECT_EQ(connection().write(id, as_bytes("more")).error().code, Errc::not_found);
  ASSERT_TRUE(world.run_until([&] { return peer().streams[id.value].reset.has_value(); }, 2s));
  EXPECT_EQ(peer().streams[id.value].reset, 77U);
}

TEST_F(Streams, StopSendingReachesAnIdleSenderWithItsCode) {
  ASSERT_TRUE(establish());
  const auto id = connection().open_stream().value();
  ASSERT_TRUE(connection().write(id, as_bytes("x")));
  ASSERT_TRUE(world.run_until([&] { return peer().streams[id.value].octets == 1; }, 2s));
  peer().connection->stop_sending(id, 99);
  ASSERT_TRUE(world.run_until([&] { return handler.streams[id.value].stopped.has_value(); }, 2s));
  EXPECT_EQ(handler.streams[id.value].stopped, 99U);
  EXPECT_EQ(connection().write(id, as_bytes("more")).error().code, Errc::not_found);
}

TEST_F(Streams, StopSendingFreesABlockedSender) {
  acceptor.transport.stream_window = 16 * 1024;
  acceptor.prepare = [](RecordingHandler& h) { h.auto_credit = false; };
  ASSERT_TRUE(establish());
  const auto id = connection().open_stream().value();
  ASSERT_TRUE(connection().write(id, pattern(1'000'000, 1)));
  world.run_for(1s);
  EXPECT_EQ(peer().streams[id.value].octets, 16U * 1024);
  peer().connection->stop_sending(id, 5);
  peer().connection->reset(id, 6);
  ASSERT_TRUE(world.run_until([&] { return handler.streams[id.value].closed; }, 5s));
  EXPECT_EQ(handler.streams[id.value].stopped, 5U);
  EXPECT_EQ(handler.streams[id.value].reset, 6U);
}

TEST_F(Streams, DrainedIsToldOnceBelowTheMark) {
  ASSERT_TRUE(establish());
  const auto id = connection().open_stream().value();
  ASSERT_TRUE(connection().write(id, as_bytes("small")));
  world.run_for(1s);
  EXPECT_EQ(handler.drained, 0);
  ASSERT_TRUE(connection().write(id, pattern(600'000, 1)));
  ASSERT_TRUE(world.run_until([&] { return connection().unsent(id) == 0; }, 10s));
  EXPECT_EQ(handler.drained, 1);
}

TEST_F(Streams, DrainedIsToldAtTheMarkThatWasAskedForOnce) {
  acceptor.transport.stream_window = 16 * 1024;
  acceptor.prepare = [](RecordingHandler& h) { h.auto_credit = false; };
  ASSERT_TRUE(establish());
  const auto id = connection().open_stream().value();
  ASSERT_TRUE(connection().write(id, pattern(100'000, 1)));
  connection().notify_drained(id, 50'000);
  world.run_for(1s);
  EXPECT_EQ(handler.drained, 0) << "84 kB are left";
  std::vector<std::size_t> left;
  handler.when_drained = [&](StreamId) { left.push_back(connection().unsent(id)); };
  for (int i = 0; i < 10; ++i) {
    peer().connection->credit(id, 16 * 1024);
    world.run_for(1s);
  }
  ASSERT_EQ(left.size(), 1U);
  EXPECT_LE(left[0], 50'000U);
  EXPECT_GT(left[0], 50'000U - 16 * 1024);
  ASSERT_TRUE(connection().write(id, pattern(100'000, 1)));
  for (int i = 0; i < 10; ++i) {
    peer().connection->credit(id, 16 * 1024);
    world.run_for(1s);
  }
  EXPECT_EQ(left.size(), 1U) << "it never was above the usual mark";
}

TEST_F(Streams, TheSumOfWhatIsUnsentIsThatOfItsStreams) {
  acceptor.transport.stream_window = 16 * 1024;
  acceptor.prepare = [](RecordingHandler& h) { h.auto_credit = false; };
  ASSERT_TRUE(establish());
  std::vector<StreamId> ids;
  for (int i = 0; i < 4; ++i) {
    ids.push_back(connection().open_stream().value());
    ASSERT_TRUE(connection().write(ids.back(), pattern(100'000, 1)));
  }
  EXPECT_EQ(connection().unsent_total(), 400'000U);
  world.run_for(1s);
  EXPECT_EQ(connection().unsent_total(), 4 * (100'000U - 16 * 1024));
  connection().reset(ids[0], 1);
  peer().connection->stop_sending(ids[1], 1);
  world.run_for(1s);
  EXPECT_EQ(connection().unsent_total(), 2 * (100'000U - 16 * 1024));
  connection().close(0, "");
  world.run_for(1s);
}

TEST_F(Streams, ServerOpensStreamsToo) {
  ASSERT_TRUE(establish());
  const auto id = peer().connection->open_stream().value();
  EXPECT_EQ(id.value % 4, 1);
  ASSERT_TRUE(peer().connection->write(id, as_bytes("hello")));
  ASSERT_TRUE(world.run_until([&] { return handler.streams[id.value].octets == 5; }, 2s));
}

TEST_F(Streams, ServersFirstWordsWaitForTheConfirmation) {
  // HANDSHAKE_DONE may be lost while data arrives: the handler hears on_established first all the same.
  world.network.defaults = {.delay = 10ms, .jitter = 9ms, .loss = 0.3};
  acceptor.prepare = [](RecordingHandler& h) {
    h.when_established = [&h] {
      for (int i = 0; i < 10; ++i) {
        const auto id = h.connection->open_stream();
        if (id) static_cast<void>(h.connection->write(*id, as_bytes("early")));
      }
    };
  };
  bool order_ok = true;
  handler.when_data = [&](StreamId, Bytes, bool) { order_ok = order_ok && handler.established; };
  ASSERT_TRUE(establish());
  ASSERT_TRUE(world.run_until([&] { return handler.streams.size() == 10; }, 20s));
  EXPECT_TRUE(order_ok);
}

TEST_F(Streams, CloseFromInsideACallback) {
  ASSERT_TRUE(establish());
  const auto id = connection().open_stream().value();
  peer().when_data = [&](StreamId, Bytes, bool) {
    peer().connection->close(3, "denied");
    EXPECT_TRUE(peer().closed);
  };
  ASSERT_TRUE(connection().write(id, as_bytes("x")));
  ASSERT_TRUE(world.run_until([&] { return handler.closed.has_value(); }, 2s));
  EXPECT_EQ(handler.closed->by, quic::CloseReason::By::peer);
  EXPECT_TRUE(handler.closed->application);
  EXPECT_EQ(handler.closed->code, 3U);
  EXPECT_EQ(handler.closed->text, "denied");
  EXPECT_EQ(connection().write(id, as_bytes("x")).error().code, Errc::closed);
}

}  // namespace
}  // namespace ztna::test
