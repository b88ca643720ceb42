// Checksums, built packets, and packets changed in place.
#include <gtest/gtest.h>

#include <random>

#include "golden.h"
#include "wire/ip/build.h"
#include "wire/ip/checksum.h"
#include "wire/ip/rewrite.h"

namespace ztna::wire::ip {
namespace {

using golden::address;
using golden::hex;
using golden::ip_packet;

/// RFC 1071 section 4.1, word by word.
std::uint16_t slow_sum(Bytes octets) {
  std::uint32_t total = 0;
  for (std::size_t i = 0; i < octets.size(); i += 2) {
    total += static_cast<std::uint32_t>(octets[i] << 8) + (i + 1 < octets.size() ? octets[i + 1] : 0U);
    total = (total & 0xFFFF) + (total >> 16);
  }
  return static_cast<std::uint16_t>(total);
}

PacketView view_of(const ByteVector& packet) {
  const auto view = parse_ip_packet(packet);
  EXPECT_TRUE(view.has_value()) << to_hex(packet);
  return view.value_or(PacketView{});
}

void expect_valid(const ByteVector& packet) {
  const auto view = parse_ip_packet(packet);
  ASSERT_TRUE(view.has_value()) << to_string(view.error()) << " " << to_hex(packet);
  EXPECT_TRUE(verify_checksums(*view).has_value()) << to_hex(packet);
}

TEST(Checksum, ExampleOfRfc1071) { EXPECT_EQ(sum(hex("0001 f203 f4f5 f6f7")), 0xDDF2); }

TEST(Checksum, FastSumEqualsTheSlowOne) {
  std::mt19937 random{1};  // fixed: the run repeats
  ByteVector data(70'000);
  for (auto& o : data) o = static_cast<std::uint8_t>(random());
  for (std::size_t n = 0; n < 70; ++n) {
    for (std::size_t at = 0; at < 9; ++at) {
      const auto part = Bytes{data}.subspan(at, n);
      EXPECT_EQ(sum(part), slow_sum(part)) << at << "+" << n;
    }
  }
  EXPECT_EQ(sum(data), slow_sum(data));
  EXPECT_EQ(sum(ByteVector(65'535, 0xFF)), slow_sum(ByteVector(65'535, 0xFF)));
  EXPECT_EQ(sum({}), 0);
}

TEST(Checksum, IncrementalUpdate) {
  EXPECT_EQ(update_checksum(0xDD2F, 0x5555, 0x3285), 0x0000);  // RFC 1624 section 4: not 0xFFFF
  std::mt19937 random{2};
  ByteVector data(40);
  for (auto& o : data) o = static_cast<std::uint8_t>(random());
  for (int i = 0; i < 1000; ++i) {
    const auto old_check = checksum(data);
    const auto at = (random() % 20) * 2;
    const auto before = sum(Bytes{data}.subspan(at, 2));
    data[at] = static_cast<std::uint8_t>(random());
    data[at + 1] = static_cast<std::uint8_t>(random());
    EXPECT_EQ(update_checksum(old_check, before, sum(Bytes{data}.subspan(at, 2))), checksum(data));
  }
}

TEST(BuildRefusal, Udp) {
  const ByteVector payload(65'528);
  EXPECT_EQ(build_udp_packet(address("10.0.0.1:1"), address("[::1]:1"), {}).error().code, Errc::invalid_argument);
  EXPECT_EQ(build_udp_packet(address("10.0.0.1:1"), address("10.0.0.2:1"), Bytes{payload}.first(65'508)).error().code,
            Errc::too_large);
  EXPECT_EQ(build_udp_packet(address("[::1]:1"), address("[::2]:1"), payload).error().code, Errc::too_large);
  ByteVector room(27);
  EXPECT_EQ(write_udp_headers(room, address("10.0.0.1:1"), address("10.0.0.2:1"), {}).error().code,
            Errc::invalid_argument);
}

TEST(Build, UdpEqualsGoldenBytes) {
  const auto v6 = build_udp_packet(address("[fd00::1]:1000"), address("[fd00::2]:7"), as_bytes("hello"));
  ASSERT_TRUE(v6.has_value());
  EXPECT_EQ(to_hex(*v6), to_hex(ip_packet("udp6")));
  auto golden = ip_packet("udp4");
  const auto v4 = build_udp_packet(address("10.0.0.1:1000"), address("10.0.0.2:7"), as_bytes("hello"), 0x1234);
  ASSERT_TRUE(v4.has_value());
  expect_valid(*v4);
  golden[6] = 0;  // DF
  golden[10] = (*v4)[10];
  golden[11] = (*v4)[11];
  EXPECT_EQ(to_hex(*v4), to_hex(golden));
}

TEST(Build, UdpOfEverySizeIsValid) {
  for (const std::size_t n : {0U, 1U, 2U, 1199U, 1500U, 8972U, 65'506U, 65'507U}) {
    const ByteVector payload(n, 0xA5);
    for (const auto& [src, dst] : {std::pair{"10.0.0.1:1", "10.0.0.2:2"}, std::pair{"[fd00::1]:1", "[fd00::2]:2"}}) {
      const auto packet = build_udp_packet(address(src), address(dst), payload);
      ASSERT_TRUE(packet.has_value());
      expect_valid(*packet);
      EXPECT_EQ(view_of(*packet).l4_payload.size(), n);
    }
  }
}

TEST(Build, UdpChecksumIsNeverZero) {
  bool all_ones = false;
  for (unsigned i = 0; i < 65'536; ++i) {
    const std::uint8_t payload[] = {static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)};
    const auto packet = build_udp_packet(address("10.0.0.1:1"), address("10.0.0.2:2"), payload);
    ASSERT_TRUE(packet.has_value());
    const auto check = (*packet)[26] << 8 | (*packet)[27];
    ASSERT_NE(check, 0);
    if (check != 0xFFFF) continue;
    all_ones = true;
    expect_valid(*packet);
  }
  EXPECT_TRUE(all_ones);
}

TEST(BuildRefusal, Reset) {
  const auto udp = ip_packet("udp4");
  EXPECT_EQ(build_tcp_reset(view_of(udp)).error().code, Errc::invalid_argument);
  const auto reset = build_tcp_reset(view_of(ip_packet("tcp4_syn")));
  ASSERT_TRUE(reset.has_value());
  EXPECT_EQ(build_tcp_reset(view_of(*reset)).error().code, Errc::denied);  // no war of resets
}

TEST(Build, ResetOfASyn) {
  const auto syn = ip_packet("tcp4_syn");
  const auto reset = build_tcp_reset(view_of(syn));
  ASSERT_TRUE(reset.has_value());
  expect_valid(*reset);
  const auto v = view_of(*reset);
  EXPECT_EQ(to_string(v.source()), "10.0.0.2:80");
  EXPECT_EQ(to_string(v.destination()), "10.0.0.1:1000");
  const auto tcp = tcp_of(v);
  ASSERT_TRUE(tcp.has_value());
  EXPECT_EQ(tcp->seq, 0U);
  EXPECT_EQ(tcp->ack, 0x11223345U);
  EXPECT_EQ(tcp->flags, TcpFlags::kRst | TcpFlags::kAck);
}

TEST(Build, ResetOfASegmentWithAck) {
  const auto data = ip_packet("tcp6_data");
  const auto reset = build_tcp_reset(view_of(data));
  ASSERT_TRUE(reset.has_value());
  expect_valid(*reset);
  const auto v = view_of(*reset);
  const auto tcp = tcp_of(v);
  ASSERT_TRUE(tcp.has_value());
  EXPECT_EQ(tcp->seq, 0x55667788U);
  EXPECT_EQ(tcp->flags, TcpFlags::kRst);
}

TEST(BuildRefusal, Echo) {
  const auto udp = ip_packet("udp4");
  EXPECT_EQ(build_echo_reply(view_of(udp)).error().code, Errc::invalid_argument);
  const auto request = ip_packet("icmp6_echo");
  const auto reply = build_echo_reply(view_of(request));
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(build_echo_reply(view_of(*reply)).error().code, Errc::invalid_argument);
}

TEST(Build, EchoReply) {
  for (const auto* name : {"icmp4_echo", "icmp6_echo"}) {
    const auto request = ip_packet(name);
    const auto asked = view_of(request);
    const auto reply = build_echo_reply(asked);
    ASSERT_TRUE(reply.has_value());
    expect_valid(*reply);
    const auto v = view_of(*reply);
    EXPECT_EQ(v.src, asked.dst);
    EXPECT_EQ(v.dst, asked.src);
    EXPECT_EQ(v.icmp_type, asked.family == Family::v4 ? 0 : 129);
    EXPECT_EQ(IcmpView::parse(v.l4())->rest, 0x00010002U);
    EXPECT_EQ(as_text(v.l4_payload), "ping");
  }
}

TEST(BuildRefusal, IcmpErrorsThatAreNotDue) {
  const auto from = golden::ip("10.0.0.2");
  const auto refused = [&](const ByteVector& packet, const IpAddress& sender) {
    const auto error = build_icmp_error(IcmpError::host_unreachable, view_of(packet), sender);
    return error ? Errc::internal : error.error().code;
  };
  EXPECT_EQ(refused(ip_packet("udp6"), from), Errc::invalid_argument);
  EXPECT_EQ(refused(ip_packet("udp4_last_fragment"), from), Errc::denied);
  const auto about = [](std::string_view name, const IpAddress& sender) {
    const auto original = ip_packet(name);
    return build_icmp_error(IcmpError::port_unreachable, view_of(original), sender).value();
  };
  EXPECT_EQ(refused(about("udp4", from), from), Errc::denied);  // an error about an error
  EXPECT_EQ(refused(about("udp6", golden::ip("fd00::2")), golden::ip("fd00::2")), Errc::denied);
  auto multicast = ip_packet("udp4");
  multicast[16] = 224;
  EXPECT_EQ(refused(multicast, from), Errc::denied);
  auto nobody = ip_packet("udp4");
  std::fill_n(nobody.begin() + 12, 4, std::uint8_t{0});
  EXPECT_EQ(refused(nobody, from), Errc::denied);
}

TEST(Build, IcmpErrors) {
  struct Case {
    IcmpError error;
    unsigned v4_type, v4_code, v6_type, v6_code;
  };
  const Case cases[] = {
      {IcmpError::network_unreachable, 3, 0, 1, 0},  {IcmpError::host_unreachable, 3, 1, 1, 3},
      {IcmpError::protocol_unreachable, 3, 2, 4, 1}, {IcmpError::port_unreachable, 3, 3, 1, 4},
      {IcmpError::packet_too_big, 3, 4, 2, 0},       {IcmpError::administratively_denied, 3, 13, 1, 1}};
  for (const auto& c : cases) {
    for (const auto* name : {"udp4", "udp6_extensions"}) {
      const auto original = ip_packet(name);
      const auto asked = view_of(original);
      const auto from = asked.dst;
      const auto packet = build_icmp_error(c.error, asked, from, 1280);
      ASSERT_TRUE(packet.has_value());
      expect_valid(*packet);
      const auto v = view_of(*packet);
      const bool v4 = asked.family == Family::v4;
      EXPECT_EQ(v.icmp_type, v4 ? c.v4_type : c.v6_type);
      EXPECT_EQ(v.icmp_code, v4 ? c.v4_code : c.v6_code);
      EXPECT_EQ(v.dst, asked.src);
      EXPECT_EQ(v.src, from);
      EXPECT_EQ(to_hex(v.l4_payload), to_hex(original));
      const auto rest = IcmpView::parse(v.l4())->rest;
      if (c.error == IcmpError::packet_too_big) {
        EXPECT_EQ(rest, 1280U);
      }
      // The pointer names the Next Header octet of the last extension header.
      if (c.error == IcmpError::protocol_unreachable) {
        EXPECT_EQ(rest, v4 ? 0U : 48U);
      }
      if (c.error == IcmpError::host_unreachable) {
        EXPECT_EQ(rest, 0U);
      }
    }
  }
}

TEST(Build, IcmpErrorsQuoteWithinTheirLimits) {
  const ByteVector payload(2000, 1);
  const auto v4 = build_udp_packet(address("10.0.0.1:1"), address("10.0.0.2:2"), payload);
  const auto v6 = build_udp_packet(address("[fd00::1]:1"), address("[fd00::2]:2"), payload);
  const auto e4 = build_icmp_error(IcmpError::port_unreachable, view_of(*v4), golden::ip("10.0.0.2"));
  const auto e6 = build_icmp_error(IcmpError::port_unreachable, view_of(*v6), golden::ip("fd00::2"));
  ASSERT_TRUE(e4.has_value());
  ASSERT_TRUE(e6.has_value());
  EXPECT_EQ(e4->size(), 576U);
  EXPECT_EQ(e6->size(), 1280U);
  expect_valid(*e4);
  expect_valid(*e6);
}

TEST(RewriteRefusal, WhatIsNoTcpPacket) {
  auto udp = ip_packet("udp4");
  const auto src = address("10.9.0.1:5");
  EXPECT_EQ(rewrite_tcp(udp, view_of(udp), src, src, L4Checksum::complete).error().code, Errc::invalid_argument);
  auto syn = ip_packet("tcp4_syn");
  const auto six = address("[fd00::9]:5");
  EXPECT_EQ(rewrite_tcp(syn, view_of(syn), six, six, L4Checksum::complete).error().code, Errc::invalid_argument);
  auto other = syn;
  EXPECT_EQ(rewrite_tcp(other, view_of(syn), src, src, L4Checksum::complete).error().code, Errc::invalid_argument);
  EXPECT_EQ(to_hex(other), to_hex(syn));
}

TEST(Rewrite, ChecksumsStayRight) {
  std::mt19937 random{3};
  for (const auto* name : {"tcp4_syn", "tcp6_data"}) {
    auto packet = ip_packet(name);
    for (int i = 0; i < 200; ++i) {
      const auto view = view_of(packet);
      const auto ends = [&] {
        ByteVector octets(16);
        for (auto& o : octets) o = static_cast<std::uint8_t>(random());
        const auto port = static_cast<std::uint16_t>(random());
        if (view.family == Family::v4) return SocketAddress{IpAddress::v4(static_cast<std::uint32_t>(random())), port};
        return SocketAddress{IpAddress::v6(std::span<const std::uint8_t, 16>{octets.data(), 16}), port};
      };
      const auto src = ends();
      const auto dst = ends();
      ASSERT_TRUE(rewrite_tcp(packet, view, src, dst, L4Checksum::complete).has_value());
      expect_valid(packet);
      EXPECT_EQ(view_of(packet).source(), src);
      EXPECT_EQ(view_of(packet).destination(), dst);
    }
  }
}

TEST(Rewrite, PartialChecksumStaysAPseudoHeaderSum) {
  for (const auto* name : {"tcp4_syn", "tcp6_data"}) {
    auto packet = ip_packet(name);
    const auto before = view_of(packet);
    const auto at = before.header_size + 16;
    const auto length = static_cast<std::uint32_t>(before.l4().size());
    const auto put = [&](std::uint16_t v) {
      packet[at] = static_cast<std::uint8_t>(v >> 8);
      packet[at + 1] = static_cast<std::uint8_t>(v);
    };
    put(pseudo_header_sum(before.src, before.dst, Protocol::tcp, length));
    const bool v4 = before.family == Family::v4;
    const auto src = address(v4 ? "10.100.0.253:40000" : "[fd5a::fffd]:40000");
    const auto dst = address(v4 ? "10.100.0.254:9" : "[fd5a::fffe]:9");
    ASSERT_TRUE(rewrite_tcp(packet, before, src, dst, L4Checksum::partial).has_value());
    EXPECT_EQ(packet[at] << 8 | packet[at + 1], pseudo_header_sum(src.ip, dst.ip, Protocol::tcp, length));
    EXPECT_TRUE(verify_checksums(view_of(packet), L4Checksum::partial).has_value());
    // Whoever sends it on completes it.
    ASSERT_TRUE(complete_checksum(packet, before.header_size, 16).has_value());
    expect_valid(packet);
  }
}

TEST(RewriteRefusal, ChecksumOutsideThePacket) {
  ByteVector packet(20);
  EXPECT_EQ(complete_checksum(packet, 21, 0).error().code, Errc::malformed);
  EXPECT_EQ(complete_checksum(packet, 10, 9).error().code, Errc::malformed);
  EXPECT_EQ(complete_checksum(packet, ~std::size_t{0}, 2).error().code, Errc::malformed);
  EXPECT_EQ(complete_checksum(packet, 2, ~std::size_t{0}).error().code, Errc::malformed);
  EXPECT_TRUE(complete_checksum(packet, 10, 8).has_value());
}

}  // namespace
}  // namespace ztna::wire::ip
