#include "intermediate/relay.h"

#include <gtest/gtest.h>

#include "wire/routed_datagram.h"

namespace ztna::intermediate {
namespace {

struct FakeUdp final : WorkerUdp {
  struct Sent {
    SocketAddress local, to;
    ByteVector row;
    std::size_t segment;
  };
  std::vector<Sent> forwarded;
  void send(const SocketAddress&, const SocketAddress&, Bytes, std::size_t) override {
    FAIL() << "relay answers nobody";
  }
  void forward(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) override {
    forwarded.push_back({local, to, {row.begin(), row.end()}, segment});
  }
  bool writable() const override { return true; }
};

struct RelayTest : ::testing::Test {
  RouteTable table;
  RelayCounters counters;
  FakeUdp udp;
  const SocketAddress server = *SocketAddress::parse("198.18.3.2:4433");
  const SocketAddress agent = *SocketAddress::parse("198.18.1.2:50001");
  const SocketAddress connector = *SocketAddress::parse("[fd00::2]:4434");
  const SocketAddress server6 = *SocketAddress::parse("[fd00::3]:4433");
  const wire::RouteId a{0x0011223344556677}, c{0x0188776655443322};
  TimePoint now{};

  void SetUp() override { ASSERT_TRUE(table.open(a, {server, agent}, c, {server6, connector})); }
  static ByteVector datagram(wire::RouteId id, std::size_t payload, std::uint8_t fill) {
    ByteVector d(wire::RelayDatagram::kHeaderSize + payload, fill);
    wire::write_relay_header(MutableBytes{d}.first<wire::RelayDatagram::kHeaderSize>(), id);
    return d;
  }
  std::size_t forward(const SocketAddress& from, ByteVector& row, std::size_t segment, std::uint64_t limit = 0) {
    Relay relay{table, counters, limit};
    const RouteTable::Reader reader{table};
    return relay.forward(reader, from, row, segment, now, udp);
  }
};

TEST_F(RelayTest, DropsUnknownRoutesWrongSourcesAndStumps) {
  auto unknown = datagram(wire::RouteId{42}, 20, 1);
  EXPECT_EQ(forward(agent, unknown, unknown.size()), unknown.size());
  auto spoofed = datagram(a, 20, 1);
  EXPECT_EQ(forward(connector, spoofed, spoofed.size()), spoofed.size());
  auto other_port = datagram(a, 20, 1);
  auto rebound = agent;
  ++rebound.port;
  EXPECT_EQ(forward(rebound, other_port, other_port.size()), other_port.size());
  for (std::size_t n = 1; n <= wire::RelayDatagram::kHeaderSize; ++n) {
    auto stump = datagram(a, 20, 1);
    stump.resize(n);
    EXPECT_EQ(forward(agent, stump, n), n);
  }
  EXPECT_TRUE(udp.forwarded.empty());
  EXPECT_EQ(counters.fates.value(RelayFate::unknown_route), 1U);
  EXPECT_EQ(counters.fates.value(RelayFate::wrong_source), 2U);
  EXPECT_EQ(counters.fates.value(RelayFate::malformed), wire::RelayDatagram::kHeaderSize);
  EXPECT_EQ(counters.octets.value(), 0U);
}

TEST_F(RelayTest, ForwardsAWholeRowWithTheOtherSidesId) {
  ByteVector row;
  for (int i = 0; i < 5; ++i) {
    const auto d = datagram(a, i == 4 ? 17 : 90, static_cast<std::uint8_t>(i));
    row.insert(row.end(), d.begin(), d.end());
  }
  EXPECT_EQ(forward(agent, row, 100), row.size());
  ASSERT_EQ(udp.forwarded.size(), 1U);
  const auto& sent = udp.forwarded[0];
  EXPECT_EQ(sent.local, server6);
  EXPECT_EQ(sent.to, connector);
  EXPECT_EQ(sent.segment, 100U);
  for (std::size_t i = 0; i < 5; ++i) {
    const auto d = wire::RelayDatagram::parse(Bytes{sent.row}.subspan(i * 100, i == 4 ? 27 : 100));
    ASSERT_TRUE(d);
    EXPECT_EQ(d->route, c);
    EXPECT_EQ(d->packet[0], i);
  }
  EXPECT_EQ(counters.fates.value(RelayFate::forwarded), 5U);
  EXPECT_EQ(counters.octets.value(), row.size());
}

TEST_F(RelayTest, StopsAtTheEndOfARunOfOneRoute) {
  auto row = datagram(a, 90, 1);
  const auto other = datagram(wire::RouteId{42}, 90, 2);
  row.insert(row.end(), other.begin(), other.end());
  EXPECT_EQ(forward(agent, row, 100), 100U);
  ASSERT_EQ(udp.forwarded.size(), 1U);
  EXPECT_EQ(udp.forwarded[0].row.size(), 100U);
}

TEST_F(RelayTest, FollowsTheOwnersValidatedAddress) {
  auto moved = agent;
  moved.port = 60000;
  table.move(a, {server, moved});
  auto late = datagram(a, 20, 1);
  forward(agent, late, late.size());
  EXPECT_EQ(counters.fates.value(RelayFate::wrong_source), 1U);
  auto back = datagram(c, 20, 1);
  forward(connector, back, back.size());
  ASSERT_EQ(udp.forwarded.size(), 1U);
  EXPECT_EQ(udp.forwarded[0].to, moved);
}

TEST_F(RelayTest, ThrottlesARouteAndLetsItRecover) {
  const std::uint64_t limit = 1'000'000;  // octets a second; 100 ms may burst
  std::size_t passed = 0;
  for (int i = 0; i < 1000; ++i) {
    auto d = datagram(a, 990, 1);
    forward(agent, d, d.size(), limit);
  }
  passed = counters.fates.value(RelayFate::forwarded);
  EXPECT_GE(passed, 100U);
  EXPECT_LE(passed, 102U);
  now += 50ms;
  for (int i = 0; i < 1000; ++i) {
    auto d = datagram(a, 990, 1);
    forward(agent, d, d.size(), limit);
  }
  EXPECT_NEAR(static_cast<double>(counters.fates.value(RelayFate::forwarded) - passed), 50, 2);
  EXPECT_EQ(counters.fates.value(RelayFate::throttled) + counters.fates.value(RelayFate::forwarded), 2000U);
}

TEST_F(RelayTest, AClosedRouteIsUnknownFromBothSides) {
  table.close(c);
  EXPECT_EQ(table.size(), 0U);
  auto d = datagram(a, 20, 1);
  forward(agent, d, d.size());
  EXPECT_EQ(counters.fates.value(RelayFate::unknown_route), 1U);
}

TEST_F(RelayTest, NoIdIsGivenTwice) {
  EXPECT_FALSE(table.open(a, {server, agent}, wire::RouteId{7}, {server, agent}));
  EXPECT_FALSE(table.open(wire::RouteId{7}, {server, agent}, c, {server, agent}));
  EXPECT_FALSE(table.open(wire::RouteId{7}, {server, agent}, wire::RouteId{7}, {server, agent}));
  EXPECT_EQ(table.size(), 1U);
}

}  // namespace
}  // namespace ztna::intermediate
