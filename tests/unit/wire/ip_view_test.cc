// IP packets: every refusal with its reason, then what the view shows (RFC 791, 8200, 768, 9293, 792, 4443).
#include <gtest/gtest.h>

#include <functional>

#include "golden.h"
#include "wire/ip/checksum.h"
#include "wire/ip/packet_view.h"

namespace ztna::wire::ip {
namespace {

using golden::hex;
using golden::ip_packet;

PacketFault fault_of(const ByteVector& packet) {
  const auto view = parse_ip_packet(packet);
  EXPECT_FALSE(view.has_value()) << to_hex(packet);
  return view ? PacketFault::count_ : view.error();
}

ByteVector changed(std::string_view name, const std::function<void(ByteVector&)>& change) {
  auto packet = ip_packet(name);
  change(packet);
  return packet;
}

TEST(IpRefusal, NotIp) {
  EXPECT_EQ(fault_of({}), PacketFault::not_ip);
  for (const unsigned version : {0U, 1U, 5U, 7U, 15U}) {
    EXPECT_EQ(fault_of(changed("udp4", [&](auto& p) { p[0] = static_cast<std::uint8_t>(version << 4 | 5); })),
              PacketFault::not_ip);
  }
}

TEST(IpRefusal, EveryShortPrefixIsTruncated) {
  for (const auto& golden : golden::kIpPackets) {
    const auto packet = hex(golden.octets);
    for (std::size_t n = 1; n < packet.size(); ++n) {
      const ByteVector prefix{packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(n)};
      EXPECT_EQ(fault_of(prefix), PacketFault::truncated) << golden.name << " " << n;
    }
  }
}

TEST(IpRefusal, OctetsLeftOver) {
  for (const auto& golden : golden::kIpPackets) {
    auto packet = hex(golden.octets);
    packet.push_back(0);
    EXPECT_EQ(fault_of(packet), PacketFault::bad_length) << golden.name;
  }
}

TEST(IpRefusal, Lengths) {
  EXPECT_EQ(fault_of(changed("udp4", [](auto& p) { p[0] = 0x44; })), PacketFault::bad_length);  // IHL 4
  EXPECT_EQ(fault_of(changed("udp4", [](auto& p) { p[3] = 19; })), PacketFault::bad_length);
  EXPECT_EQ(fault_of(changed("udp4", [](auto& p) { p[0] = 0x4F; })),
            PacketFault::bad_length);                                                          // options beyond the end
  EXPECT_EQ(fault_of(changed("udp4", [](auto& p) { p[25] = 7; })), PacketFault::bad_length);   // UDP length under 8
  EXPECT_EQ(fault_of(changed("udp4", [](auto& p) { p[25] = 12; })), PacketFault::bad_length);  // one too short
  EXPECT_EQ(fault_of(changed("udp4", [](auto& p) { p[25] = 14; })), PacketFault::truncated);   // one too long
  EXPECT_EQ(fault_of(changed("udp6", [](auto& p) { p[45] = 0; })), PacketFault::bad_length);   // jumbogram's 0
  EXPECT_EQ(fault_of(changed("tcp4_syn", [](auto& p) { p[32] = 0x40; })), PacketFault::bad_length);
  EXPECT_EQ(fault_of(changed("tcp4_syn", [](auto& p) { p[32] = 0x70; })), PacketFault::truncated);
}

TEST(IpRefusal, Protocols) {
  EXPECT_EQ(fault_of(changed("udp4", [](auto& p) { p[9] = 132; })), PacketFault::unsupported_protocol);
  EXPECT_EQ(fault_of(changed("udp4", [](auto& p) { p[9] = 58; })),
            PacketFault::unsupported_protocol);  // ICMPv6 in IPv4
  EXPECT_EQ(fault_of(changed("udp6", [](auto& p) { p[6] = 1; })), PacketFault::unsupported_protocol);
  EXPECT_EQ(fault_of(changed("udp6", [](auto& p) { p[6] = 50; })), PacketFault::unsupported_protocol);
  EXPECT_EQ(fault_of(changed("udp6", [](auto& p) { p[6] = 59; })), PacketFault::unsupported_protocol);
  EXPECT_EQ(fault_of(changed("udp4_last_fragment", [](auto& p) { p[9] = 132; })), PacketFault::unsupported_protocol);
}

TEST(IpRefusal, Fragments) {
  // More to come, but no multiple of 8: the golden first fragment with one octet less.
  EXPECT_EQ(fault_of(changed("udp4_first_fragment",
                             [](auto& p) {
                               p.pop_back();
                               --p[3];
                             })),
            PacketFault::bad_fragment);
  // The last one ends beyond 65,535.
  EXPECT_EQ(fault_of(changed("udp4_last_fragment",
                             [](auto& p) {
                               p[6] = 0x1F;
                               p[7] = 0xFF;
                             })),
            PacketFault::bad_fragment);
  EXPECT_EQ(fault_of(changed("udp6_last_fragment",
                             [](auto& p) {
                               p[42] = 0xFF;
                               p[43] = 0xF8;
                             })),
            PacketFault::bad_fragment);
  EXPECT_EQ(fault_of(changed("udp6_first_fragment",
                             [](auto& p) {
                               p.pop_back();
                               --p[5];
                             })),
            PacketFault::bad_fragment);
}

/// An IPv6 packet with the extension headers `chain` in front of the golden UDP datagram.
ByteVector with_extensions(std::uint8_t first, const ByteVector& chain) {
  auto packet = ip_packet("udp6");
  packet[6] = first;
  packet[5] = static_cast<std::uint8_t>(packet[5] + chain.size());
  packet.insert(packet.begin() + 40, chain.begin(), chain.end());
  return packet;
}

TEST(IpRefusal, ExtensionHeaders) {
  EXPECT_EQ(fault_of(with_extensions(60, hex("0000010400000000 1100010400000000"))),
            PacketFault::bad_header);                                                          // late hop-by-hop
  EXPECT_EQ(fault_of(with_extensions(43, hex("1100000100000000"))), PacketFault::bad_header);  // segments left
  EXPECT_EQ(fault_of(with_extensions(44, hex("2c00000000000001 1100000000000001"))), PacketFault::bad_header);
  EXPECT_EQ(fault_of(with_extensions(60, hex("11ff010400000000"))), PacketFault::truncated);
  ByteVector many;
  for (int i = 0; i < 9; ++i) {
    const auto next = hex(i == 8 ? "1100010400000000" : "3c00010400000000");
    many.insert(many.end(), next.begin(), next.end());
  }
  EXPECT_EQ(fault_of(with_extensions(60, many)), PacketFault::bad_header);
  many.erase(many.begin(), many.begin() + 8);
  const auto eight = with_extensions(60, many);
  EXPECT_TRUE(parse_ip_packet(eight).has_value());
}

TEST(IpRefusal, Checksums) {
  const auto fault = [](const ByteVector& packet, L4Checksum l4 = L4Checksum::complete) {
    const auto view = parse_ip_packet(packet);
    EXPECT_TRUE(view.has_value());
    const auto ok = verify_checksums(*view, l4);
    return ok ? PacketFault::count_ : ok.error();
  };
  for (const auto* name :
       {"udp4", "udp6", "tcp4_syn", "tcp6_data", "icmp4_echo", "icmp6_echo", "udp4_options", "udp6_extensions"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(fault(ip_packet(name)), PacketFault::count_);
    const auto bad = changed(name, [](auto& p) { p.back() ^= 1; });
    EXPECT_EQ(fault(bad), PacketFault::bad_checksum);
    EXPECT_EQ(fault(bad, L4Checksum::partial), PacketFault::count_);
  }
  EXPECT_EQ(fault(changed("udp4", [](auto& p) { p[8] ^= 1; })), PacketFault::bad_checksum);  // TTL: IPv4 header
  EXPECT_EQ(fault(changed("udp4", [](auto& p) { p[8] ^= 1; }), L4Checksum::partial), PacketFault::bad_checksum);
  EXPECT_EQ(fault(changed("udp4_last_fragment", [](auto& p) { p[8] ^= 1; })), PacketFault::bad_checksum);
  const auto none = [](std::size_t at) { return [at](ByteVector& p) { p[at] = p[at + 1] = 0; }; };
  EXPECT_EQ(fault(changed("udp4", none(26))), PacketFault::count_);        // RFC 768: none
  EXPECT_EQ(fault(changed("udp6", none(46))), PacketFault::bad_checksum);  // RFC 8200 8.1
}

TEST(IpView, UdpOfBothFamilies) {
  for (const auto* name : {"udp4", "udp6", "udp4_options", "udp6_extensions"}) {
    SCOPED_TRACE(name);
    const auto packet = ip_packet(name);
    const auto v = parse_ip_packet(packet);
    ASSERT_TRUE(v.has_value());
    const bool v4 = packet[0] >> 4 == 4;
    EXPECT_EQ(v->family, v4 ? Family::v4 : Family::v6);
    EXPECT_EQ(to_string(v->source()), v4 ? "10.0.0.1:1000" : "[fd00::1]:1000");
    EXPECT_EQ(to_string(v->destination()), v4 ? "10.0.0.2:7" : "[fd00::2]:7");
    EXPECT_EQ(v->protocol, Protocol::udp);
    EXPECT_EQ(as_text(v->l4_payload), "hello");
    EXPECT_EQ(v->hop_limit, 64);
    EXPECT_FALSE(v->fragment.is_fragment());
    EXPECT_TRUE(v->has_l4_header);
    EXPECT_EQ(packet[v->protocol_offset], 17);
  }
}

TEST(IpView, TcpAndIcmp) {
  const auto syn = ip_packet("tcp4_syn");
  const auto v = parse_ip_packet(syn);
  ASSERT_TRUE(v.has_value());
  const auto tcp = tcp_of(*v);
  ASSERT_TRUE(tcp.has_value());
  EXPECT_EQ(tcp->seq, 0x11223344U);
  EXPECT_TRUE(tcp->has(TcpFlags::kSyn));
  EXPECT_FALSE(tcp->has(TcpFlags::kAck));
  EXPECT_EQ(to_hex(tcp->options), "020405b4");
  EXPECT_EQ(tcp->sequence_length(), 1U);
  EXPECT_TRUE(v->dont_fragment);
  const auto udp = ip_packet("udp4");
  EXPECT_EQ(tcp_of(*parse_ip_packet(udp)).error(), PacketFault::unsupported_protocol);
  for (const auto* name : {"icmp4_echo", "icmp6_echo"}) {
    const auto packet = ip_packet(name);
    const auto icmp = parse_ip_packet(packet);
    ASSERT_TRUE(icmp.has_value());
    EXPECT_TRUE(icmp->is_echo_request());
    EXPECT_EQ(as_text(icmp->l4_payload), "ping");
    EXPECT_EQ(IcmpView::parse(icmp->l4())->echo_id(), 1);
    EXPECT_EQ(IcmpView::parse(icmp->l4())->echo_sequence(), 2);
  }
}

TEST(IpView, Fragments) {
  for (const auto* family : {"udp4", "udp6"}) {
    SCOPED_TRACE(family);
    const auto first = ip_packet(std::string{family} + "_first_fragment");
    const auto a = parse_ip_packet(first);
    ASSERT_TRUE(a.has_value());
    EXPECT_TRUE(a->fragment.is_fragment());
    EXPECT_TRUE(a->fragment.is_first());
    EXPECT_TRUE(a->fragment.more);
    EXPECT_EQ(a->dst_port, 7);
    EXPECT_EQ(a->l4().size(), 16U);
    const auto last = ip_packet(std::string{family} + "_last_fragment");
    const auto b = parse_ip_packet(last);
    ASSERT_TRUE(b.has_value());
    EXPECT_EQ(b->fragment.offset, 16U);
    EXPECT_FALSE(b->fragment.more);
    EXPECT_EQ(b->fragment.id, a->fragment.id);
    EXPECT_EQ(b->dst_port, 0);
    EXPECT_FALSE(b->has_l4_header);
    EXPECT_EQ(b->l4().size(), 8U);
    EXPECT_TRUE(verify_checksums(*a).has_value());
    EXPECT_TRUE(verify_checksums(*b).has_value());
  }
}

TEST(IpView, FirstFragmentTooSmallForItsHeaderShowsNoPorts) {
  // TCP cut after 8 octets: the ports are there, the header is not (RFC 1858: such a one must not pass a filter).
  auto packet = hex("4500001c 12342000 40060000 0a000001 0a000002 03e80050 11223344");
  const auto check = checksum(Bytes{packet}.first(20));
  packet[10] = static_cast<std::uint8_t>(check >> 8);
  packet[11] = static_cast<std::uint8_t>(check);
  const auto v = parse_ip_packet(packet);
  ASSERT_TRUE(v.has_value());
  EXPECT_FALSE(v->has_l4_header);
  EXPECT_EQ(v->dst_port, 0);
}

TEST(PacketFault, Names) {
  for (int i = 0; i < static_cast<int>(PacketFault::count_); ++i) {
    EXPECT_NE(to_string(static_cast<PacketFault>(i)), "unknown");
  }
}

}  // namespace
}  // namespace ztna::wire::ip
