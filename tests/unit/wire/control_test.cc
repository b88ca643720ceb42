// Control messages: refusals, golden bytes, prefixes, round trips (docs/protocol.md 3, 4).
#include <gtest/gtest.h>

#include "golden.h"
#include "wire/control/message.h"
#include "wire/reader.h"

namespace ztna::wire {
namespace {

using golden::hex;

struct Split {
  std::uint8_t type;
  ByteVector body;
};

Split split(Bytes frame) {
  Reader r{frame};
  const auto type = r.u8();
  const auto length = r.varint();
  const auto body = r.rest();
  EXPECT_EQ(length, body.size());
  return {type, {body.begin(), body.end()}};
}

Errc control_error(std::uint8_t type, std::string_view body) {
  const auto octets = hex(body);
  const auto m = parse_control_message(type, octets);
  EXPECT_FALSE(m.has_value()) << body;
  return m ? Errc::internal : m.error().code;
}

Errc tunnel_error(std::uint8_t type, std::string_view body) {
  const auto octets = hex(body);
  const auto m = parse_tunnel_message(type, octets);
  EXPECT_FALSE(m.has_value()) << body;
  return m ? Errc::internal : m.error().code;
}

TEST(ControlRefusal, UnknownTypes) {
  for (const int type : {0x00, 0x03, 0x14, 0x25, 0x34, 0x3D, 0x40, 0x41, 0x42, 0x7F}) {
    EXPECT_EQ(control_error(static_cast<std::uint8_t>(type), "00"), Errc::unknown_type) << type;
    EXPECT_FALSE(is_extension(static_cast<std::uint8_t>(type)));
  }
  EXPECT_EQ(control_error(0x80, "00"), Errc::unknown_type);
  EXPECT_TRUE(is_extension(0x80));
  EXPECT_TRUE(is_extension(0xFF));
  EXPECT_EQ(tunnel_error(0x10, "03776562"), Errc::unknown_type);
}

TEST(ControlRefusal, ValuesOutsideTheirTables) {
  const std::string session = "a0a1a2a3a4a5a6a7";
  const std::string tunnel = "000102030405060708090a0b0c0d0e0f";
  EXPECT_EQ(control_error(0x12, "01 03776562 00"), Errc::malformed);  // ack that is none
  EXPECT_EQ(control_error(0x12, "00 03574542 00"), Errc::malformed);  // bad service id from I
  EXPECT_EQ(control_error(0x13, "00 03776562 00"), Errc::malformed);  // nack that says ok
  EXPECT_EQ(control_error(0x13, "08 03776562 00"), Errc::malformed);  // a status of ServiceOpened
  EXPECT_EQ(control_error(0x13, "09 03776562 00"), Errc::malformed);  // status
  EXPECT_EQ(control_error(0x20, session + tunnel + "0000 01 00 00000000 04 c0000201 1151 00"),
            Errc::malformed);  // kind 0
  EXPECT_EQ(control_error(0x20, session + tunnel + "0000 01 05 00000000 04 c0000201 1151 00"),
            Errc::malformed);  // kind 5
  EXPECT_EQ(control_error(0x20, session + tunnel + "0000 01 01 00000000 05 c0000201 1151 00"),
            Errc::malformed);                                                          // family
  EXPECT_EQ(control_error(0x20, session + tunnel + "05 00 00 00"), Errc::malformed);   // mapping
  EXPECT_EQ(control_error(0x21, session + tunnel + "00 05 00 00"), Errc::malformed);   // filtering
  EXPECT_EQ(control_error(0x20, session + tunnel + "00 00 00 02"), Errc::malformed);   // method
  EXPECT_EQ(control_error(0x22, session + "0000 05 c0000201 1151"), Errc::malformed);  // family
  EXPECT_EQ(control_error(0x02, "0000"), Errc::malformed);
  EXPECT_EQ(control_error(0x23, session + "02 04 c0000201 1151"), Errc::malformed);  // result
  EXPECT_EQ(control_error(0x23, session + "00 04 c0000201 1151"), Errc::malformed);  // failed, with an address
  EXPECT_EQ(control_error(0x24, session + "00 00"), Errc::malformed);
  EXPECT_EQ(control_error(0x24, session + "09 00"), Errc::malformed);
  EXPECT_EQ(control_error(0x31, tunnel + "0711121314151617 03 b0b1b2b3b4b5b6b7 026331 03776562"), Errc::malformed);
  EXPECT_EQ(control_error(0x31, tunnel + "0711121314151617 02 b0b1b2b3b4b5b6b7 026331 00"), Errc::malformed);
  EXPECT_EQ(control_error(0x32, tunnel + "00"), Errc::malformed);
  EXPECT_EQ(control_error(0x32, tunnel + "08"), Errc::malformed);
  EXPECT_EQ(control_error(0x33, tunnel + "03 01"), Errc::malformed);
  EXPECT_EQ(control_error(0x33, tunnel + "01 02"), Errc::malformed);
  EXPECT_EQ(control_error(0x39, "03776562 05"), Errc::malformed);
  EXPECT_EQ(control_error(0x3A, "02 00"), Errc::malformed);
  EXPECT_EQ(tunnel_error(0x40, "0000 03776562"), Errc::malformed);  // handle 0
  EXPECT_EQ(tunnel_error(0x41, "0001 09"), Errc::malformed);
  EXPECT_EQ(tunnel_error(0x42, "0001 00"), Errc::malformed);
  EXPECT_EQ(tunnel_error(0x42, "0001 04"), Errc::malformed);
}

TEST(ControlRefusal, AddressesOfAService) {
  EXPECT_EQ(control_error(0x11, "03776562 00 03 040a640001 040a640002 040a640003"), Errc::malformed);
  EXPECT_EQ(control_error(0x38, "03776562 02 040a640001 040a640002"), Errc::malformed);  // two of one family
}

TEST(ControlRefusal, LengthsThatPointPastTheEnd) {
  EXPECT_EQ(control_error(0x10, "ff 776562"), Errc::truncated);
  EXPECT_EQ(control_error(0x3A, "01 ffffffffffffffff 03776562 00"), Errc::truncated);  // 2^62-1 entries
  EXPECT_EQ(control_error(0x20, "a0a1a2a3a4a5a6a7 000102030405060708090a0b0c0d0e0f 0000 ff"), Errc::truncated);
}

TEST(ControlRefusal, TextsThatAreNoUtf8) {
  EXPECT_EQ(control_error(0x3C, "02 c080"), Errc::malformed);
  EXPECT_EQ(control_error(0x10, "01 ff"), Errc::malformed);
}

template <typename Message>
void check_golden(const std::vector<golden::Frame<Message>>& list, Result<Message> (*parse)(std::uint8_t, Bytes)) {
  for (const auto& [name, message, text] : list) {
    SCOPED_TRACE(name);
    const auto frame = hex(text);
    EXPECT_EQ(to_hex(encode_frame(message)), to_hex(frame));
    const auto [type, body] = split(frame);
    const auto parsed = parse(type, body);
    ASSERT_TRUE(parsed.has_value()) << parsed.error().text;
    EXPECT_TRUE(*parsed == message);
    for (std::size_t n = 0; n < body.size(); ++n) {
      const ByteVector prefix{body.begin(), body.begin() + static_cast<std::ptrdiff_t>(n)};  // ASan sees reads past it
      const auto refused = parse(type, prefix);
      ASSERT_FALSE(refused.has_value()) << n << " octets";
      EXPECT_EQ(refused.error().code, Errc::truncated) << n << " octets";
    }
    auto longer = body;
    longer.push_back(0);
    const auto refused = parse(type, longer);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Errc::malformed);
  }
}

TEST(Control, GoldenBytesPrefixesAndRoundTrips) {
  check_golden<ControlMessage>(golden::control(), &parse_control_message);
  check_golden<TunnelMessage>(golden::tunnel(), &parse_tunnel_message);
}

TEST(Control, EveryMessageHasGoldenBytes) {
  std::vector<bool> seen(std::variant_size_v<ControlMessage>);
  for (const auto& g : golden::control()) seen[g.message.index()] = true;
  EXPECT_EQ(std::count(seen.begin(), seen.end(), false), 0);
  std::vector<bool> seen_tunnel(std::variant_size_v<TunnelMessage>);
  for (const auto& g : golden::tunnel()) seen_tunnel[g.message.index()] = true;
  EXPECT_EQ(std::count(seen_tunnel.begin(), seen_tunnel.end(), false), 0);
}

TEST(Control, HelloOfAnotherVersionGivesItsVersionAlone) {
  const auto body = hex("02 ffffff");
  const auto hello = Hello::parse(body);
  ASSERT_TRUE(hello.has_value());
  EXPECT_EQ(hello->version, 2U);
  EXPECT_EQ(hello->software, "");
}

TEST(Control, BadServiceIdsOfClientsAreKeptForTheNack) {
  const auto agent = RegisterAgent::parse(hex("03 574542"));
  ASSERT_TRUE(agent.has_value());
  EXPECT_EQ(agent->service, "WEB");
  const auto empty = RegisterConnector::parse(hex("00 00 00"));
  ASSERT_TRUE(empty.has_value());
  EXPECT_EQ(empty->service, "");
}

TEST(Control, TooManyCandidatesAreCutAt255) {
  CandidateOffer offer;
  offer.candidates.resize(300);
  const auto [type, body] = split(encode_frame(offer));
  const auto parsed = CandidateOffer::parse(body);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->candidates.size(), 255U);
  EXPECT_LE(body.size(), kMaxBody);
}

TEST(Control, LongFreeTextsAreCutBetweenCharacters) {
  std::string text(254, 'a');
  text += "\u00e9";  // two octets, the second is the 256th
  const auto [type, body] = split(encode_frame(Revoked{text}));
  const auto parsed = Revoked::parse(body);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->name, std::string(254, 'a'));
}

TEST(Control, LongCatalogIsSentInPartsThatFit) {
  Catalog catalog;
  for (int i = 0; i < 500; ++i) {
    const auto id = fmt::format("{}.{}.s{}", std::string(60, 'a'), std::string(60, 'b'), i);
    catalog.entries.push_back({golden::service(id), {golden::ip("10.100.0.1"), golden::ip("fd00::1")}});
  }
  const auto octets = encode_frame(catalog);
  std::vector<Catalog::Entry> joined;
  int parts = 0;
  bool last = false;
  Reader r{octets};
  while (r.remaining() > 0) {
    ASSERT_FALSE(last);
    EXPECT_EQ(r.u8(), 0x3A);
    const auto length = r.varint();
    ASSERT_LE(length, kMaxBody);
    const auto part = Catalog::parse(r.bytes(length));
    ASSERT_TRUE(part.has_value());
    ++parts;
    last = part->last;
    joined.insert(joined.end(), part->entries.begin(), part->entries.end());
  }
  EXPECT_GT(parts, 3);
  EXPECT_TRUE(last);
  EXPECT_EQ(joined, catalog.entries);
}

TEST(Control, NamesOfTypesAndCodes) {
  EXPECT_EQ(to_string(MessageType::register_agent), "RegisterAgent");
  EXPECT_EQ(to_string(static_cast<MessageType>(0x99)), "unknown");
  EXPECT_EQ(to_string(RegistrationStatus::pool_exhausted), "pool_exhausted");
  EXPECT_EQ(to_string(RegistrationStatus::no_such_service), "no_such_service");
  EXPECT_EQ(to_string(RouteCloseReason::peer_gone), "peer_gone");
  for (std::uint8_t i = 0; i <= 4; ++i) {
    EXPECT_EQ(to_string(static_cast<NatMapping>(i)) == "unknown", i == 0);
    EXPECT_EQ(to_string(static_cast<NatFiltering>(i)) == "unknown", i == 0);
  }
  EXPECT_FALSE(is_known(static_cast<NatMapping>(5)));
  EXPECT_FALSE(is_known(static_cast<NatFiltering>(5)));
}

}  // namespace
}  // namespace ztna::wire
