#include "tunnel/local_candidates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/seeded_random.h"
#include "tunnel/nat_watch.h"

namespace ztna::tunnel {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

IpAddress ip(const char* text) { return *IpAddress::parse(text); }
SocketAddress address(const char* text) { return *SocketAddress::parse(text); }

path::HostAddress host(const char* text, unsigned length = 24) {
  path::HostAddress h;
  h.address = ip(text);
  h.prefix_length = length;
  h.default_route = true;
  return h;
}

LocalOptions both_families() {
  LocalOptions options;
  options.port_v4 = 4434;
  options.port_v6 = 4435;
  return options;
}

std::vector<SocketAddress> addresses(const LocalCandidates& local) {
  std::vector<SocketAddress> out;
  for (const auto& candidate : local.candidates()) out.push_back(candidate.address);
  return out;
}

IntermediateView intermediate() {
  IntermediateView view;
  view.addresses = {ip("192.0.2.1"), ip("2001:db8::1")};
  view.server = address("192.0.2.1:4433");
  view.probe_port = 4440;
  view.observed_v4 = address("203.0.113.5:6000");
  return view;
}

TEST(LocalCandidates, WithoutASocketThereIsNothingToOffer) {
  LocalCandidates local;
  local.set_hosts({host("192.0.2.7")});
  local.set_mapped({address("203.0.113.9:1")});
  local.set_intermediate(0, intermediate());
  EXPECT_THAT(local.candidates(), IsEmpty());
  EXPECT_FALSE(local.nat_targets(Family::v4));
  EXPECT_FALSE(local.policy().v4);
  EXPECT_THAT(local.own(Family::v4), IsEmpty());
}

TEST(LocalCandidates, PutsTogetherWhatIsKnown) {
  auto options = both_families();
  options.external = {ip("203.0.113.80"), ip("2001:db8::80")};
  options.tunnels = {*Prefix::parse("10.100.0.0/24")};
  LocalCandidates local{options};
  EXPECT_THAT(addresses(local), UnorderedElementsAre(address("203.0.113.80:4434"), address("[2001:db8::80]:4435")));
  EXPECT_TRUE(local.set_hosts({host("10.0.0.7"), host("2001:db8::7", 64), host("10.100.0.254")}));
  EXPECT_TRUE(local.set_intermediate(0, intermediate()));
  EXPECT_TRUE(local.set_mapped({address("203.0.113.9:7000")}));
  EXPECT_THAT(addresses(local), UnorderedElementsAre(address("10.0.0.7:4434"), address("[2001:db8::7]:4435"),
                                                     address("203.0.113.80:4434"), address("[2001:db8::80]:4435"),
                                                     address("203.0.113.9:7000"), address("203.0.113.5:6000")));
  const auto policy = local.policy();
  EXPECT_THAT(policy.intermediates, UnorderedElementsAre(ip("192.0.2.1"), ip("2001:db8::1")));
  EXPECT_THAT(policy.reflexive, ElementsAre(ip("203.0.113.5")));
  EXPECT_EQ(policy.judge(address("10.100.0.9:1"), {}), path::ProbeVerdict::own_tunnel);
  EXPECT_EQ(policy.judge(address("10.0.0.7:4434"), {}), path::ProbeVerdict::own_address);
  EXPECT_EQ(policy.judge(address("192.0.2.1:5555"), {}), path::ProbeVerdict::intermediate);
}

TEST(LocalCandidates, OnlyNewsIsAChange) {
  LocalCandidates local{both_families()};
  EXPECT_TRUE(local.set_intermediate(0, intermediate()));
  EXPECT_FALSE(local.set_intermediate(0, intermediate()));
  auto down = intermediate();
  down.server.reset();
  EXPECT_FALSE(local.set_intermediate(0, down)) << "where we were seen still holds";
  EXPECT_FALSE(local.set_discovered(Family::v4, address("203.0.113.5:6000"))) << "known by the control connection";
  EXPECT_TRUE(local.set_discovered(Family::v6, address("[2001:db8:5::5]:6000")));
  auto moved = intermediate();
  moved.observed_v4 = address("203.0.113.6:6001");
  EXPECT_TRUE(local.set_intermediate(0, moved));
  EXPECT_TRUE(local.remove_intermediate(0));
}

TEST(LocalCandidates, KnowsWhereToMeasureTheNat) {
  LocalCandidates local{both_families()};
  EXPECT_FALSE(local.nat_targets(Family::v4));
  local.set_intermediate(0, intermediate());
  auto v4 = local.nat_targets(Family::v4);
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->main, address("192.0.2.1:4433"));
  EXPECT_EQ(v4->other, address("192.0.2.1:4440"));
  EXPECT_EQ(v4->second, std::nullopt);
  const auto v6 = local.nat_targets(Family::v6);
  ASSERT_TRUE(v6) << "its name has an address of the other family";
  EXPECT_EQ(v6->main, address("[2001:db8::1]:4433"));

  IntermediateView second;
  second.addresses = {ip("192.0.2.2")};
  second.server = address("192.0.2.2:4433");
  local.set_intermediate(1, second);
  v4 = local.nat_targets(Family::v4);
  EXPECT_EQ(v4->second, address("192.0.2.2:4433"));
  auto down = intermediate();
  down.server.reset();
  local.set_intermediate(0, down);
  EXPECT_EQ(local.nat_targets(Family::v4)->main, address("192.0.2.2:4433"));
  EXPECT_FALSE(local.nat_targets(Family::v6));
}

/// Answers as an Intermediate of both ports that sees us at `seen`.
void answer(NatWatch& watch, const std::vector<path::Outgoing>& requests, const SocketAddress& seen, TimePoint now) {
  for (const auto& out : requests) {
    const auto request = wire::Probe::parse(out.octets);
    ASSERT_TRUE(request);
    if (out.to.ip.is_v6()) continue;
    auto from = out.to;
    if (request->kind == wire::ProbeKind::open_request_other) from.port = from.port == 4433 ? 4440 : 4433;
    wire::Probe reply = *request;
    reply.kind = wire::ProbeKind::open_response;
    reply.address = seen;
    watch.receive(from, reply, now);
  }
}

TEST(NatWatch, MeasuresOnceForEachBasis) {
  test::SeededRandom random{1};
  NatWatch watch{random};
  LocalCandidates local{both_families()};
  TimePoint now{1s};
  watch.update(local, false, now);
  EXPECT_THAT(watch.poll(now), IsEmpty());
  local.set_hosts({host("203.0.113.5")});
  auto view = intermediate();
  view.addresses = {ip("192.0.2.1")};
  local.set_intermediate(0, view);
  watch.update(local, false, now);
  while (watch.deadline() != kNever && now < TimePoint{60s}) {
    answer(watch, watch.poll(now), address("203.0.113.5:4434"), now);
    now = std::max(now + 1ms, std::min(watch.deadline(), now + 1s));
  }
  EXPECT_TRUE(watch.take_change());
  EXPECT_FALSE(watch.take_change());
  EXPECT_EQ(watch.report(Family::v4).state, path::NatReport::State::done);
  EXPECT_EQ(watch.kind().mapping, wire::NatMapping::none);
  watch.update(local, false, now);
  EXPECT_EQ(watch.deadline(), kNever) << "nothing is new";
  watch.update(local, true, now);
  EXPECT_THAT(watch.poll(now), testing::SizeIs(1)) << "asked to";
  local.remove_intermediate(0);
  watch.update(local, true, now);
  EXPECT_EQ(watch.report(Family::v4).state, path::NatReport::State::not_run) << "another network, and nobody to ask";
}

}  // namespace
}  // namespace ztna::tunnel
