#include "intermediate/probe_responder.h"

#include <gtest/gtest.h>

#include "unit/intermediate/addresses.h"
#include "wire/probe.h"

namespace ztna::intermediate {
namespace {

using testing::at;

struct ProbeResponderTest : ::testing::Test {
  CounterSet<ProbeFate> fates;
  ProbeResponder responder{fates};
  TimePoint now = TimePoint{} + 1h;
  const SocketAddress client = at("192.0.2.1:5000");

  static ByteVector probe(wire::ProbeKind kind, const SocketAddress& address = {}) {
    return wire::encode_probe({kind, wire::SessionId{{1, 2}}, wire::TransactionId{{3, 4}}, address, {}},
                              wire::Role::agent, [](Bytes) { return wire::ProbeMac{}; });
  }
  bool answered(Bytes payload, const SocketAddress& from, bool other = true) {
    return responder.receive(payload, from, other, now).has_value();
  }
};

using wire::ProbeKind;

TEST_F(ProbeResponderTest, DropsWhatIsNoRequestForIt) {
  EXPECT_FALSE(answered({}, client));
  EXPECT_FALSE(answered(ByteVector{0x40}, client));
  EXPECT_FALSE(answered(ByteVector{0x2F, 8}, client));
  EXPECT_EQ(fates.value(ProbeFate::not_a_probe), 3U);
  auto cut = probe(ProbeKind::open_request);
  cut.pop_back();
  EXPECT_FALSE(answered(cut, client));
  auto long_one = probe(ProbeKind::open_request);
  long_one.push_back(0);
  EXPECT_FALSE(answered(long_one, client));
  EXPECT_FALSE(answered(probe(ProbeKind::open_request), {client.ip, 0}));
  EXPECT_EQ(fates.value(ProbeFate::malformed), 3U);
  for (const auto kind : {ProbeKind::request, ProbeKind::response, ProbeKind::open_response}) {
    EXPECT_FALSE(answered(probe(kind), client));
  }
  EXPECT_EQ(fates.value(ProbeFate::not_a_request), 3U);
  EXPECT_FALSE(answered(probe(ProbeKind::open_request_other), client, false));
  EXPECT_EQ(fates.value(ProbeFate::no_other_port), 1U);
  EXPECT_EQ(fates.total(), 10U);
}

TEST_F(ProbeResponderTest, AnswersWithTheSourceAndNoMoreOctetsThanItGot) {
  for (const auto* from : {"192.0.2.1:5000", "[2001:db8::1]:65535"}) {
    for (const auto kind : {ProbeKind::open_request, ProbeKind::open_request_other}) {
      // Whatever address the request has: it is not believed.
      const auto request = probe(kind, at("203.0.113.1:53"));
      const auto answer = responder.receive(request, at(from), true, now);
      ASSERT_TRUE(answer);
      EXPECT_LE(answer->octets.size(), request.size());
      EXPECT_EQ(answer->from_other_port, kind == ProbeKind::open_request_other);
      const auto parsed = wire::Probe::parse(answer->octets);
      ASSERT_TRUE(parsed);
      const wire::Probe expected{
          ProbeKind::open_response, wire::SessionId{{1, 2}}, wire::TransactionId{{3, 4}}, at(from), {}};
      EXPECT_EQ(*parsed, expected);
      EXPECT_FALSE(answered(answer->octets, at("198.18.3.2:4433"))) << "two Intermediates do not answer each other";
    }
  }
  const auto mapped = responder.receive(probe(ProbeKind::open_request), at("[::ffff:192.0.2.9]:1"), true, now);
  ASSERT_TRUE(mapped);
  EXPECT_EQ(wire::Probe::parse(mapped->octets)->address, at("192.0.2.9:1"));
  EXPECT_TRUE(answered(probe(ProbeKind::open_request), client, false)) << "one port is enough for this kind";
}

TEST_F(ProbeResponderTest, AnswersEachSourceAndAllTogetherOnlySoOften) {
  const auto request = probe(ProbeKind::open_request);
  std::uint32_t answers = 0;
  for (int i = 0; i < 1000; ++i) answers += answered(request, {client.ip, static_cast<std::uint16_t>(1 + i)}) ? 1U : 0U;
  EXPECT_EQ(answers, ProbeResponder::kPerSource);
  EXPECT_EQ(fates.value(ProbeFate::source_limit), 1000U - ProbeResponder::kPerSource);
  now += 1s;
  answers = 0;
  for (std::uint32_t i = 0; i < 20'000; ++i) answers += answered(request, {IpAddress::v4(i + 1), 5000}) ? 1U : 0U;
  EXPECT_EQ(answers, ProbeResponder::kTotalBurst);
  now += 1s;
  responder.tick(now);
  EXPECT_TRUE(answered(request, client));
}

}  // namespace
}  // namespace ztna::intermediate
