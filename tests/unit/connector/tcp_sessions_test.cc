#include "connector/tcp_sessions.h"

#include <gtest/gtest.h>

#include "support/fake_connection.h"
#include "unit/connector/fakes.h"
#include "wire/stream_header.h"

namespace ztna::connector {
namespace {

using namespace test;
using wire::StreamHeader;
using wire::StreamResult;

constexpr quic::StreamId kStream{4};

class TcpSessionsTest : public ::testing::Test, protected ServiceLookup {
 protected:
  TcpSessionsTest() { begin(); }
  static Limits small_limits() {
    Limits limits;
    limits.tcp_connections_per_agent = 3;
    limits.tcp_connects_per_second = 4;
    limits.backlog_per_agent = 1000;
    return limits;
  }
  void begin() {
    sessions.emplace(TcpShared{backends, names, quotas, fates, counts, now}, *quotas.acquire("a"), connection,
                     static_cast<ServiceLookup&>(*this));
  }
  Found find_service(wire::ServiceHandle handle) override {
    if (handle != kHandle) return {};
    return {&service, &use};
  }
  ByteVector header(std::uint16_t port = 80, wire::ServiceHandle handle = kHandle) {
    const auto octets = StreamHeader{handle, Family::v4, port}.encode();
    return {octets.begin(), octets.end()};
  }
  void open(quic::StreamId id, Bytes octets, bool fin = false) {
    sessions->on_stream_opened(id);
    sessions->on_stream_data(id, octets, fin);
  }
  void connected(FakeTcp::Record& record) { record.events->on_connected({}, now); }
  void refused(FakeTcp::Record& record, Errc code) { record.events->on_connected(fail(code, "test"), now); }
  /// The one result octet, and that the stream was finished after it.
  void expect_refusal(quic::StreamId id, StreamResult result) {
    EXPECT_EQ(connection.streams[id].written, ByteVector{static_cast<std::uint8_t>(result)});
    EXPECT_TRUE(connection.streams[id].finished);
  }

  TimePoint now{1000s};
  FakeBackends backends;
  FakeResolver resolver;
  BackendNames names{resolver};
  Quotas quotas{small_limits()};
  CounterSet<StreamFate> fates;
  TcpCounts counts;
  Service service{{service_id("web"), "10.0.0.5", 8080, {{Transport::tcp, 80, 80}}, {}}};
  ServiceUse use;
  ztna::test::FakeConnection connection;
  std::optional<TcpSessions> sessions;
};

TEST_F(TcpSessionsTest, BadHeadersAreResetWithCode2) {
  std::int64_t id = 4;
  for (ByteVector bad : {ByteVector{0x31, 0, 7, 4, 0, 80}, ByteVector{0x30, 0, 0, 4, 0, 80},
                         ByteVector{0x30, 0, 7, 5, 0, 80}, ByteVector{0x30, 0, 7, 4, 0, 0}}) {
    const quic::StreamId stream{id};
    id += 4;
    open(stream, bad);
    EXPECT_EQ(connection.streams[stream].reset_code, 2U);
    EXPECT_EQ(connection.streams[stream].stop_code, 2U);
  }
  EXPECT_EQ(fates.value(StreamFate::bad_header), 4U);
  EXPECT_EQ(sessions->size(), 0U);
  EXPECT_TRUE(backends.tcp.empty());
}

TEST_F(TcpSessionsTest, EveryShortHeaderThatEndsIsBad) {
  for (std::size_t size = 0; size < StreamHeader::kSize; ++size) {
    const quic::StreamId stream{static_cast<std::int64_t>(4 * size + 4)};
    const auto whole = header();
    open(stream, Bytes{whole}.first(size), true);
    EXPECT_EQ(connection.streams[stream].reset_code, 2U);
  }
  EXPECT_EQ(fates.value(StreamFate::bad_header), StreamHeader::kSize);
}

TEST_F(TcpSessionsTest, WhatTheServiceDoesNotTakeIsNotPermitted) {
  open(kStream, header(81));
  expect_refusal(kStream, StreamResult::denied);
  open(quic::StreamId{8}, header(80, wire::ServiceHandle{9}));
  expect_refusal(quic::StreamId{8}, StreamResult::denied);
  EXPECT_EQ(fates.value(StreamFate::not_permitted), 2U);
  EXPECT_EQ(use.refused, 1U);
  EXPECT_TRUE(backends.tcp.empty());
  EXPECT_EQ(quotas.sockets(), 0U);
}

TEST_F(TcpSessionsTest, TheBackendsAnswerIsTold) {
  const std::vector<std::tuple<Errc, StreamResult, StreamFate>> cases{
      {Errc::refused, StreamResult::refused, StreamFate::backend_refused},
      {Errc::unreachable, StreamResult::unreachable, StreamFate::backend_unreachable},
      {Errc::timed_out, StreamResult::timed_out, StreamFate::backend_timed_out},
      {Errc::io, StreamResult::unreachable, StreamFate::backend_unreachable}};
  std::int64_t id = 4;
  for (const auto& [code, result, fate] : cases) {
    const quic::StreamId stream{id};
    id += 4;
    open(stream, header());
    EXPECT_TRUE(connection.streams[stream].written.empty()) << "nothing before the backend answered";
    refused(backends.tcp.back(), code);
    expect_refusal(stream, result);
    EXPECT_EQ(fates.value(fate), fate == StreamFate::backend_unreachable && code == Errc::io ? 2U : 1U);
    sessions->on_stream_closed(stream);
  }
  EXPECT_EQ(sessions->size(), 0U);
  EXPECT_EQ(quotas.sockets(), 0U);
}

TEST_F(TcpSessionsTest, LimitsOfConnectionsAndOfNewOnesPerSecond) {
  for (std::int64_t id = 4; id <= 16; id += 4) open(quic::StreamId{id}, header());
  expect_refusal(quic::StreamId{16}, StreamResult::limit);
  EXPECT_EQ(backends.tcp.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) refused(backends.tcp[i], Errc::refused);
  open(quic::StreamId{20}, header());
  EXPECT_EQ(backends.tcp.size(), 4U);
  refused(backends.tcp[3], Errc::refused);
  open(quic::StreamId{24}, header());
  expect_refusal(quic::StreamId{24}, StreamResult::limit);  // four this second
  EXPECT_EQ(fates.value(StreamFate::limit), 2U);
  now += 1s;
  open(quic::StreamId{28}, header());
  EXPECT_EQ(backends.tcp.size(), 5U);
}

TEST_F(TcpSessionsTest, AnAgentThatGivesUpEndsTheAttempt) {
  open(kStream, header());
  ASSERT_NE(backends.tcp[0].events, nullptr);
  sessions->on_stream_reset(kStream);
  EXPECT_EQ(backends.tcp[0].events, nullptr) << "attempt dropped";
  EXPECT_EQ(connection.streams[kStream].reset_code, 1U);
  EXPECT_EQ(fates.value(StreamFate::given_up), 1U);
  EXPECT_EQ(quotas.sockets(), 0U);
  sessions->on_stream_data(kStream, payload(10), false);  // may still be on its way
  EXPECT_EQ(sessions->size(), 0U);
}

TEST_F(TcpSessionsTest, ABackendsResetResetsTheStreamWithCode1) {
  open(kStream, header());
  connected(backends.tcp[0]);
  backends.tcp[0].reset = true;
  backends.tcp[0].events->on_readable();
  EXPECT_EQ(connection.streams[kStream].reset_code, 1U);
  EXPECT_EQ(connection.streams[kStream].stop_code, 1U);
  EXPECT_EQ(fates.value(StreamFate::reset), 1U);
  EXPECT_EQ(counts.active.value(), 0U);
}

TEST_F(TcpSessionsTest, TooLargeABacklogResetsTheStreamThatHoldsMost) {
  const quic::StreamId connecting{4}, silent{8}, good{12};
  open(connecting, header());
  sessions->on_stream_data(connecting, payload(400), false);  // its backend does not answer the SYN
  open(silent, header());
  connected(backends.tcp[1]);
  backends.tcp[1].room = 100;
  sessions->on_stream_data(silent, payload(600), false);
  sessions->flush();  // 500 remain: 900 in all
  open(good, header());
  connected(backends.tcp[2]);
  sessions->on_stream_data(good, payload(100), false);
  EXPECT_EQ(fates.value(StreamFate::backlog_limit), 0U) << "1000 is within";
  sessions->on_stream_data(connecting, payload(1), false);
  EXPECT_EQ(connection.streams[silent].reset_code, 2U);
  EXPECT_EQ(connection.streams[silent].stop_code, 2U);
  EXPECT_EQ(backends.tcp[1].events, nullptr) << "its connection is closed";
  EXPECT_EQ(fates.value(StreamFate::backlog_limit), 1U);
  EXPECT_FALSE(connection.streams[connecting].reset_code);
  sessions->flush();
  EXPECT_EQ(backends.tcp[2].written, payload(100)) << "others go on";
  sessions->on_stream_data(connecting, payload(599), false);
  EXPECT_FALSE(connection.streams[connecting].reset_code) << "what was freed, and what was taken, counts no more";
  sessions->on_stream_data(connecting, payload(1), false);
  EXPECT_EQ(connection.streams[connecting].reset_code, 2U);
  EXPECT_EQ(sessions->size(), 1U);
  EXPECT_EQ(quotas.sockets(), 1U);
}

TEST_F(TcpSessionsTest, TheBacklogCountsOverAllTunnelsOfAnAgent) {
  ztna::test::FakeConnection other_connection;
  auto& usage = *quotas.acquire("a");
  {
    TcpSessions other{TcpShared{backends, names, quotas, fates, counts, now}, usage, other_connection,
                      static_cast<ServiceLookup&>(*this)};
    open(kStream, header());
    sessions->on_stream_data(kStream, payload(600), false);
    other.on_stream_opened(kStream);
    other.on_stream_data(kStream, header(), false);
    other.on_stream_data(kStream, payload(401), false);
    EXPECT_EQ(connection.streams[kStream].reset_code, 2U) << "the larger one, of the other tunnel";
    EXPECT_FALSE(other_connection.streams[kStream].reset_code);
    EXPECT_EQ(usage.backlog, 401U);
  }
  EXPECT_EQ(usage.backlog, 0U) << "the end of a tunnel frees what it held";
  open(quic::StreamId{8}, header());
  sessions->on_stream_data(quic::StreamId{8}, payload(1000), false);
  EXPECT_FALSE(connection.streams[quic::StreamId{8}].reset_code);
  refused(backends.tcp.back(), Errc::refused);
  EXPECT_EQ(usage.backlog, 0U);
}

TEST_F(TcpSessionsTest, ASessionIsActiveUntilTheAgentHasAllOfIt) {
  open(kStream, header(), true);  // the user half-closed at once
  auto& backend = backends.tcp[0];
  connected(backend);
  EXPECT_EQ(sessions->active(), 1U);
  backend.to_read.push_back(payload(100));
  backend.ended = true;
  backend.events->on_readable();
  if (backend.events != nullptr) backend.events->on_readable();
  ASSERT_TRUE(connection.streams[kStream].finished);
  EXPECT_EQ(sessions->size(), 0U);
  EXPECT_EQ(quotas.sockets(), 0U) << "its socket is free at once";
  EXPECT_EQ(sessions->active(), 1U) << "octets may wait in QUIC";
  sessions->on_stream_closed(kStream);
  EXPECT_EQ(sessions->active(), 0U);

  open(quic::StreamId{8}, header());
  connected(backends.tcp[1]);
  backends.tcp[1].reset = true;
  backends.tcp[1].events->on_readable();
  EXPECT_EQ(sessions->active(), 0U) << "nothing to wait for after a reset";
}

TEST_F(TcpSessionsTest, AnAgentsResetResetsTheBackend) {
  for (const bool stop : {false, true}) {
    const quic::StreamId id{stop ? 8 : 4};
    open(id, header());
    auto& backend = backends.tcp.back();
    connected(backend);
    stop ? sessions->on_stop_sending(id) : sessions->on_stream_reset(id);
    EXPECT_TRUE(backend.aborted);
    EXPECT_EQ(backend.events, nullptr);
  }
  EXPECT_EQ(fates.value(StreamFate::reset), 2U);
}

TEST_F(TcpSessionsTest, TheEndOfTheTunnelResetsBackends) {
  open(kStream, header());
  connected(backends.tcp[0]);
  open(quic::StreamId{8}, header());
  sessions->on_connection_closed();
  EXPECT_TRUE(backends.tcp[0].aborted);
  EXPECT_EQ(backends.tcp[1].events, nullptr);
  EXPECT_EQ(fates.value(StreamFate::reset), 1U);
  EXPECT_EQ(fates.value(StreamFate::given_up), 1U);
  EXPECT_EQ(quotas.sockets(), 0U);
  EXPECT_EQ(counts.active.value(), 0U);
}

TEST_F(TcpSessionsTest, AClosedServiceEndsItsSessionsOnly) {
  open(kStream, header());
  connected(backends.tcp[0]);
  sessions->close(wire::ServiceHandle{8});
  EXPECT_FALSE(backends.tcp[0].aborted);
  sessions->close(kHandle);
  EXPECT_TRUE(backends.tcp[0].aborted);
  EXPECT_EQ(connection.streams[kStream].reset_code, 1U);
}

TEST_F(TcpSessionsTest, OctetsPassBothWaysHoweverTheHeaderIsCut) {
  const auto whole = header();
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    SCOPED_TRACE(cut);
    const quic::StreamId id{static_cast<std::int64_t>(4 * cut + 4)};
    now += 1s;
    sessions->on_stream_opened(id);
    sessions->on_stream_data(id, Bytes{whole}.first(cut), false);
    ByteVector rest{whole.begin() + static_cast<std::ptrdiff_t>(cut), whole.end()};
    const auto early = payload(10, 'x');
    rest.insert(rest.end(), early.begin(), early.end());
    sessions->on_stream_data(id, rest, false);
    auto& backend = backends.tcp.back();
    EXPECT_EQ(backend.backend, address("10.0.0.5:8080"));
    connected(backend);
    EXPECT_EQ(backend.written, early) << "what came early is not lost";
    sessions->on_stream_data(id, payload(3), true);
    EXPECT_EQ(backend.written.size(), 10U) << "written once a batch";
    sessions->flush();
    EXPECT_EQ(backend.written.size(), 13U);
    EXPECT_TRUE(backend.shut) << "half-close";
    EXPECT_EQ(connection.streams[id].credited, whole.size() + 13);
    backend.to_read.push_back(payload(5, 'r'));
    backend.ended = true;
    backend.events->on_readable();
    if (backend.events != nullptr) backend.events->on_readable();
    ByteVector expected{0};
    const auto reply = payload(5, 'r');
    expected.insert(expected.end(), reply.begin(), reply.end());
    EXPECT_EQ(connection.streams[id].written, expected);
    EXPECT_TRUE(connection.streams[id].finished);
    EXPECT_EQ(backend.events, nullptr) << "both directions are over";
  }
  EXPECT_EQ(fates.value(StreamFate::finished), whole.size() + 1);
  EXPECT_EQ(counts.octets_to_backend.value(), 13U * (whole.size() + 1));
  EXPECT_EQ(use.octets_to_agent, 5U * (whole.size() + 1));
  EXPECT_EQ(sessions->size(), 0U);
}

TEST_F(TcpSessionsTest, ASlowBackendStillGetsAllAfterTheStreamIsOver) {
  open(kStream, header());
  auto& backend = backends.tcp[0];
  connected(backend);
  backend.room = 4;
  sessions->on_stream_data(kStream, payload(10), true);
  sessions->flush();
  EXPECT_EQ(connection.streams[kStream].credited, StreamHeader::kSize + 4)
      << "no credit for what the backend did not take";
  EXPECT_TRUE(backend.want_write);
  backend.ended = true;
  backend.events->on_readable();
  sessions->on_stream_closed(kStream);  // FIN was acknowledged in both directions
  backend.room = 100;
  backend.events->on_writable();
  EXPECT_EQ(backend.written, payload(10));
  EXPECT_EQ(sessions->active(), 0U);
  EXPECT_TRUE(backend.shut);
  EXPECT_FALSE(backend.aborted);
  EXPECT_EQ(fates.value(StreamFate::finished), 1U);
}

TEST_F(TcpSessionsTest, AddressesOfANameAreTriedInOrder) {
  Service named{{service_id("web"), "web.lan", 8080, {{Transport::tcp, 80, 80}}, {}}};
  std::swap(service, named);
  open(kStream, header());
  EXPECT_TRUE(backends.tcp.empty());
  resolver.answer({ip("10.0.0.1"), ip("fd00::2"), ip("10.0.0.3")});
  EXPECT_EQ(backends.tcp[0].backend, address("10.0.0.1:8080"));
  backends.refuses[address("[fd00::2]:8080")] = Errc::unreachable;
  refused(backends.tcp[0], Errc::refused);
  ASSERT_EQ(backends.tcp.size(), 2U);
  EXPECT_EQ(backends.tcp[1].backend, address("10.0.0.3:8080"));
  EXPECT_TRUE(connection.streams[kStream].written.empty());
  connected(backends.tcp[1]);
  EXPECT_EQ(connection.streams[kStream].written, ByteVector{0});
}

TEST_F(TcpSessionsTest, ANameThatDoesNotResolveIsUnreachable) {
  Service named{{service_id("web"), "web.lan", 8080, {{Transport::tcp, 80, 80}}, {}}};
  std::swap(service, named);
  open(kStream, header());
  open(quic::StreamId{8}, header());
  EXPECT_EQ(resolver.asked.size(), 1U) << "one question for both";
  sessions->on_stream_reset(quic::StreamId{8});  // went away meanwhile
  resolver.answer({});
  expect_refusal(kStream, StreamResult::unreachable);
  EXPECT_EQ(names.failures().value(), 1U);
}

}  // namespace
}  // namespace ztna::connector
