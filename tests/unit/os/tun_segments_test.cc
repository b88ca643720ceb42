#include "os/tun_segments.h"

#include <gtest/gtest.h>

#include <numeric>

#include "packet_check.h"

namespace ztna::os {
namespace {

/// A super-packet with `payload` octets, headers as the kernel leaves them (NEEDS_CSUM).
ByteVector super_packet(bool v6, bool tcp, std::size_t payload, std::uint8_t tcp_flags = 0x18) {
  const std::size_t ip = v6 ? 40 : 20;
  const std::size_t l4 = tcp ? 32 : 8;  // TCP with 12 octets of options
  ByteVector p(ip + l4 + payload);
  const auto set16 = [&](std::size_t i, std::size_t v) {
    p[i] = static_cast<std::uint8_t>(v >> 8U);
    p[i + 1] = static_cast<std::uint8_t>(v);
  };
  if (v6) {
    p[0] = 0x60;
    set16(4, l4 + payload);
    p[6] = tcp ? 6 : 17;
    p[7] = 64;
    p[8] = 0xFD, p[23] = 1, p[24] = 0xFD, p[39] = 2;
  } else {
    p[0] = 0x45;
    set16(2, p.size());
    set16(4, 0xFFFE);  // the id wraps
    p[8] = 64;
    p[9] = tcp ? 6 : 17;
    p[12] = 10, p[15] = 1, p[16] = 10, p[19] = 2;
  }
  set16(ip, 40'000);
  set16(ip + 2, 80);
  if (tcp) {
    p[ip + 4] = p[ip + 5] = p[ip + 6] = 0xFF, p[ip + 7] = 0x00;  // the sequence number wraps
    p[ip + 12] = 8U << 4U;
    p[ip + 13] = tcp_flags;
    for (std::size_t i = 20; i < 32; ++i) p[ip + i] = 1;  // no-ops
  } else {
    set16(ip + 4, l4 + payload);
  }
  std::iota(p.begin() + static_cast<std::ptrdiff_t>(ip + l4), p.end(), std::uint8_t{3});
  const std::uint16_t pseudo =
      static_cast<std::uint16_t>(~checksum_finish(pseudo_header_sum(p, tcp ? 6 : 17, l4 + payload)));
  set16(ip + (tcp ? 16 : 6), pseudo);
  return p;
}

VirtioNetHeader header_for(bool v6, bool tcp, std::uint16_t gso_size) {
  VirtioNetHeader h;
  h.flags = VirtioNetHeader::kNeedsChecksum;
  h.csum_start = v6 ? 40 : 20;
  h.csum_offset = tcp ? 16 : 6;
  h.gso_size = gso_size;
  if (gso_size != 0) {
    h.gso_type = !tcp ? VirtioNetHeader::kGsoUdp : v6 ? VirtioNetHeader::kGsoTcp6 : VirtioNetHeader::kGsoTcp4;
  }
  return h;
}

TEST(TunSegmentsTest, EveryShortPrefixOfTheHeadersIsRefused) {
  for (const bool v6 : {false, true}) {
    for (const bool tcp : {false, true}) {
      const auto p = super_packet(v6, tcp, 100);
      const std::size_t headers = p.size() - 100;
      for (std::size_t n = 0; n < headers; ++n) {
        const ByteVector cut(p.begin(),
                             p.begin() + static_cast<std::ptrdiff_t>(n));  // so that a sanitizer sees every overrun
        EXPECT_FALSE(TunSegments::of(header_for(v6, tcp, 10), cut)) << n;
      }
      EXPECT_TRUE(TunSegments::of(header_for(v6, tcp, 10), p));
    }
  }
}

TEST(TunSegmentsTest, ContradictionsAreRefused) {
  auto udp = super_packet(false, false, 100);
  auto h = header_for(false, false, 0);
  h.gso_type = VirtioNetHeader::kGsoUdp;
  EXPECT_FALSE(TunSegments::of(h, udp)) << "gso_size 0";
  EXPECT_FALSE(TunSegments::of(header_for(false, true, 10), udp)) << "TSO of a UDP packet";
  h = header_for(false, false, 10);
  h.gso_type = VirtioNetHeader::kGsoUdpFragment;
  EXPECT_FALSE(TunSegments::of(h, udp)) << "UFO";
  EXPECT_FALSE(TunSegments::of(header_for(true, true, 10), super_packet(false, true, 100))) << "TSO6 of IPv4";
  udp[0] = 0x43;
  EXPECT_FALSE(TunSegments::of(header_for(false, false, 10), udp)) << "header length 12";
  udp[0] = 0x4F;
  EXPECT_TRUE(TunSegments::of(header_for(false, false, 10), udp)) << "60 octets of header fit";
  auto tcp = super_packet(false, true, 10);
  tcp[20 + 12] = 0x40;
  EXPECT_FALSE(TunSegments::of(header_for(false, true, 10), tcp)) << "data offset 4";
  tcp[20 + 12] = 0xF0;
  EXPECT_FALSE(TunSegments::of(header_for(false, true, 10), tcp)) << "data offset beyond the end";
  auto extension = super_packet(true, false, 100);
  extension[6] = 0;  // hop-by-hop options
  EXPECT_FALSE(TunSegments::of(header_for(true, false, 10), extension));
}

TEST(TunSegmentsTest, ChecksumOffsetsOutsideThePacketAreRefused) {
  auto p = super_packet(false, false, 1);
  auto h = header_for(false, false, 0);
  for (const std::uint16_t start : {std::uint16_t{22}, std::uint16_t{29}, std::uint16_t{0xFFFF}}) {
    h.csum_start = start;
    h.csum_offset = start == 22 ? 6 : 0xFFFF;
    const auto before = p;
    EXPECT_FALSE(complete_checksum(h, p));
    EXPECT_FALSE(TunSegments::of(h, p));
    EXPECT_EQ(p, before);
  }
}

TEST(TunSegmentsTest, TooSmallABufferGivesNothingAndLosesNothing) {
  const auto p = super_packet(false, false, 100);
  auto s = TunSegments::of(header_for(false, false, 60), p);
  ByteVector out(s->max_size());
  EXPECT_EQ(s->next(MutableBytes{out}.first(out.size() - 1)), 0U);
  EXPECT_EQ(s->next(out), 88U);
  EXPECT_EQ(s->next(out), 68U);
  EXPECT_EQ(s->next(out), 0U);
}

class TunSplitTest : public ::testing::TestWithParam<std::tuple<bool, bool, std::size_t, std::uint16_t>> {};
INSTANTIATE_TEST_SUITE_P(
    All, TunSplitTest,
    ::testing::Combine(::testing::Bool(), ::testing::Bool(),
                       ::testing::Values(std::size_t{0}, std::size_t{1}, std::size_t{1400}, std::size_t{1401},
                                         std::size_t{28'000}, std::size_t{64'001}),
                       ::testing::Values(std::uint16_t{1400}, std::uint16_t{1}, std::uint16_t{533})));

TEST_P(TunSplitTest, SegmentsAreWholePacketsThatJoinToTheOriginal) {
  const auto [v6, tcp, payload, gso_size] = GetParam();
  const auto p = super_packet(v6, tcp, payload, 0x99);  // CWR, ACK, PSH, FIN
  auto split = TunSegments::of(header_for(v6, tcp, gso_size), p);
  ASSERT_TRUE(split);
  const std::size_t headers = p.size() - payload;
  const std::size_t l4 = v6 ? 40 : 20;
  const std::size_t expected = std::max<std::size_t>((payload + gso_size - 1) / gso_size, 1);
  EXPECT_EQ(split->count(), expected);
  ByteVector joined, out(split->max_size());
  std::size_t n = 0;
  while (const std::size_t size = split->next(out)) {
    const Bytes packet = Bytes{out}.first(size);
    ASSERT_EQ(packet_problem(packet), "");
    joined.insert(joined.end(), packet.begin() + static_cast<std::ptrdiff_t>(headers), packet.end());
    if (!v6) {
      EXPECT_EQ(read16(packet, 4), static_cast<std::uint16_t>(0xFFFE + n));
    }
    if (tcp) {
      const std::uint32_t seq = 0xFFFFFF00U + static_cast<std::uint32_t>(n * gso_size);
      EXPECT_EQ(std::uint32_t{read16(packet, l4 + 4)} << 16U | read16(packet, l4 + 6), seq);
      const bool last = n + 1 == expected;
      EXPECT_EQ(packet[l4 + 13], (last ? 0x19 : 0x10) | (n == 0 ? 0x80 : 0));
    }
    ++n;
  }
  EXPECT_EQ(n, expected);
  EXPECT_EQ(joined, ByteVector(p.begin() + static_cast<std::ptrdiff_t>(headers), p.end()));
}

TEST(TunSegmentsTest, PartialChecksumIsCompleted) {
  for (const bool v6 : {false, true}) {
    for (const bool tcp : {false, true}) {
      for (const std::size_t payload : {0U, 1U, 2U, 1001U}) {
        auto p = super_packet(v6, tcp, payload);
        if (!v6) {  // the kernel does this one itself
          const std::uint16_t sum = checksum_finish(checksum_add(0, Bytes{p}.first(20)));
          p[10] = static_cast<std::uint8_t>(sum >> 8U), p[11] = static_cast<std::uint8_t>(sum);
        }
        EXPECT_NE(packet_problem(p), "");
        auto split = TunSegments::of(header_for(v6, tcp, 0), p);
        ASSERT_TRUE(split);
        ByteVector out(split->max_size());
        EXPECT_EQ(split->next(out), p.size());
        EXPECT_EQ(packet_problem(out), "");
        EXPECT_TRUE(complete_checksum(header_for(v6, tcp, 0), p));
        EXPECT_EQ(p, out);
      }
    }
  }
}

TEST(TunSegmentsTest, ZeroUdpChecksumIsSentAsAllOnes) {
  auto p = super_packet(false, false, 2);
  // Choose the payload so that the sum comes out as zero.
  p[28] = p[29] = 0;
  auto copy = p;
  complete_checksum(header_for(false, false, 0), copy);
  p[28] = copy[26], p[29] = copy[27];
  complete_checksum(header_for(false, false, 0), p);
  EXPECT_EQ(read16(p, 26), 0xFFFF);
}

// RFC 1071 section 3.
TEST(ChecksumTest, Rfc1071Example) {
  const ByteVector data{0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7};
  EXPECT_EQ(checksum_finish(checksum_add(0, data)), static_cast<std::uint16_t>(~0xDDF2));
}

}  // namespace
}  // namespace ztna::os
