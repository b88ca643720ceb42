#include "agent/tcp_session.h"

#include <gtest/gtest.h>

#include "support/fake_connection.h"

namespace ztna::agent {
namespace {

using wire::StreamResult;

struct Port final : tunnel::TcpPort {
  struct Seen {
    ByteVector written;
    bool aborted = false;
    bool shut = false;
  };
  explicit Port(Seen& s) : seen(s) {}
  tunnel::IoResult read(MutableBytes) override { return {tunnel::IoStatus::would_block, 0}; }
  tunnel::IoResult write(std::span<const Bytes> blocks) override {
    std::size_t n = 0;
    for (const auto& b : blocks) {
      seen.written.insert(seen.written.end(), b.begin(), b.end());
      n += b.size();
    }
    return {tunnel::IoStatus::ok, n};
  }
  void shutdown_write() override { seen.shut = true; }
  void abort() override { seen.aborted = true; }
  void want(bool, bool) override {}
  Seen& seen;
};

struct TcpSessionTest : ::testing::Test, TcpSession::Owner {
  void on_session_result(TcpSession&, std::optional<StreamResult> result) override { results.push_back(result); }
  void on_session_touched(TcpSession&) override {}

  std::vector<std::optional<StreamResult>> results;
  test::FakeConnection connection;
  const quic::StreamId stream = *connection.open_stream();
  Port::Seen socket;
  TcpSession session{connection, stream, FlowId{1}, *this};
  auto& on_wire() { return connection.streams[stream]; }
};

TEST_F(TcpSessionTest, UnknownResultBreaksTheStream) {
  session.on_stream_data(ByteVector{9}, false);
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results[0], std::nullopt);
  EXPECT_EQ(on_wire().reset_code, 2U);
  EXPECT_TRUE(session.over());
}

TEST_F(TcpSessionTest, StreamThatEndsWithoutResultIsAFailure) {
  session.on_stream_data({}, true);
  EXPECT_EQ(results, (std::vector<std::optional<StreamResult>>{std::nullopt}));
  session.on_stream_reset();
  EXPECT_EQ(results.size(), 1U);  // once
}

TEST_F(TcpSessionTest, RefusalEndsTheSession) {
  session.on_stream_data(ByteVector{1}, true);
  EXPECT_EQ(results[0], StreamResult::refused);
  EXPECT_TRUE(on_wire().finished);
  EXPECT_TRUE(session.over());
  session.attach(std::make_unique<Port>(socket));
  EXPECT_TRUE(socket.aborted);
}

TEST_F(TcpSessionTest, WhatTheBackendSaysBeforeAcceptIsKeptUncredited) {
  session.on_stream_data(ByteVector{0, 'h', 'i'}, false);
  session.on_stream_data(ByteVector{'!'}, true);
  EXPECT_EQ(results[0], StreamResult::connected);
  EXPECT_EQ(on_wire().credited, 1U);
  session.attach(std::make_unique<Port>(socket));
  session.flush();
  EXPECT_EQ(as_text(socket.written), "hi!");
  EXPECT_TRUE(socket.shut);
  EXPECT_EQ(on_wire().credited, 4U);
}

TEST_F(TcpSessionTest, ResetBetweenResultAndAcceptAbortsTheSocket) {
  session.on_stream_data(ByteVector{0}, false);
  session.on_stream_reset();
  session.attach(std::make_unique<Port>(socket));
  EXPECT_TRUE(socket.aborted);
  EXPECT_TRUE(session.over());
  EXPECT_EQ(results.size(), 1U);
}

TEST_F(TcpSessionTest, AbandonResetsTheStream) {
  session.abandon();
  EXPECT_EQ(on_wire().reset_code, 1U);
  EXPECT_EQ(on_wire().stop_code, 1U);
}

TEST_F(TcpSessionTest, LostConnectionAbortsTheSocketAndAsksNobody) {
  session.on_stream_data(ByteVector{0}, false);
  session.attach(std::make_unique<Port>(socket));
  session.on_connection_closed();
  EXPECT_TRUE(socket.aborted);
  EXPECT_TRUE(session.over());
  EXPECT_EQ(on_wire().reset_code, std::nullopt);
}

}  // namespace
}  // namespace ztna::agent
