// First octets, routed and tunnel datagrams, parts, stream headers, probes (docs/protocol.md 1, 2, 4.1, 4.2, 5).
#include <gtest/gtest.h>

#include "golden.h"
#include "wire/first_byte.h"
#include "wire/probe.h"
#include "wire/routed_datagram.h"
#include "wire/stream_header.h"
#include "wire/tunnel_datagram.h"

namespace ztna::wire {
namespace {

using golden::hex;

template <typename T>
Errc error_of(std::string_view octets) {
  const auto in = hex(octets);
  const auto parsed = T::parse(in);
  EXPECT_FALSE(parsed.has_value()) << octets;
  return parsed ? Errc::internal : parsed.error();
}

/// Every short prefix of `octets`, up to and without `header` + 1 octets, is truncated.
template <typename T>
void check_prefixes(const ByteVector& octets, std::size_t shortest) {
  for (std::size_t n = 0; n < shortest; ++n) {
    const ByteVector prefix{octets.begin(), octets.begin() + static_cast<std::ptrdiff_t>(n)};
    const auto parsed = T::parse(prefix);
    ASSERT_FALSE(parsed.has_value()) << n;
    EXPECT_EQ(parsed.error(), Errc::truncated) << n;
  }
}

TEST(FirstByte, AllValues) {
  EXPECT_EQ(classify({}), PayloadKind::unknown);
  for (unsigned i = 0; i < 256; ++i) {
    const std::uint8_t first = static_cast<std::uint8_t>(i);
    const auto expected = (i & 0x40) != 0 ? PayloadKind::quic
                          : i == 0x2F     ? PayloadKind::routed_datagram
                          : i == 0x1A     ? PayloadKind::probe
                                          : PayloadKind::unknown;
    EXPECT_EQ(classify({&first, 1}), expected) << i;
  }
}

TEST(RoutedDatagram, Refusals) {
  EXPECT_EQ(error_of<RoutedDatagram>(""), Errc::truncated);
  EXPECT_EQ(error_of<RoutedDatagram>("2e 08 0711121314151617 40"), Errc::unknown_type);
  EXPECT_EQ(error_of<RoutedDatagram>("2f ff 0711121314151617 40"), Errc::truncated);
  EXPECT_EQ(error_of<RoutedDatagram>("2f 00"), Errc::truncated);
  EXPECT_EQ(error_of<RelayDatagram>("2f 07 0711121314151617 40"), Errc::malformed);
  EXPECT_EQ(error_of<RelayDatagram>("2f 02 0102 4500"), Errc::malformed);
  EXPECT_EQ(error_of<RelayDatagram>("40 08 0711121314151617 40"), Errc::unknown_type);
  check_prefixes<RelayDatagram>(hex(golden::kRelayDatagram.octets), 11);
  check_prefixes<RoutedDatagram>(hex(golden::kRelayDatagram.octets), 11);
}

TEST(RoutedDatagram, GoldenBytesAndRewriteInPlace) {
  auto octets = hex(golden::kRelayDatagram.octets);
  const auto relay = RelayDatagram::parse(octets);
  ASSERT_TRUE(relay.has_value());
  EXPECT_EQ(relay->route, RouteId{0x0711121314151617});
  EXPECT_EQ(to_hex(relay->packet), "40414243");
  EXPECT_EQ(relay->packet.data(), octets.data() + 10);
  const auto routed = RoutedDatagram::parse(octets);
  ASSERT_TRUE(routed.has_value());
  EXPECT_EQ(to_hex(routed->id), "0711121314151617");
  write_relay_header(std::span<std::uint8_t, 10>{octets.data(), 10}, RouteId{0xFF00000000000001});
  EXPECT_EQ(to_hex(octets), "2f08ff0000000000000140414243");
}

TEST(TunnelDatagram, Refusals) {
  EXPECT_EQ(error_of<TunnelDatagram>("2e 02 0102 45"), Errc::unknown_type);
  EXPECT_EQ(error_of<TunnelDatagram>("2f 08 0711121314151617 40"), Errc::malformed);
  EXPECT_EQ(error_of<TunnelDatagram>("2f 02 0000 45"), Errc::malformed);
  check_prefixes<TunnelDatagram>(hex(golden::kTunnelDatagram.octets), 5);
}

TEST(TunnelDatagram, GoldenBytes) {
  const auto octets = hex(golden::kTunnelDatagram.octets);
  const auto d = TunnelDatagram::parse(octets);
  ASSERT_TRUE(d.has_value());
  EXPECT_EQ(d->handle, ServiceHandle{0x0102});
  EXPECT_EQ(to_hex(d->packet), "4500");
  std::array<std::uint8_t, 4> header{};
  write_tunnel_header(header, ServiceHandle{0x0102});
  EXPECT_EQ(to_hex(header), "2f020102");
}

TEST(SplitPart, Refusals) {
  EXPECT_EQ(error_of<SplitPart>("2f 0a0b 0000 11"), Errc::unknown_type);
  EXPECT_EQ(error_of<SplitPart>("2e 0a0b 0002 1122334455667788"), Errc::malformed);  // reserved bits
  EXPECT_EQ(error_of<SplitPart>("2e 0a0b 0004 1122334455667788"), Errc::malformed);
  EXPECT_EQ(error_of<SplitPart>("2e 0a0b 0001 11223344556677"), Errc::malformed);  // 7 octets and more to come
  check_prefixes<SplitPart>(hex(golden::kFirstPart.octets), 6);
  ByteVector beyond = hex("2e 0a0b fff8");
  beyond.resize(beyond.size() + SplitPart::kMaxJoined - 65'528 + 1);
  EXPECT_EQ(SplitPart::parse(beyond).error(), Errc::too_large);
  beyond.pop_back();
  EXPECT_TRUE(SplitPart::parse(beyond).has_value());
}

TEST(SplitPart, GoldenBytes) {
  const auto first = hex(golden::kFirstPart.octets);
  const auto p = SplitPart::parse(first);
  ASSERT_TRUE(p.has_value());
  EXPECT_EQ(p->packet_id, 0x0A0B);
  EXPECT_EQ(p->offset, 0U);
  EXPECT_TRUE(p->more);
  EXPECT_EQ(to_hex(p->part), "2f02010245000000");
  const auto last = hex(golden::kLastPart.octets);
  const auto q = SplitPart::parse(last);
  ASSERT_TRUE(q.has_value());
  EXPECT_EQ(q->offset, 8U);
  EXPECT_FALSE(q->more);
  std::array<std::uint8_t, 5> header{};
  write_split_header(header, 0x0A0B, 65'528, true);
  EXPECT_EQ(to_hex(header), "2e0a0bfff9");
}

TEST(StreamHeader, Refusals) {
  EXPECT_EQ(error_of<StreamHeader>("31"), Errc::unknown_type);  // told at the first octet
  EXPECT_EQ(error_of<StreamHeader>("30 0000"), Errc::malformed);
  EXPECT_EQ(error_of<StreamHeader>("30 0102 05"), Errc::malformed);
  EXPECT_EQ(error_of<StreamHeader>("30 0102 04 0000"), Errc::malformed);
  check_prefixes<StreamHeader>(hex(golden::kStreamHeader.octets), StreamHeader::kSize);
  EXPECT_EQ(parse_stream_result(6).error(), Errc::malformed);
  EXPECT_EQ(parse_stream_result(255).error(), Errc::malformed);
}

TEST(StreamHeader, GoldenBytes) {
  auto octets = hex(golden::kStreamHeader.octets);
  const StreamHeader header{ServiceHandle{0x0102}, Family::v4, 443};
  EXPECT_EQ(to_hex(header.encode()), to_hex(octets));
  octets.push_back('G');  // the connection's first octet
  const auto parsed = StreamHeader::parse(octets);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(*parsed, header);
  for (std::uint8_t i = 0; i <= 5; ++i) {
    const auto result = parse_stream_result(i);
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(static_cast<std::uint8_t>(*result), i);
    EXPECT_NE(to_string(*result), "unknown");
  }
}

TEST(Probe, Refusals) {
  EXPECT_EQ(error_of<Probe>("2f 01"), Errc::unknown_type);
  EXPECT_EQ(error_of<Probe>("1a 03"), Errc::unknown_type);
  EXPECT_EQ(error_of<Probe>("1a 01 a0a1a2a3a4a5a6a7 c00102030405060708090a0b 05"), Errc::malformed);
  for (const auto& g : golden::probes()) {
    auto octets = hex(g.octets);
    check_prefixes<Probe>(octets, octets.size());
    octets.push_back(0);
    EXPECT_EQ(Probe::parse(octets).error(), Errc::malformed) << g.name;
  }
  for (const std::string kind : {"11", "13"}) {
    const auto probe = "1a " + kind + " a0a1a2a3a4a5a6a7 c00102030405060708090a0b 04 c0000201 1151 ";
    EXPECT_EQ(error_of<Probe>(probe + "000000000000000000000001"), Errc::malformed);  // padding that is not zero
    EXPECT_EQ(error_of<Probe>(probe + "0000000000000000000000"), Errc::truncated);    // an answer could be longer
  }
  EXPECT_EQ(error_of<Probe>("1a 14"), Errc::unknown_type);
}

TEST(Probe, GoldenBytesAndInputOfTheMac) {
  for (const auto& g : golden::probes()) {
    SCOPED_TRACE(g.name);
    const auto octets = hex(g.octets);
    ByteVector covered;
    const auto mac = [&](Bytes input) {
      covered.assign(input.begin(), input.end());
      ProbeMac m;
      m.fill(0xEE);
      return m;
    };
    auto unsigned_probe = g.probe;
    unsigned_probe.mac = {};
    EXPECT_EQ(to_hex(encode_probe(unsigned_probe, Role::connector, mac)), to_hex(octets));
    const auto parsed = Probe::parse(octets);
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(*parsed, g.probe);
    if (!has_mac(g.probe.kind)) {
      EXPECT_TRUE(covered.empty());
      continue;
    }
    EXPECT_EQ(to_hex(covered), "02" + to_hex(Bytes{octets}.first(octets.size() - 16)));
    EXPECT_EQ(to_hex(ProbeMacInput{Role::connector, *parsed}.view()), to_hex(covered));
  }
}

TEST(Probe, AnswerOfTheIntermediateIsNeverLonger) {
  const Probe answer{ProbeKind::open_response, golden::kSession, golden::kTransaction, golden::address("[::1]:1"), {}};
  for (const auto kind : {ProbeKind::open_request, ProbeKind::open_request_other}) {
    const Probe request{kind, golden::kSession, golden::kTransaction, golden::address("192.0.2.1:1"), {}};
    EXPECT_LE(encode_probe(answer, Role::agent).size(), encode_probe(request, Role::agent).size());
  }
}

}  // namespace
}  // namespace ztna::wire
