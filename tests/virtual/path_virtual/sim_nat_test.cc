// The simulated NATs are what they say: each kind measured from outside, by hosts that see everything.
#include "support/sim_nat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "virtual/path_virtual/world.h"

namespace ztna::path {
namespace {

using test::SimNat;
using test::SimPacket;
using testing::SizeIs;
using wire::NatFiltering;
using wire::NatMapping;

const SocketAddress kInside = addr("192.168.1.10:4434");
const SocketAddress kNeighbour = addr("192.168.1.11:4434");
const SocketAddress kFirst = addr("203.0.113.1:1000");
const SocketAddress kFirstOtherPort = addr("203.0.113.1:1001");
const SocketAddress kSecond = addr("203.0.113.2:1000");

class SimNatTest : public testing::Test {
 protected:
  SimNatTest() {
    for (const auto& host : {kFirst, kFirstOtherPort, kSecond}) {
      net_.attach(host, [this](const SimPacket& p) { outside_.push_back(p.from); });
    }
  }
  SimNat& make(SimNat::Config config) {
    config.outside = ip("198.51.100.1");
    nat_ = std::make_unique<SimNat>(net_, config);
    nat_->attach(kInside, [this](const SimPacket& p) { inside_.push_back(p.from); });
    nat_->attach(kNeighbour, [this](const SimPacket& p) { at_neighbour_.push_back(p.from); });
    return *nat_;
  }
  void settle(Duration time = 1s) {
    const auto end = net_.now() + time;
    while (net_.next_event() <= end) net_.advance(net_.next_event());
    net_.advance(end);
  }
  /// The address that `to` sees of the inside host.
  SocketAddress seen_by(const SocketAddress& to, const SocketAddress& from = kInside) {
    outside_.clear();
    nat_->send({from, to, {1}});
    settle();
    EXPECT_THAT(outside_, SizeIs(1));
    return outside_.empty() ? SocketAddress{} : outside_[0];
  }
  bool gets_in(const SocketAddress& from, const SocketAddress& to) {
    inside_.clear();
    net_.send({from, to, {1}});
    settle();
    return !inside_.empty();
  }

  test::SimNetwork net_{1};
  std::unique_ptr<SimNat> nat_;
  std::vector<SocketAddress> outside_, inside_, at_neighbour_;
};

TEST_F(SimNatTest, MappingsAreWhatTheySay) {
  make({.mapping = NatMapping::endpoint_independent});
  EXPECT_EQ(seen_by(kFirst), seen_by(kFirstOtherPort));
  EXPECT_EQ(seen_by(kFirst), seen_by(kSecond));
  EXPECT_NE(seen_by(kFirst), seen_by(kFirst, kNeighbour));
  make({.mapping = NatMapping::address_dependent});
  EXPECT_EQ(seen_by(kFirst), seen_by(kFirstOtherPort));
  EXPECT_NE(seen_by(kFirst), seen_by(kSecond));
  make({.mapping = NatMapping::address_and_port_dependent});
  EXPECT_EQ(seen_by(kFirst), seen_by(kFirst));
  EXPECT_NE(seen_by(kFirst), seen_by(kFirstOtherPort));
  EXPECT_NE(seen_by(kFirst), seen_by(kSecond));
}

TEST_F(SimNatTest, FiltersAreWhatTheySay) {
  const auto check = [&](NatFiltering filtering, bool from_other_port, bool from_other_address) {
    make({.filtering = filtering});
    const auto mapped = seen_by(kFirst);
    EXPECT_TRUE(gets_in(kFirst, mapped));
    EXPECT_EQ(gets_in(kFirstOtherPort, mapped), from_other_port);
    EXPECT_EQ(gets_in(kSecond, mapped), from_other_address);
    EXPECT_FALSE(gets_in(kFirst, {mapped.ip, static_cast<std::uint16_t>(mapped.port ^ 1)}));
  };
  check(NatFiltering::endpoint_independent, true, true);
  check(NatFiltering::address_dependent, true, false);
  check(NatFiltering::address_and_port_dependent, false, false);
}

TEST_F(SimNatTest, AFirewallKeepsAddresses) {
  const auto inside = addr("203.0.113.77:4434");
  make({.mapping = NatMapping::none});
  nat_->attach(inside, [this](const SimPacket& p) { inside_.push_back(p.from); });
  EXPECT_FALSE(gets_in(kFirst, inside));
  EXPECT_EQ(seen_by(kFirst, inside), inside);
  EXPECT_TRUE(gets_in(kFirst, inside));
  EXPECT_FALSE(gets_in(kSecond, inside));
}

TEST_F(SimNatTest, PortsAreGivenAsTheySay) {
  make({.ports = SimNat::Ports::preserving});
  EXPECT_EQ(seen_by(kFirst).port, kInside.port);
  EXPECT_NE(seen_by(kFirst, kNeighbour).port, kInside.port);  // taken
  make({.mapping = NatMapping::address_and_port_dependent, .ports = SimNat::Ports::sequential});
  const auto first = seen_by(kFirst);
  EXPECT_EQ(seen_by(kSecond).port, first.port + 1);
}

TEST_F(SimNatTest, MappingsAndFiltersTimeOut) {
  make({.timeout = 30s});
  const auto mapped = seen_by(kFirst);
  settle(20s);
  EXPECT_EQ(seen_by(kSecond), mapped);  // refreshes the mapping, not the filter's entry
  settle(20s);
  EXPECT_FALSE(gets_in(kFirst, mapped));
  EXPECT_TRUE(gets_in(kSecond, mapped));
  settle(31s);
  EXPECT_FALSE(gets_in(kSecond, mapped));
  EXPECT_NE(seen_by(kFirst), mapped);
}

TEST_F(SimNatTest, RebindingForgets) {
  make({});
  const auto mapped = seen_by(kFirst);
  nat_->rebind();
  EXPECT_FALSE(gets_in(kFirst, mapped));
  EXPECT_NE(seen_by(kFirst), mapped);
}

TEST_F(SimNatTest, HairpinOnlyWhereItIsOn) {
  for (const bool hairpin : {false, true}) {
    at_neighbour_.clear();
    make({.filtering = NatFiltering::endpoint_independent, .hairpin = hairpin});
    const auto neighbour = seen_by(kFirst, kNeighbour);
    nat_->send({kInside, neighbour, {1}});
    settle();
    ASSERT_EQ(at_neighbour_.size(), hairpin ? 1U : 0U);
    if (hairpin) {
      EXPECT_EQ(at_neighbour_[0].ip, neighbour.ip);  // RFC 4787 REQ-9: the external source address
    }
  }
}

TEST_F(SimNatTest, TwoNatsInARow) {
  make({.filtering = NatFiltering::endpoint_independent});
  SimNat inner{net_, {.outside = ip("100.64.1.7")}, nat_.get()};
  const auto deep = addr("192.168.9.9:4434");
  inner.attach(deep, [this](const SimPacket& p) { inside_.push_back(p.from); });
  outside_.clear();
  inner.send({deep, kFirst, {1}});
  settle();
  ASSERT_THAT(outside_, SizeIs(1));
  EXPECT_EQ(outside_[0].ip, ip("198.51.100.1"));
  EXPECT_TRUE(gets_in(kFirst, outside_[0]));
  EXPECT_FALSE(gets_in(kSecond, outside_[0]));  // the outer lets it in, the inner does not
}

}  // namespace
}  // namespace ztna::path
