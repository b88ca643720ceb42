// HMAC-SHA256 against RFC 4231 4.2 to 4.8 (4.6 tells a truncated digest: its first 16 octets).
#include "quic/hmac.h"

#include <gtest/gtest.h>

#include <string>

namespace ztna::quic {
namespace {

ByteVector unhex(std::string_view hex) {
  ByteVector out;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    out.push_back(static_cast<std::uint8_t>(std::stoul(std::string{hex.substr(i, 2)}, nullptr, 16)));
  }
  return out;
}

struct Vector {
  const char* name;
  ByteVector key;
  ByteVector data;
  std::string_view digest;
};

ByteVector text(std::string_view s) { return {s.begin(), s.end()}; }

const std::vector<Vector>& vectors() {
  static const std::vector<Vector> kList{
      {"4.2", ByteVector(20, 0x0b), text("Hi There"),
       "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
      {"4.3", text("Jefe"), text("what do ya want for nothing?"),
       "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
      {"4.4", ByteVector(20, 0xaa), ByteVector(50, 0xdd),
       "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
      {"4.5", unhex("0102030405060708090a0b0c0d0e0f10111213141516171819"), ByteVector(50, 0xcd),
       "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
      {"4.6", ByteVector(20, 0x0c), text("Test With Truncation"), "a3b6167473100ee06e0c796c2955552b"},
      {"4.7", ByteVector(131, 0xaa), text("Test Using Larger Than Block-Size Key - Hash Key First"),
       "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
      {"4.8", ByteVector(131, 0xaa),
       text("This is a test using a larger than block-size key and a larger than block-size data. The key needs to be "
            "hashed before being used by the HMAC algorithm."),
       "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"}};
  return kList;
}

TEST(HmacSha256, RefusesAnEmptyKey) { EXPECT_EQ(HmacSha256::create({}).error().code, Errc::crypto); }

TEST(HmacSha256, FitsTheVectorsOfTheRfc) {
  for (const auto& vector : vectors()) {
    auto hmac = HmacSha256::create(vector.key);
    ASSERT_TRUE(hmac) << vector.name;
    const auto wanted = unhex(vector.digest);
    for (int again = 0; again < 2; ++again) {  // one digest leaves nothing behind for the next
      Sha256Digest digest{};
      ASSERT_TRUE(hmac->digest(vector.data, digest)) << vector.name;
      EXPECT_EQ(ByteVector(digest.begin(), digest.begin() + static_cast<std::ptrdiff_t>(wanted.size())), wanted)
          << vector.name;
    }
  }
}

TEST(HmacSha256, DiffersByKeyAndByInput) {
  auto a = HmacSha256::create(ByteVector{1});
  auto b = HmacSha256::create(ByteVector{2});
  ASSERT_TRUE(a && b);
  Sha256Digest one{}, two{}, three{};
  ASSERT_TRUE(a->digest(ByteVector{1}, one));
  ASSERT_TRUE(b->digest(ByteVector{1}, two));
  ASSERT_TRUE(a->digest(ByteVector{2}, three));
  EXPECT_NE(one, two);
  EXPECT_NE(one, three);
}

}  // namespace
}  // namespace ztna::quic
