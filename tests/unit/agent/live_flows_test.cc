#include "agent/live_flows.h"

#include <gtest/gtest.h>

#include "packets.h"

namespace ztna::agent {
namespace {

using testing::at;

LiveFlows::Key key_of(const ByteVector& packet) { return LiveFlows::key(*wire::ip::parse_ip_packet(packet)); }

TEST(LiveFlows, KeysTellFlowsApart) {
  const auto key = key_of(testing::udp(at("10.100.0.254", 1), at("10.100.0.5", 2)));
  EXPECT_EQ(key, key_of(testing::udp(at("10.100.0.254", 1), at("10.100.0.5", 2), 100)));
  EXPECT_NE(key, key_of(testing::udp(at("10.100.0.254", 3), at("10.100.0.5", 2))));
  EXPECT_NE(key, key_of(testing::udp(at("10.100.0.254", 1), at("10.100.0.5", 3))));
  EXPECT_NE(key, key_of(testing::udp(at("10.100.0.254", 1), at("10.100.0.6", 2))));
  EXPECT_NE(key, key_of(testing::icmp(testing::ip("10.100.0.254"), testing::ip("10.100.0.5"), 8)));
}

TEST(LiveFlows, AFlowIsForgottenWhenItsUserIsSilent) {
  LiveFlows flows;
  TimePoint now{1000s};
  EXPECT_FALSE(flows.knows(7, now));
  flows.note(7, now);
  EXPECT_TRUE(flows.knows(7, now + LiveFlows::kHalf));
  EXPECT_FALSE(flows.knows(7, now + 2 * LiveFlows::kHalf));
  flows.note(7, now + 2 * LiveFlows::kHalf);
  EXPECT_FALSE(flows.knows(7, now + 10 * LiveFlows::kHalf));
}

TEST(LiveFlows, AFlowThatGoesOnIsNotForgotten) {
  LiveFlows flows;
  TimePoint now{1000s};
  for (int i = 0; i < 100; ++i, now += 60s) {
    if (i > 0) {
      EXPECT_TRUE(flows.knows(7, now)) << i;
    }
    flows.note(7, now);
  }
}

TEST(LiveFlows, WhatIsRememberedIsBounded) {
  LiveFlows flows;
  const TimePoint now{1000s};
  for (LiveFlows::Key flow = 1; flow <= LiveFlows::kMax + 1; ++flow) flows.note(flow, now);
  EXPECT_TRUE(flows.knows(LiveFlows::kMax, now));
  EXPECT_FALSE(flows.knows(LiveFlows::kMax + 1, now));
}

}  // namespace
}  // namespace ztna::agent
