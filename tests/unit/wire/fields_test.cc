// Reader, writers, service ids and identifiers.
#include <gtest/gtest.h>

#include <unordered_set>

#include "golden.h"
#include "wire/ids.h"
#include "wire/reader.h"
#include "wire/service_id.h"
#include "wire/writer.h"

namespace ztna::wire {
namespace {

using golden::hex;

TEST(Reader, FailureSticks) {
  const auto in = hex("0102");
  Reader r{in};
  EXPECT_EQ(r.u32(), 0U);
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.error(), Errc::truncated);
  EXPECT_EQ(r.u8(), 0);  // though an octet was there
  EXPECT_TRUE(r.rest().empty());
  EXPECT_EQ(r.finish("x").error().code, Errc::truncated);
}

TEST(Reader, FirstErrorIsKept) {
  const auto in = hex("05");
  Reader r{in};
  r.ip();
  EXPECT_EQ(r.error(), Errc::malformed);
  r.u64();
  EXPECT_EQ(r.error(), Errc::malformed);
}

TEST(Reader, HugeLengthDoesNotWrap) {
  const auto in = hex("01");
  Reader r{in};
  EXPECT_TRUE(r.bytes(std::numeric_limits<std::size_t>::max()).empty());
  EXPECT_FALSE(r.ok());
}

TEST(Reader, EmptyInput) {
  Reader r{Bytes{}};
  EXPECT_TRUE(r.finish("x").has_value());
  EXPECT_EQ(r.varint(), 0U);
  EXPECT_FALSE(r.ok());
}

TEST(Reader, OctetsLeftOver) {
  const auto in = hex("0102");
  Reader r{in};
  r.u8();
  EXPECT_EQ(r.finish("x").error().code, Errc::malformed);
}

// RFC 9000 A.1.
TEST(Varint, ExamplesOfTheRfc) {
  const std::pair<std::string_view, std::uint64_t> examples[] = {
      {"c2197c5eff14e88c", 151288809941952652U}, {"9d7f3e7d", 494878333U}, {"7bbd", 15293U}, {"25", 37U}};
  for (const auto& [text, value] : examples) {
    const auto in = hex(text);
    Reader r{in};
    EXPECT_EQ(r.varint(), value);
    EXPECT_TRUE(r.finish("varint").has_value());
    ByteVector out;
    Writer{out}.varint(value);
    EXPECT_EQ(to_hex(out), text);
    for (std::size_t n = 0; n < in.size(); ++n) {
      Reader short_reader{Bytes{in}.first(n)};
      short_reader.varint();
      EXPECT_EQ(short_reader.error(), Errc::truncated);
    }
  }
  const auto longer = hex("4025");  // two octets where one would do
  EXPECT_EQ(Reader{longer}.varint(), 37U);
}

TEST(Varint, Edges) {
  constexpr std::array<std::uint64_t, 8> kEdges{0, 63, 64, 16'383, 16'384, (1ULL << 30) - 1, 1ULL << 30, kVarintMax};
  for (const auto v : kEdges) {
    ByteVector out;
    Writer{out}.varint(v);
    EXPECT_EQ(out.size(), varint_size(v));
    EXPECT_EQ(Reader{out}.varint(), v);
  }
  ByteVector out;
  Writer{out}.varint(~0ULL);
  EXPECT_EQ(Reader{out}.varint(), kVarintMax);
}

TEST(Utf8, Rfc3629) {
  for (const auto* bad : {"80", "c0 80", "c1 bf", "e0 80 80", "e0 9f bf", "ed a0 80", "f0 80 80 80", "f4 90 80 80",
                          "f5 80 80 80", "c3", "e2 82", "f0 9f 98", "ff", "61 80"}) {
    EXPECT_FALSE(is_utf8(hex(bad))) << bad;
  }
  for (const auto* good :
       {"", "61", "c2 80", "df bf", "e0 a0 80", "ed 9f bf", "ee 80 80", "f0 90 80 80", "f4 8f bf bf"}) {
    EXPECT_TRUE(is_utf8(hex(good))) << good;
  }
}

TEST(SpanWriter, WhatDoesNotFitIsNotWritten) {
  std::array<std::uint8_t, 3> out{};
  SpanWriter w{MutableBytes{out}};
  w.u16(0x0102);
  w.u16(0x0304);
  EXPECT_FALSE(w.ok());
  w.u8(5);  // sticky
  EXPECT_EQ(w.size(), 2U);
  EXPECT_EQ(to_hex(out), "010200");
}

TEST(Writer, TextsAreCut) {
  EXPECT_EQ(cut_utf8("abc", 2), "ab");
  EXPECT_EQ(cut_utf8("a\u00e9", 2), "a");
  EXPECT_EQ(cut_utf8("\U0001F600", 3), "");
  ByteVector out;
  Writer{out}.string8(std::string(300, 'x'));
  EXPECT_EQ(out.size(), 256U);
  EXPECT_EQ(out[0], 255);
}

TEST(ServiceId, Refusals) {
  for (const auto* bad : {"", ".", "a.", ".a", "a..b", "A", "a_b", "-a", "a-", "a.-b", "a b", "*", "a.*", "\xc3\xa9"}) {
    const auto id = ServiceId::parse(bad);
    ASSERT_FALSE(id.has_value()) << bad;
    EXPECT_EQ(id.error().code, Errc::malformed);
  }
  EXPECT_FALSE(ServiceId::parse(std::string(64, 'a')).has_value());
  EXPECT_FALSE(ServiceId::parse(std::string_view{"a\0b", 3}).has_value());
  const auto label = std::string(50, 'a');
  const auto long_id = fmt::format("{0}.{0}.{0}.{0}", label);  // 203
  EXPECT_EQ(ServiceId::parse(long_id).error().code, Errc::too_large);
  EXPECT_TRUE(ServiceId::parse(long_id.substr(3)).has_value());  // 200
}

TEST(ServiceId, Accepted) {
  for (const auto* good : {"a", "0", "web", "a-b", "a--b", "web.internal.x1"}) {
    const auto id = ServiceId::parse(good);
    ASSERT_TRUE(id.has_value()) << good;
    EXPECT_EQ(id->str(), good);
  }
  EXPECT_TRUE(ServiceId::parse(std::string(63, 'a')).has_value());
}

TEST(Ids, TextAndHash) {
  EXPECT_EQ(to_string(RouteId{0x0711121314151617}), "0711121314151617");
  EXPECT_EQ(worker_of(RouteId{0x0711121314151617}), 7);
  EXPECT_EQ(to_string(golden::kTunnel), "000102030405060708090a0b0c0d0e0f");
  EXPECT_EQ(to_string(golden::kSession), "a0a1a2a3a4a5a6a7");
  EXPECT_EQ(to_string(ServiceHandle{258}), "258");
  const std::unordered_set<TunnelId> set{golden::kTunnel, TunnelId{}, golden::kTunnel};
  EXPECT_EQ(set.size(), 2U);
}

}  // namespace
}  // namespace ztna::wire
