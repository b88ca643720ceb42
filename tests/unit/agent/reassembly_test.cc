#include "agent/reassembly.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "packets.h"

namespace ztna::agent {
namespace {

using testing::at;
using testing::fragments;
using testing::kStart;
using testing::udp;

struct ReassemblyTest : ::testing::TestWithParam<bool> {
  Reassembly reassembly;
  const SocketAddress src = GetParam() ? at("fd5a:7a74:6e61::fffe", 4000) : at("10.100.0.254", 4000);
  const SocketAddress dst = GetParam() ? at("fd5a:7a74:6e61::5", 7000) : at("10.100.0.5", 7000);

  Reassembly::Outcome add(const ByteVector& packet, TimePoint now = kStart) {
    const auto view = wire::ip::parse_ip_packet(packet);
    EXPECT_TRUE(view) << to_string(view.error());
    return reassembly.add(*view, now);
  }
};
INSTANTIATE_TEST_SUITE_P(Families, ReassemblyTest, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "v6" : "v4"; });

/// What comes out of fragments of `packet`: over IPv6 a fragment header with nothing before and after it is left.
ByteVector joined(ByteVector packet) {
  if (packet[0] >> 4U == 4) return packet;
  const auto next_header = std::exchange(packet[6], std::uint8_t{44});
  testing::put_u16(packet, 4, packet.size() - 40 + 8);
  packet.insert(packet.begin() + 40, {next_header, 0, 0, 0, 0, 0, 0, 0});
  return packet;
}

TEST_P(ReassemblyTest, OverlapVoidsTheWholeDatagram) {
  auto parts = fragments(udp(src, dst, 3000), 1000);
  auto shifted = fragments(udp(src, dst, 3000), 504);
  EXPECT_EQ(add(parts[0]).fate, TunFate::fragment_kept);
  EXPECT_EQ(add(shifted[1]).fate, TunFate::fragment_overlap);
  EXPECT_EQ(reassembly.octets(), 0U);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto outcome = add(parts[i]);
    EXPECT_EQ(outcome.fate, TunFate::fragment_overlap);
    EXPECT_TRUE(outcome.whole.empty());
  }
  EXPECT_EQ(reassembly.fates().value(ReassemblyFate::overlap), 1U);
  reassembly.expire(kStart + Reassembly::kTimeout);
  EXPECT_EQ(reassembly.datagrams(), 0U);
  EXPECT_EQ(reassembly.fates().value(ReassemblyFate::timeout), 0U);  // counted once, as an overlap
}

TEST_P(ReassemblyTest, SameFragmentTwiceIsAnOverlap) {
  auto parts = fragments(udp(src, dst, 3000), 1000);
  add(parts[0]);
  EXPECT_EQ(add(parts[0]).fate, TunFate::fragment_overlap);
}

TEST_P(ReassemblyTest, PartBeyondTheLastOneIsAnOverlap) {
  auto parts = fragments(udp(src, dst, 3000), 1000);
  auto longer = fragments(udp(src, dst, 5000), 1000);
  EXPECT_EQ(add(parts.back()).fate, TunFate::fragment_kept);
  EXPECT_EQ(add(longer.back()).fate, TunFate::fragment_overlap);
}

TEST_P(ReassemblyTest, WhatIsNeverCompleteTimesOut) {
  auto parts = fragments(udp(src, dst, 3000), 1000);
  add(parts[0]);
  EXPECT_EQ(reassembly.deadline(), kStart + Reassembly::kTimeout);
  reassembly.expire(kStart + Reassembly::kTimeout - 1ns);
  EXPECT_EQ(reassembly.datagrams(), 1U);
  reassembly.expire(kStart + Reassembly::kTimeout);
  EXPECT_EQ(reassembly.datagrams(), 0U);
  EXPECT_EQ(reassembly.octets(), 0U);
  EXPECT_EQ(reassembly.deadline(), kNever);
  EXPECT_EQ(reassembly.fates().value(ReassemblyFate::timeout), 1U);
}

TEST_P(ReassemblyTest, MemoryAndNumberAreBounded) {
  for (unsigned i = 0; i < 2000; ++i) {
    auto part = fragments(udp(src, dst, 60'000), 30'000 / 8 * 8)[1];  // reaches far, so that it costs much
    if (GetParam()) {
      testing::put_u16(part, 46, i);
    } else {
      testing::put_u16(part, 4, i);
    }
    add(part, kStart + Duration{i});
    ASSERT_LE(reassembly.octets(), Reassembly::kMaxOctets);
    ASSERT_LE(reassembly.datagrams(), Reassembly::kMaxDatagrams);
  }
  EXPECT_GT(reassembly.fates().value(ReassemblyFate::overflow), 0U);
}

TEST_P(ReassemblyTest, JoinsInEveryOrder) {
  const auto whole = udp(src, dst, 3000);
  auto parts = fragments(whole, 1000);
  ASSERT_EQ(parts.size(), 4U);
  std::vector<std::size_t> order{0, 1, 2, 3};
  do {
    Reassembly::Outcome last;
    for (const auto i : order) last = add(parts[i]);
    EXPECT_EQ(last.whole, joined(whole));
  } while (std::ranges::next_permutation(order).found);
  EXPECT_EQ(reassembly.fates().value(ReassemblyFate::joined), 24U);
  EXPECT_EQ(reassembly.octets(), 0U);
}

TEST_P(ReassemblyTest, LongestUdpPayloadSurvives) {
  const auto whole = udp(src, dst, 65'507);
  Reassembly::Outcome last;
  for (const auto& part : fragments(whole, 1232)) last = add(part);
  EXPECT_EQ(last.whole, joined(whole));
}

TEST_P(ReassemblyTest, DatagramsDoNotMix) {
  const auto a = udp(src, dst, 3000);
  auto of_a = fragments(a, 1600);
  auto of_b = fragments(udp({src.ip, 4001}, dst, 3000), 1600);
  for (auto& part : of_b) testing::put_u16(part, GetParam() ? 46 : 4, 77);
  add(of_a[0]);
  EXPECT_TRUE(add(of_b[1]).whole.empty());
  EXPECT_EQ(add(of_a[1]).whole, joined(a));
}

TEST(Reassembly6, FragmentHeaderGoesWhereItDoesNotFitAndForTcp) {
  const auto src = at("fd5a:7a74:6e61::fffe", 4000), dst = at("fd5a:7a74:6e61::5", 7000);
  for (const std::size_t size : {65'519UL, 65'520UL}) {
    SCOPED_TRACE(size);
    Reassembly reassembly;
    const auto whole = udp(src, dst, size);
    Reassembly::Outcome last;
    for (const auto& part : fragments(whole, 1232)) last = reassembly.add(*wire::ip::parse_ip_packet(part), kStart);
    EXPECT_EQ(last.whole, size == 65'519 ? joined(whole) : whole);
    EXPECT_TRUE(wire::ip::parse_ip_packet(last.whole));
  }
  Reassembly reassembly;
  const auto segment = testing::ip_packet(src.ip, dst.ip, wire::ip::Protocol::tcp, ByteVector(2000, 0x50));
  Reassembly::Outcome last;
  for (const auto& part : fragments(segment, 1232)) {
    if (const auto view = wire::ip::parse_ip_packet(part)) last = reassembly.add(*view, kStart);
  }
  EXPECT_EQ(last.whole, segment);
}

TEST(Reassembly4, PacketLongerThanAnIpPacketIsRefused) {
  Reassembly reassembly;
  const ByteVector body(1400, 1);
  const auto part = testing::ip_packet(testing::ip("10.100.0.254"), testing::ip("10.100.0.5"), wire::ip::Protocol::udp,
                                       body, 65'528 / 8);
  const auto view = wire::ip::parse_ip_packet(part);
  if (view) {
    EXPECT_EQ(reassembly.add(*view, kStart).fate, TunFate::bad_fragment);
  }
  EXPECT_EQ(reassembly.datagrams(), 0U);
}

}  // namespace
}  // namespace ztna::agent
