#include "tunnel/datagram_channel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>

#include "support/fake_connection.h"
#include "wire/tunnel_datagram.h"

namespace ztna::tunnel {
namespace {

const wire::ServiceHandle kService{7};

ByteVector packet_of(std::size_t size) {
  ByteVector p(size);
  std::iota(p.begin(), p.end(), std::uint8_t{1});
  return p;
}

struct Channels : testing::Test {
  test::FakeConnection connection;
  CounterSet<DatagramFate> sent, got;
  DatagramChannel out{connection, sent};
  DatagramChannel in{connection, got};
  TimePoint now{};

  std::optional<ByteVector> deliver(const ByteVector& datagram) {
    const auto received = in.receive(datagram, now);
    if (!received) return std::nullopt;
    EXPECT_EQ(received->service, kService);
    return ByteVector{received->packet.begin(), received->packet.end()};
  }
};

TEST_F(Channels, RefusesWhatIsNoDatagram) {
  for (const ByteVector& bad :
       {ByteVector{}, ByteVector{0x2F}, ByteVector{0x2F, 2, 0}, ByteVector{0x2F, 2, 0, 7}, ByteVector{0x2F, 3, 0, 7, 9},
        ByteVector{0x2F, 2, 0, 0, 9}, ByteVector{0x55, 2, 0, 7, 9}, ByteVector{0x2E, 0, 0, 0, 0},
        ByteVector{0x2E, 0, 0, 0, 6, 1}}) {
    EXPECT_FALSE(in.receive(bad, now)) << to_hex(bad);
  }
  EXPECT_EQ(got.value(DatagramFate::malformed), 9U);
}

TEST_F(Channels, RefusesAPacketThatNoIpHeaderCanDescribe) {
  EXPECT_EQ(out.send(kService, packet_of(65'576)), DatagramFate::send_failed);
  EXPECT_EQ(out.send(kService, {}), DatagramFate::send_failed);
  EXPECT_TRUE(connection.datagrams.empty());
}

TEST_F(Channels, CountsAFullQueueOnceAndSendsNoUselessParts) {
  connection.datagrams_until_full = 2;
  EXPECT_EQ(out.send(kService, packet_of(9000)), DatagramFate::queue_full);
  EXPECT_EQ(connection.datagrams.size(), 2U);
  EXPECT_EQ(sent.total(), 1U);
}

TEST_F(Channels, CarriesASmallPacketInOneDatagram) {
  const auto packet = packet_of(1196);
  EXPECT_EQ(out.send(kService, packet), DatagramFate::sent);
  ASSERT_EQ(connection.datagrams.size(), 1U);
  EXPECT_EQ(deliver(connection.datagrams[0]), packet);
  EXPECT_EQ(got.value(DatagramFate::received), 1U);
}

TEST_F(Channels, JoinsPacketsOfEverySizeInAnyOrder) {
  std::mt19937 rng{1};
  for (const std::size_t size : {1197U, 1200U, 1500U, 2391U, 8972U, 65'535U, 65'575U}) {
    connection.datagrams.clear();
    const auto packet = packet_of(size);
    ASSERT_EQ(out.send(kService, packet), DatagramFate::sent_split) << size;
    for (const auto& d : connection.datagrams) EXPECT_LE(d.size(), connection.max_datagram_size);
    std::ranges::shuffle(connection.datagrams, rng);
    std::optional<ByteVector> joined;
    for (const auto& d : connection.datagrams) {
      EXPECT_FALSE(joined) << "complete before its last part";
      joined = deliver(d);
    }
    EXPECT_EQ(joined, packet) << size;
  }
  EXPECT_EQ(got.value(DatagramFate::received_joined), 7U);
  EXPECT_EQ(got.total(), 7U);
}

TEST_F(Channels, KeepsPacketsApartThatArriveInterleaved) {
  const auto a = packet_of(3000);
  auto b = a;
  std::ranges::reverse(b);
  ASSERT_EQ(out.send(kService, a), DatagramFate::sent_split);
  const auto half = connection.datagrams.size();
  ASSERT_EQ(out.send(kService, b), DatagramFate::sent_split);
  std::vector<ByteVector> whole;
  for (std::size_t i = 0; i < half; ++i) {
    for (const auto& d : {connection.datagrams[i], connection.datagrams[half + i]}) {
      if (auto packet = deliver(d)) whole.push_back(*packet);
    }
  }
  EXPECT_EQ(whole, (std::vector{a, b}));
}

TEST_F(Channels, VoidsAPacketWhosePartsOverlap) {
  ASSERT_EQ(out.send(kService, packet_of(3000)), DatagramFate::sent_split);
  EXPECT_FALSE(deliver(connection.datagrams[0]));
  EXPECT_FALSE(deliver(connection.datagrams[0]));  // the same part again
  for (std::size_t i = 1; i < connection.datagrams.size(); ++i) EXPECT_FALSE(deliver(connection.datagrams[i]));
  EXPECT_EQ(got.value(DatagramFate::join_overlap), 1U);
  EXPECT_EQ(got.total(), 1U);
}

TEST_F(Channels, VoidsAPacketWithTwoEnds) {
  EXPECT_FALSE(deliver({0x2E, 0, 1, 0, 16, 1, 2, 3}));  // last part at 16
  EXPECT_FALSE(deliver({0x2E, 0, 1, 0, 8, 1, 2, 3}));   // another last part before it
  EXPECT_FALSE(deliver({0x2E, 0, 1, 0, 1, 0x2F, 2, 0, 7, 1, 2, 3, 4}));
  EXPECT_EQ(got.value(DatagramFate::join_overlap), 1U);
}

TEST_F(Channels, ForgetsAnUnfinishedPacketAfterFiveSeconds) {
  ASSERT_EQ(out.send(kService, packet_of(3000)), DatagramFate::sent_split);
  EXPECT_FALSE(deliver(connection.datagrams[0]));
  in.expire(now + DatagramChannel::kJoinTimeout - 1ms);
  EXPECT_EQ(got.total(), 0U);
  in.expire(now + DatagramChannel::kJoinTimeout);
  EXPECT_EQ(got.value(DatagramFate::join_timeout), 1U);
  for (std::size_t i = 1; i < connection.datagrams.size(); ++i) EXPECT_FALSE(deliver(connection.datagrams[i]));
}

TEST_F(Channels, TheSmallestPartsWithTheLastOneFirstCostNoMoreThanTheirOctets) {
  const auto join = [&](std::size_t size, std::uint16_t packets) {
    ByteVector row(size);
    wire::write_tunnel_header(MutableBytes{row}.first<wire::TunnelDatagram::kHeaderSize>(), kService);
    const auto part = [&](std::uint16_t id, std::size_t begin) {
      const auto end = std::min(begin + 8, row.size());
      ByteVector cut(wire::SplitPart::kHeaderSize);
      wire::write_split_header(MutableBytes{cut}.first<wire::SplitPart::kHeaderSize>(), id,
                               static_cast<std::uint32_t>(begin), end < row.size());
      cut.insert(cut.end(), row.begin() + static_cast<std::ptrdiff_t>(begin),
                 row.begin() + static_cast<std::ptrdiff_t>(end));
      return cut;
    };
    const auto began = std::chrono::steady_clock::now();
    for (std::uint16_t id = 0; id < packets; ++id) {
      const auto last = (row.size() - 1) / 8 * 8;
      EXPECT_FALSE(in.receive(part(id, last), now));
      for (std::size_t at = 0; at < last; at += 8) {
        EXPECT_EQ(in.receive(part(id, at), now).has_value(), at + 8 == last);
      }
    }
    return std::chrono::steady_clock::now() - began;
  };
  (void)join(65'536 / 16, 1);  // warm
  const auto few = join(65'536 / 16, 160),
             many = join(65'536 - 8, 10);  // as many parts, sixteen times as many of one packet
  EXPECT_LT(many, 6 * few) << "looking through all parts at each one takes sixteen times as long";
  EXPECT_EQ(got.value(DatagramFate::received_joined), 171U);
}

TEST_F(Channels, BoundsWhatIsUnfinished) {
  for (std::size_t i = 0; i < 100; ++i) {
    connection.datagrams.clear();
    ASSERT_EQ(out.send(kService, packet_of(3000)), DatagramFate::sent_split);
    now += 1ms;
    EXPECT_FALSE(deliver(connection.datagrams[0]));
  }
  EXPECT_EQ(got.value(DatagramFate::join_overflow), 100 - DatagramChannel::kMaxUnfinished);
}

}  // namespace
}  // namespace ztna::tunnel
