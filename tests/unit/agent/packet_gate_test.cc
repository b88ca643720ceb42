#include "agent/packet_gate.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "packets.h"
#include "support/seeded_random.h"

namespace ztna::agent {
namespace {

using testing::at;
using testing::icmp;
using testing::id;
using testing::ip;
using testing::kStart;
using testing::tcp;
using testing::udp;

struct World : TcpReentryOwner, PacketCarrier {
  void on_flow_begun(FlowId, const wire::ServiceId&, const SocketAddress&) override { ++flows; }
  void on_flow_ended(FlowId) override {}
  std::optional<TunFate> carry(const wire::ServiceId& service, TunFate kind, Bytes packet) override {
    carried.emplace_back(service, ByteVector{packet.begin(), packet.end()});
    return kind;
  }
  bool takes_new_flows() const override { return admits; }
  bool serves(const wire::ServiceId&) const override { return lives; }
  bool admits = true;
  bool lives = false;
  int flows = 0;
  std::vector<std::pair<wire::ServiceId, ByteVector>> carried;
};

struct PacketGateTest : ::testing::TestWithParam<bool> {
  PacketGateTest() {
    EXPECT_TRUE(services.set(id("web"), {service.ip}));
    EXPECT_TRUE(services.set(id("db"), {other.ip}));
    reentry.set_listener(Family::v4, 40'000);
    reentry.set_listener(Family::v6, 40'000);
  }
  /// The one fate that the packet was counted under.
  TunFate out(ByteVector packet, PacketOffload offload = {}) {
    std::array<std::uint64_t, CounterSet<TunFate>::kSize> before{};
    for (std::size_t i = 0; i < before.size(); ++i) before[i] = gate.tun_fates().value(static_cast<TunFate>(i));
    gate.from_tun(offload, packet, kStart);
    auto found = TunFate::count_;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (gate.tun_fates().value(static_cast<TunFate>(i)) == before[i]) continue;
      EXPECT_EQ(found, TunFate::count_) << "two fates";
      found = static_cast<TunFate>(i);
    }
    return found;
  }
  TunnelFate in(const ByteVector& packet, std::string_view from = "web") {
    const auto before = gate.tunnel_fates().total();
    std::array<std::uint64_t, CounterSet<TunnelFate>::kSize> counts{};
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = gate.tunnel_fates().value(static_cast<TunnelFate>(i));
    gate.from_tunnel(id(from), packet, kStart);
    EXPECT_EQ(gate.tunnel_fates().total(), before + 1);
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (gate.tunnel_fates().value(static_cast<TunnelFate>(i)) != counts[i]) return static_cast<TunnelFate>(i);
    }
    return TunnelFate::count_;
  }

  const bool v6 = GetParam();
  const SocketAddress user = v6 ? at("fd5a:7a74:6e61::fffe", 5000) : at("10.100.0.254", 5000);
  const SocketAddress service = v6 ? at("fd5a:7a74:6e61::5", 7000) : at("10.100.0.5", 7000);
  const SocketAddress other = v6 ? at("fd5a:7a74:6e61::6", 7000) : at("10.100.0.6", 7000);
  const SocketAddress stranger = v6 ? at("fd5a:7a74:6e61::77", 7000) : at("10.100.0.77", 7000);
  const std::uint8_t echo_request = v6 ? 128 : 8, echo_reply = v6 ? 129 : 0, unreachable = v6 ? 1 : 3;
  test::SeededRandom random{1};
  testing::FakeTun tun;
  World world;
  ServiceTable services{testing::own_addresses()};
  ErrorSender errors{tun, testing::own_addresses()};
  Pinger pinger{random};
  TcpReentry reentry{testing::own_addresses(), tun, errors, world};
  PacketGate gate{testing::own_addresses(), services, reentry, world, pinger, errors, tun};
};
INSTANTIATE_TEST_SUITE_P(Families, PacketGateTest, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "v6" : "v4"; });

TEST_P(PacketGateTest, UnknownAddressIsDroppedAndToldUnreachable) {
  EXPECT_EQ(out(udp(user, stranger)), TunFate::unknown_address);
  EXPECT_EQ(tun.take().view().icmp_type, unreachable);
  EXPECT_EQ(out(udp(user, v6 ? at("ff02::1", 5353) : at("224.0.0.251", 5353))), TunFate::unknown_address);
  EXPECT_EQ(out(udp(stranger, v6 ? at("2001:db8::1", 1) : at("192.0.2.1", 1))), TunFate::unknown_address);
  EXPECT_TRUE(tun.written.empty());  // no answer to multicast, nor to foreign sources
  EXPECT_TRUE(world.carried.empty());
}

TEST_P(PacketGateTest, SpoofedSourceIsDropped) {
  EXPECT_EQ(out(udp(stranger, service)), TunFate::spoofed_source);
  EXPECT_EQ(out(tcp(stranger, service, wire::ip::TcpFlags::kSyn)), TunFate::spoofed_source);
  EXPECT_EQ(out(udp(other, service)), TunFate::spoofed_source);
  EXPECT_TRUE(world.carried.empty());
  EXPECT_EQ(world.flows, 0);
  EXPECT_TRUE(tun.written.empty());
}

TEST_P(PacketGateTest, WrongProtocolIsDropped) {
  const ByteVector body(20, 0);
  EXPECT_EQ(out(testing::ip_packet(user.ip, service.ip, wire::ip::Protocol{132}, body)), TunFate::wrong_protocol);
  EXPECT_EQ(out(icmp(user.ip, service.ip, echo_reply)), TunFate::wrong_protocol);
  EXPECT_EQ(out(icmp(user.ip, service.ip, unreachable)), TunFate::wrong_protocol);
  EXPECT_TRUE(world.carried.empty());
}

TEST_P(PacketGateTest, BadLengthsAndChecksumsAreDropped) {
  EXPECT_EQ(out({}), TunFate::not_ip);
  EXPECT_EQ(out({0x00, 0x01}), TunFate::not_ip);
  auto cut = udp(user, service);
  cut.pop_back();
  EXPECT_EQ(out(cut), TunFate::truncated);
  auto claims_more = udp(user, service);
  testing::put_u16(claims_more, (v6 ? 40 : 20) + 4, 200);
  EXPECT_EQ(out(claims_more), TunFate::bad_length);
  auto longer = udp(user, service);
  longer.push_back(0);
  EXPECT_EQ(out(longer), TunFate::bad_length);
  auto bad = udp(user, service);
  bad.back() ^= 1U;
  EXPECT_EQ(out(bad), TunFate::bad_checksum);
  auto ping = icmp(user.ip, service.ip, echo_request);
  ping.back() ^= 1U;
  EXPECT_EQ(out(ping), TunFate::bad_checksum);
  if (!v6) {
    auto header = udp(user, service);
    header[8] ^= 1U;
    EXPECT_EQ(out(header), TunFate::bad_checksum);
  }
  EXPECT_TRUE(world.carried.empty());
}

TEST_P(PacketGateTest, EveryShortPrefixIsDroppedAndCountedOnce) {
  const auto whole = udp(user, service, 30);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    out({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)});
  }
  EXPECT_EQ(gate.tun_fates().total(), whole.size());
  EXPECT_TRUE(world.carried.empty());
}

TEST_P(PacketGateTest, SuperPacketsOfUdpAreNotTaken) {
  PacketOffload offload;
  offload.gso_type = 5;
  EXPECT_EQ(out(udp(user, service), offload), TunFate::bad_header);
}

TEST_P(PacketGateTest, ServiceThatIsDownIsToldUnreachable) {
  services.down(id("web"), wire::ServiceDownReason::unhealthy);
  EXPECT_EQ(out(udp(user, service)), TunFate::service_down);
  EXPECT_EQ(tun.take().view().icmp_code, v6 ? 3 : 1);
  services.down(id("web"), wire::ServiceDownReason::not_permitted);
  EXPECT_EQ(out(udp(user, service)), TunFate::service_down);
  EXPECT_EQ(tun.take().view().icmp_code, v6 ? 1 : 13);
}

TEST_P(PacketGateTest, LivingTunnelServesOnWhenOnlyTheIntermediateHasLostItsConnector) {
  world.lives = true;
  services.down(id("web"), wire::ServiceDownReason::connector_gone);
  EXPECT_EQ(out(udp(user, service)), TunFate::carried_udp);
  services.down(id("web"), wire::ServiceDownReason::withdrawn);
  EXPECT_EQ(out(udp(user, service)), TunFate::service_down);
  world.lives = false;
  services.down(id("web"), wire::ServiceDownReason::connector_gone);
  EXPECT_EQ(out(udp(user, service)), TunFate::service_down);
}

TEST_P(PacketGateTest, CarriesUdpAndEchoRequests) {
  const auto packet = udp(user, service, 100);
  EXPECT_EQ(out(packet), TunFate::carried_udp);
  ASSERT_EQ(world.carried.size(), 1U);
  EXPECT_EQ(world.carried[0].first, id("web"));
  EXPECT_EQ(world.carried[0].second, packet);
  EXPECT_EQ(out(icmp(user.ip, service.ip, echo_request)), TunFate::carried_icmp);
  EXPECT_EQ(out(tcp(user, service, wire::ip::TcpFlags::kSyn)), TunFate::syn_held);
  EXPECT_EQ(world.flows, 1);
}

TEST_P(PacketGateTest, CompletesChecksumsThatTheKernelLeft) {
  const auto right = udp(user, service, 100);
  auto packet = right;
  const std::size_t start = v6 ? 40 : 20;
  testing::put_u16(packet, start + 6, wire::ip::pseudo_header_sum(user.ip, service.ip, wire::ip::Protocol::udp, 108));
  PacketOffload offload;
  offload.needs_csum = true;
  offload.csum_start = static_cast<std::uint16_t>(start);
  offload.csum_offset = 6;
  EXPECT_EQ(out(packet, offload), TunFate::carried_udp);
  EXPECT_EQ(world.carried[0].second, right);
  offload.csum_start = 60'000;
  EXPECT_EQ(out(packet, offload), TunFate::bad_header);
}

TEST_P(PacketGateTest, FragmentsAreCarriedAsOneDatagram) {
  const auto whole = udp(user, service, 65'507);
  const auto parts = testing::fragments(whole, 1232);
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) EXPECT_EQ(out(parts[i]), TunFate::fragment_kept);
  EXPECT_EQ(out(parts.back()), TunFate::carried_udp);
  ASSERT_EQ(world.carried.size(), 1U);
  const auto carried = *wire::ip::parse_ip_packet(world.carried[0].second);
  const auto sent = *wire::ip::parse_ip_packet(whole);
  EXPECT_FALSE(carried.fragment.is_fragment());
  EXPECT_EQ(carried.fragment_header != 0, GetParam()) << "over IPv6 it says that the sender cuts its packets";
  EXPECT_EQ(carried.source(), sent.source());
  EXPECT_EQ(carried.destination(), sent.destination());
  EXPECT_EQ(carried.l4_payload.size(), sent.l4_payload.size());
  EXPECT_TRUE(std::ranges::equal(carried.l4(), sent.l4()));
}

TEST_P(PacketGateTest, JoinedDatagramWithABadChecksumIsDropped) {
  auto whole = udp(user, service, 3000);
  whole.back() ^= 1U;
  const auto parts = testing::fragments(whole, 1600);
  EXPECT_EQ(out(parts[0]), TunFate::fragment_kept);
  EXPECT_EQ(out(parts[1]), TunFate::bad_checksum);
  EXPECT_TRUE(world.carried.empty());
}

TEST_P(PacketGateTest, TunnelMayOnlySpeakForTheServiceToTheAgent) {
  EXPECT_EQ(in(udp(stranger, user)), TunnelFate::wrong_source);
  EXPECT_EQ(in(udp(other, user)), TunnelFate::wrong_source);  // another service of the same tunnel
  EXPECT_EQ(in(udp(service, user), "db"), TunnelFate::wrong_source);
  EXPECT_EQ(in(udp(service, stranger)), TunnelFate::wrong_destination);
  EXPECT_EQ(in(udp(service, user), "gone"), TunnelFate::unknown_handle);
  EXPECT_EQ(in(tcp(service, user, wire::ip::TcpFlags::kSyn)), TunnelFate::wrong_protocol);
  EXPECT_EQ(in(icmp(service.ip, user.ip, echo_request)), TunnelFate::wrong_protocol);
  EXPECT_EQ(in(icmp(service.ip, user.ip, v6 ? 137 : 5)), TunnelFate::wrong_protocol);  // redirect
  EXPECT_EQ(in({1, 2, 3}), TunnelFate::malformed);
  auto bad = udp(service, user);
  bad.back() ^= 1U;
  EXPECT_EQ(in(bad), TunnelFate::bad_checksum);
  EXPECT_EQ(in(testing::fragments(udp(service, user, 3000), 1600)[0]), TunnelFate::fragment);
  EXPECT_TRUE(tun.written.empty());
}

TEST_P(PacketGateTest, DeliversRepliesWithTheirChecksumVerified) {
  EXPECT_EQ(in(udp(service, user, 1200)), TunnelFate::delivered);
  EXPECT_TRUE(tun.take().offload.data_valid);
  EXPECT_EQ(in(icmp(service.ip, user.ip, echo_reply)), TunnelFate::delivered);
  EXPECT_EQ(in(icmp(service.ip, user.ip, unreachable)), TunnelFate::delivered);
  tun.full = true;
  EXPECT_EQ(in(udp(service, user)), TunnelFate::tun_full);
}

TEST_P(PacketGateTest, OwnPingsAreKeptFromTheUserAndNotCounted) {
  std::optional<Duration> rtt;
  const auto request = pinger.begin(user.ip, service.ip, kStart - 30ms, [&](auto r) { rtt = r; });
  gate.send_own(id("web"), request);
  EXPECT_EQ(gate.tun_fates().total(), 0U);
  ASSERT_EQ(world.carried.size(), 1U);
  const auto reply = *wire::ip::build_echo_reply(*wire::ip::parse_ip_packet(world.carried[0].second));
  EXPECT_EQ(in(reply), TunnelFate::pong);
  EXPECT_EQ(rtt, Duration{30ms});
  EXPECT_EQ(in(reply), TunnelFate::delivered);  // a second answer is not ours to wait for
}

TEST_P(PacketGateTest, ErrorsAreRateLimited) {
  for (int i = 0; i < 1000; ++i) out(udp(user, stranger));
  EXPECT_LE(tun.written.size(), static_cast<std::size_t>(ErrorSender::kBurst));
  EXPECT_GT(errors.suppressed().value(), 0U);
}

TEST_P(PacketGateTest, OnlyFlowsThatLiveGoOnWithoutAnIntermediate) {
  EXPECT_EQ(out(udp(user, service)), TunFate::carried_udp);
  EXPECT_EQ(out(icmp(user.ip, service.ip, echo_request)), TunFate::carried_icmp);
  EXPECT_EQ(out(tcp(user, service, wire::ip::TcpFlags::kSyn)), TunFate::syn_held);
  world.admits = false;
  world.carried.clear();
  tun.written.clear();
  EXPECT_EQ(out(udp(user, {service.ip, 9})), TunFate::offline);
  EXPECT_EQ(out(udp(user, {service.ip, 9})), TunFate::offline) << "asking twice makes it no older flow";
  EXPECT_EQ(out(icmp(user.ip, other.ip, echo_request)), TunFate::offline);
  ASSERT_EQ(tun.written.size(), 3U);
  for (const auto& answer : tun.written) {
    EXPECT_EQ(answer.view().icmp_type, unreachable);
    EXPECT_EQ(answer.view().icmp_code, v6 ? 1 : 13);  // administratively prohibited
  }
  tun.written.clear();
  EXPECT_EQ(out(tcp({user.ip, 6000}, service, wire::ip::TcpFlags::kSyn)), TunFate::offline);
  ASSERT_EQ(tun.written.size(), 1U);
  EXPECT_TRUE(tun.take().tcp().has(wire::ip::TcpFlags::kRst));
  EXPECT_EQ(world.flows, 1);
  EXPECT_TRUE(world.carried.empty());

  EXPECT_EQ(out(udp(user, service)), TunFate::carried_udp);
  EXPECT_EQ(out(icmp(user.ip, service.ip, echo_request)), TunFate::carried_icmp);
  EXPECT_EQ(out(tcp(user, service, wire::ip::TcpFlags::kSyn)), TunFate::syn_repeated);
  world.admits = true;
  EXPECT_EQ(out(udp(user, {service.ip, 9})), TunFate::carried_udp);
}

}  // namespace
}  // namespace ztna::agent
