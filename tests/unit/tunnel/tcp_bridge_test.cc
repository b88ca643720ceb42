#include "tunnel/tcp_bridge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "support/fake_connection.h"

namespace ztna::tunnel {
namespace {

/// A socket whose kernel the test plays.
struct FakePort final : TcpPort {
  struct Side {
    ByteVector to_read;  // what the application sent
    bool fin = false;    // and then it finished
    bool reset = false;
    bool write_fails = false;  // the peer has sent a reset; what it sent before is still there to read
    ByteVector written;
    std::size_t room = ~std::size_t{0};
    bool shut = false, aborted = false, destroyed = false;
    bool wants_read = false, wants_write = false;
  };
  explicit FakePort(Side& s) : side(s) {}
  ~FakePort() override { side.destroyed = true; }
  IoResult read(MutableBytes into) override {
    if (side.reset) return {IoStatus::reset};
    if (side.to_read.empty()) return {side.fin ? IoStatus::end_of_stream : IoStatus::would_block};
    const auto n = std::min(into.size(), side.to_read.size());
    std::copy_n(side.to_read.begin(), n, into.begin());
    side.to_read.erase(side.to_read.begin(), side.to_read.begin() + static_cast<std::ptrdiff_t>(n));
    return {IoStatus::ok, n};
  }
  IoResult write(std::span<const Bytes> blocks) override {
    if (side.reset || side.write_fails) return {IoStatus::reset};
    std::size_t n = 0;
    for (const auto block : blocks) {
      const auto take = std::min(block.size(), side.room);
      side.written.insert(side.written.end(), block.begin(), block.begin() + static_cast<std::ptrdiff_t>(take));
      side.room -= take;
      n += take;
      if (take < block.size()) break;
    }
    return n == 0 ? IoResult{IoStatus::would_block} : IoResult{IoStatus::ok, n};
  }
  void shutdown_write() override { side.shut = true; }
  void abort() override { side.aborted = true; }
  void want(bool readable, bool writable) override { side.wants_read = readable, side.wants_write = writable; }
  Side& side;
};

struct Bridge : testing::Test {
  test::FakeConnection connection;
  quic::StreamId id = *connection.open_stream();
  FakePort::Side app;
  std::optional<TcpBridge> bridge{std::in_place, connection, id, std::make_unique<FakePort>(app)};
  test::FakeConnection::Stream& stream() { return connection.streams[id]; }
};

TEST_F(Bridge, ResetOfTheSocketResetsTheStreamBothWays) {
  app.reset = true;
  bridge->on_readable();
  EXPECT_TRUE(bridge->done());
  EXPECT_TRUE(bridge->was_reset());
  EXPECT_EQ(stream().reset_code, 1U);
  EXPECT_EQ(stream().stop_code, 1U);
  EXPECT_FALSE(stream().finished);
}

TEST_F(Bridge, ResetOfTheStreamAbortsTheSocket) {
  bridge->on_stream_data(as_bytes("half a mess"), false);
  bridge->on_stream_reset();
  EXPECT_EQ(as_text(app.written), "half a mess") << "what came before is not lost";
  EXPECT_TRUE(app.aborted);
  EXPECT_FALSE(app.shut);
  EXPECT_TRUE(bridge->done());
}

TEST_F(Bridge, LossOfTheTunnelAbortsTheSocket) {
  bridge->on_connection_closed();
  EXPECT_TRUE(app.aborted);
  EXPECT_TRUE(bridge->done());
}

TEST_F(Bridge, AFailedWriteWithoutAnAnswerResetsBothSides) {
  app.write_fails = true;
  app.fin = true;  // so the kernel reports a reset that the write has already reported
  bridge->on_stream_data(as_bytes("request"), false);
  EXPECT_EQ(bridge->pending_octets(), 7U);
  bridge->flush();
  EXPECT_TRUE(bridge->was_reset());
  EXPECT_EQ(stream().reset_code, 1U);
  EXPECT_TRUE(app.aborted);
  EXPECT_EQ(bridge->pending_octets(), 0U);
}

TEST_F(Bridge, AFailedWriteAfterHalfAnAnswerResetsBothSides) {
  app.write_fails = true;
  app.to_read.assign(1000, 'a');  // and no end
  bridge->on_stream_data(as_bytes("request"), false);
  bridge->flush();
  EXPECT_TRUE(bridge->was_reset());
  EXPECT_EQ(stream().reset_code, 1U);
  EXPECT_FALSE(stream().finished);
}

TEST_F(Bridge, AnEarlyAnswerIsNotLostToAFailedWrite) {
  const std::string answer(1'500'000, 'a');
  app.to_read.assign(answer.begin(), answer.end());
  app.fin = true;
  app.write_fails = true;
  bridge->on_stream_data(as_bytes("a request that is too long"), false);
  bridge->flush();
  EXPECT_EQ(as_text(stream().written), answer);
  EXPECT_TRUE(stream().finished);
  EXPECT_FALSE(stream().reset_code);
  EXPECT_FALSE(stream().stop_code) << "it would reset the other end before it has the answer";
  EXPECT_FALSE(bridge->done());
  bridge->on_stream_data(as_bytes("more"), false);
  bridge->flush();
  EXPECT_EQ(stream().credited, 30U) << "thrown away, but not in the way";
  EXPECT_EQ(bridge->pending_octets(), 0U);
  bridge->on_stream_data({}, true);
  EXPECT_TRUE(bridge->done());
  EXPECT_FALSE(bridge->was_reset());
}

TEST_F(Bridge, AFailedWriteAfterTheSocketsEndKeepsTheEnd) {
  app.fin = true;
  app.to_read.assign(10, 'a');
  bridge->on_readable();
  bridge->on_readable();
  ASSERT_TRUE(stream().finished);
  app.write_fails = true;
  bridge->on_stream_data(as_bytes("late"), true);
  bridge->flush();
  EXPECT_FALSE(stream().reset_code);
  EXPECT_TRUE(bridge->done());
  EXPECT_FALSE(bridge->was_reset());
}

TEST_F(Bridge, WhatNobodyReadsIsNotTakenForever) {
  app.to_read.assign(10, 'a');
  app.fin = app.write_fails = true;
  const ByteVector data(1 << 20, 'd');
  bridge->on_stream_data(data, false);
  bridge->flush();
  ASSERT_FALSE(bridge->done());
  for (std::size_t sent = data.size(); sent < TcpBridge::kMaxDiscarded; sent += data.size()) {
    ASSERT_FALSE(bridge->done());
    bridge->on_stream_data(data, false);
  }
  bridge->on_stream_data(as_bytes("!"), false);
  EXPECT_TRUE(bridge->was_reset());
  EXPECT_EQ(stream().stop_code, 1U);
}

TEST_F(Bridge, CarriesBothWaysAndHalfCloses) {
  const std::string request(100'000, 'q');
  app.to_read.assign(request.begin(), request.end());
  app.fin = true;
  while (!stream().finished) bridge->on_readable();
  EXPECT_EQ(as_text(stream().written), request);
  EXPECT_FALSE(bridge->done());  // the answer is still to come
  EXPECT_FALSE(app.wants_read);

  bridge->on_stream_data(as_bytes("answer"), false);
  EXPECT_TRUE(app.written.empty());  // collected until flush
  bridge->on_stream_data(as_bytes("!"), true);
  bridge->flush();
  EXPECT_EQ(as_text(app.written), "answer!");
  EXPECT_EQ(stream().credited, 7U);
  EXPECT_TRUE(app.shut);
  EXPECT_TRUE(bridge->done());
  EXPECT_FALSE(bridge->was_reset());
  EXPECT_FALSE(app.aborted);
}

TEST_F(Bridge, StopsReadingWhileTheStreamIsFull) {
  app.to_read.assign(10, 'x');
  stream().unsent = TcpBridge::kMaxUnsent;
  bridge->on_readable();
  EXPECT_TRUE(stream().written.empty());
  EXPECT_FALSE(app.wants_read);
  stream().unsent = 0;
  bridge->on_stream_drained();
  EXPECT_TRUE(app.wants_read);
  bridge->on_readable();
  EXPECT_EQ(stream().written.size(), 10U);
}

TEST_F(Bridge, KeepsItsFloorWhileOthersHaveTakenAll) {
  app.to_read.assign(200'000, 'x');
  connection.unsent_elsewhere = TcpBridge::kTunnelUnsent * 2;
  stream().unsent = TcpBridge::kMinUnsent;
  bridge->on_readable();
  EXPECT_TRUE(stream().written.empty());
  EXPECT_FALSE(app.wants_read);
  EXPECT_EQ(stream().low_water, TcpBridge::kMinUnsent / 2) << "or nobody would wake it";
  stream().unsent = TcpBridge::kMinUnsent / 2;
  bridge->on_stream_drained();
  EXPECT_TRUE(app.wants_read);
  bridge->on_readable();
  EXPECT_FALSE(stream().written.empty());
}

TEST_F(Bridge, MayHaveAsMuchUnsentAsItsTunnelHasFree) {
  app.to_read.assign(10, 'x');
  connection.unsent_elsewhere = TcpBridge::kTunnelUnsent - 600'000;
  stream().unsent = 300'001;
  bridge->on_readable();
  EXPECT_TRUE(stream().written.empty());
  EXPECT_LT(stream().low_water, 150'000U);
  connection.unsent_elsewhere -= 100'000;
  bridge->on_stream_drained();
  bridge->on_readable();
  EXPECT_EQ(stream().written.size(), 10U);
}

TEST_F(Bridge, ALimitIsNeverBelowTheFloorNorAboveTheMost) {
  static_assert(TcpBridge::unsent_limit(0) == TcpBridge::kMaxUnsent);
  static_assert(TcpBridge::unsent_limit(TcpBridge::kTunnelUnsent) == TcpBridge::kMinUnsent);
  static_assert(TcpBridge::unsent_limit(~std::size_t{0}) == TcpBridge::kMinUnsent);
  static_assert(TcpBridge::unsent_limit(TcpBridge::kTunnelUnsent - 100'000) == 100'000);
}

TEST_F(Bridge, AnEarlyAnswerDoesNotBreakTheBound) {
  app.to_read.assign(1'500'000, 'a');
  app.fin = true;
  app.write_fails = true;
  connection.unsent_elsewhere = TcpBridge::kTunnelUnsent;
  stream().unsent = TcpBridge::kMinUnsent;
  bridge->on_stream_data(as_bytes("request"), false);
  bridge->flush();
  EXPECT_TRUE(stream().written.empty());
  EXPECT_TRUE(bridge->was_reset());
}

TEST_F(Bridge, ReadsOfHalfAChunkDoNotPinAWholeOne) {
  // Each of 10,000 octets would pin 32 KiB if it were handed over as it is.
  for (int i = 0; i < 3; ++i) {
    app.to_read.assign(10'000, 'x');
    bridge->on_readable();
  }
  EXPECT_EQ(stream().written.size(), 30'000U);
  EXPECT_EQ(connection.chunks_taken, 0);
}

TEST_F(Bridge, GivesCreditOnlyForWhatTheSocketTook) {
  app.room = 40'000;
  const ByteVector data(100'000, 'd');
  bridge->on_stream_data(data, true);
  bridge->flush();
  EXPECT_EQ(stream().credited, 40'000U);
  EXPECT_TRUE(app.wants_write);
  EXPECT_FALSE(app.shut);
  app.room = ~std::size_t{0};
  bridge->on_writable();
  EXPECT_EQ(app.written, data);
  EXPECT_EQ(stream().credited, 100'000U);
  EXPECT_FALSE(app.wants_write);
  EXPECT_TRUE(app.shut);
}

TEST_F(Bridge, GivesOthersATurn) {
  app.to_read.assign(4 << 20, 'x');
  bridge->on_readable();
  EXPECT_LT(stream().written.size(), std::size_t{1} << 20);
  EXPECT_GT(app.to_read.size(), 0U);
  EXPECT_TRUE(app.wants_read);
}

TEST_F(Bridge, IsQuietWhenItIsOver) {
  app.reset = true;
  bridge->on_readable();
  bridge->on_stream_data(as_bytes("late"), true);
  bridge->on_stream_drained();
  bridge->on_stop_sending();
  bridge->flush();
  EXPECT_TRUE(app.written.empty());
  bridge.reset();
  EXPECT_TRUE(app.destroyed);
}

}  // namespace
}  // namespace ztna::tunnel
