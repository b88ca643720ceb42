#include "agent/doctor.h"

#include <gtest/gtest.h>

#include <map>

#include "packets.h"

namespace ztna::agent {
namespace {

using namespace std::chrono_literals;

DoctorFacts healthy() {
  DoctorFacts f;
  f.status.connected = true;
  f.status.server = "i:4433";
  f.status.nat.v4 = {"done", "port_restricted_cone", "port-restricted cone NAT", testing::at("198.18.1.2", 4000), {}};
  f.status.nat.candidates = {{testing::at("2001:db8::1", 4000), "host"}};
  f.control_mtu = 1452;
  f.reentry_v4 = f.reentry_v6 = true;
  f.now = WallTime{1'000'000s};
  f.certificate_begins = f.now - 1h;
  f.certificate_ends = f.now + 24h;
  return f;
}

/// What is not ok: check and verdict. Each must say what would mend it.
std::map<std::string, Verdict> trouble(const DoctorFacts& facts) {
  std::map<std::string, Verdict> out;
  for (const auto& finding : diagnose(facts)) {
    EXPECT_FALSE(finding.text.empty());
    EXPECT_EQ(finding.remedy.empty(), finding.verdict == Verdict::ok) << finding.check;
    if (finding.verdict != Verdict::ok) out.emplace(finding.check, finding.verdict);
  }
  return out;
}
using Trouble = std::map<std::string, Verdict>;

TEST(Doctor, EachTroubleIsNamedAndNothingElse) {
  const auto with = [](auto change) {
    auto facts = healthy();
    change(facts);
    return trouble(facts);
  };
  EXPECT_EQ(trouble(healthy()), Trouble{});
  EXPECT_EQ(with([](auto& f) { f.reentry_v4 = false; }), (Trouble{{"firewall", Verdict::fail}}));
  EXPECT_EQ(with([](auto& f) { f.reentry_v6 = false; }), (Trouble{{"firewall", Verdict::fail}}));
  EXPECT_EQ(with([](auto& f) { f.reentry_v6.reset(); }), Trouble{});  // the TUN has no IPv6
  EXPECT_EQ(with([](auto& f) { f.status.nat.v4.kind = "symmetric"; }), (Trouble{{"nat", Verdict::warn}}));
  EXPECT_EQ(with([](auto& f) { f.status.nat.v4.state = "udp_blocked"; }), (Trouble{{"nat", Verdict::warn}}));
  EXPECT_EQ(with([](auto& f) { f.status.nat.enabled = false; }), (Trouble{{"nat", Verdict::warn}}));
  EXPECT_EQ(with([](auto& f) { f.status.nat.candidates.clear(); }), (Trouble{{"ipv6", Verdict::warn}}));
  EXPECT_EQ(with([](auto& f) { f.control_mtu = 1200; }), (Trouble{{"mtu", Verdict::warn}}));
  EXPECT_EQ(with([](auto& f) { f.status.tunnels.emplace_back().max_udp_payload = 1252; }),
            (Trouble{{"mtu", Verdict::warn}}));
  EXPECT_EQ(with([](auto& f) { f.status.problem = "not permitted"; }), (Trouble{{"control", Verdict::fail}}));
  EXPECT_EQ(with([](auto& f) { f.status.connected = false, f.control_mtu = 0; }),
            (Trouble{{"control", Verdict::fail}, {"mtu", Verdict::warn}}));
  EXPECT_EQ(with([](auto& f) { f.now = f.certificate_begins - 1s; }), (Trouble{{"clock", Verdict::fail}}));
  EXPECT_EQ(with([](auto& f) { f.now = f.certificate_ends + 1s; }), (Trouble{{"clock", Verdict::fail}}));
  EXPECT_EQ(with([](auto& f) { f.now = f.certificate_ends; }), (Trouble{{"clock", Verdict::warn}}));
}

TEST(Doctor, ANatOfIpv6IsShownOnceItWasMeasured) {
  auto facts = healthy();
  facts.status.nat.v6 = {"done", "symmetric", "symmetric NAT", testing::at("2001:db8::1", 4000), {}};
  EXPECT_EQ(trouble(facts), (Trouble{{"nat-ipv6", Verdict::warn}}));
  facts.status.nat.v4 = {"not_run", "unknown", "not measured yet", {}, {}};
  EXPECT_EQ(trouble(facts), (Trouble{{"nat-ipv6", Verdict::warn}}));
}

}  // namespace
}  // namespace ztna::agent
