#include "agent/tcp_reentry.h"

#include <gtest/gtest.h>

#include "packets.h"

namespace ztna::agent {
namespace {

using testing::at;
using testing::id;
using testing::kStart;
using testing::tcp;
using wire::ip::TcpFlags;

constexpr std::uint16_t kListener = 40'000;
constexpr std::uint8_t kSyn = TcpFlags::kSyn, kAck = TcpFlags::kAck, kFin = TcpFlags::kFin, kRst = TcpFlags::kRst;

struct Owner final : TcpReentryOwner {
  struct Begun {
    FlowId flow;
    wire::ServiceId service;
    SocketAddress dialled;
  };
  void on_flow_begun(FlowId flow, const wire::ServiceId& service, const SocketAddress& dialled) override {
    begun.push_back({flow, service, dialled});
  }
  void on_flow_ended(FlowId flow) override { ended.push_back(flow); }
  std::vector<Begun> begun;
  std::vector<FlowId> ended;
};

struct TcpReentryTest : ::testing::TestWithParam<bool> {
  TcpReentryTest() {
    reentry.set_listener(Family::v4, kListener);
    reentry.set_listener(Family::v6, kListener);
  }
  TunFate from_user(ByteVector packet, TimePoint now = kStart, PacketOffload offload = {}) {
    const auto view = wire::ip::parse_ip_packet(packet);
    return reentry.from_user(*view, offload, packet, id("web"), now);
  }
  TunFate from_listener(ByteVector packet, TimePoint now = kStart) {
    const auto view = wire::ip::parse_ip_packet(packet);
    return reentry.from_listener(*view, {}, packet, now);
  }
  /// A SYN of the user's, handed in and accepted. Returns the address that stands for the connection.
  SocketAddress establish() {
    from_user(tcp(user, service, kSyn));
    reentry.connected(owner.begun.back().flow, kStart);
    const auto peer = tun.take().view().source();
    EXPECT_TRUE(reentry.accepted(peer, kStart));
    return peer;
  }

  const bool v6 = GetParam();
  const SocketAddress user = v6 ? at("fd5a:7a74:6e61::fffe", 5000) : at("10.100.0.254", 5000);
  const SocketAddress service = v6 ? at("fd5a:7a74:6e61::5", 80) : at("10.100.0.5", 80);
  const SocketAddress local = v6 ? at("fd5a:7a74:6e61::fffe", kListener) : at("10.100.0.254", kListener);
  const IpAddress peer_ip = v6 ? testing::ip("fd5a:7a74:6e61::fffd") : testing::ip("10.100.0.253");
  testing::FakeTun tun;
  Owner owner;
  ErrorSender errors{tun, testing::own_addresses()};
  TcpReentry reentry{testing::own_addresses(), tun, errors, owner};
};
INSTANTIATE_TEST_SUITE_P(Families, TcpReentryTest, ::testing::Bool(),
                         [](const auto& p) { return p.param ? "v6" : "v4"; });

TEST_P(TcpReentryTest, ACheckIsAnsweredByTheListenerOnly) {
  const auto family = v6 ? Family::v6 : Family::v4;
  EXPECT_FALSE(reentry.listener_answered(family));
  reentry.check_listener(family);
  const auto syn = tun.take();
  ASSERT_TRUE(wire::ip::verify_checksums(syn.view()));
  EXPECT_EQ(syn.view().destination(), local);
  EXPECT_EQ(syn.view().src, peer_ip);
  EXPECT_LT(syn.view().src_port, TcpReentry::kFirstPort);
  const auto from = syn.view().source();
  EXPECT_EQ(reentry.listener_answered(family), false);
  from_listener(tcp(local, {from.ip, static_cast<std::uint16_t>(from.port - 1)}, kSyn | kAck));
  from_listener(tcp(local, from, kRst | kAck));
  from_listener(tcp(at(v6 ? "fd5a:7a74:6e61::fffe" : "10.100.0.254", kListener + 1), from, kSyn | kAck));
  EXPECT_EQ(reentry.listener_answered(family), false);
  EXPECT_EQ(from_listener(tcp(local, from, kSyn | kAck)), TunFate::tcp_stray);
  EXPECT_EQ(reentry.listener_answered(family), true);
  reentry.check_listener(family);  // anew, from another port
  EXPECT_EQ(reentry.listener_answered(family), false);
}

TEST_P(TcpReentryTest, ACheckOfTheFirewallIsAnsweredWithoutTheBackend) {
  const SocketAddress checked{service.ip, TcpReentry::kCheckPort};
  EXPECT_EQ(from_user(tcp(user, checked, kAck)), TunFate::tcp_stray);  // first a refusal
  EXPECT_TRUE(tun.take().tcp().has(kRst));
  auto broken = tcp(user, checked, kSyn);
  broken.back() ^= 1U;
  EXPECT_EQ(from_user(broken), TunFate::bad_checksum);
  EXPECT_TRUE(tun.written.empty());
  const auto syn = tcp(user, checked, kSyn);
  EXPECT_EQ(from_user(syn), TunFate::syn_answered);
  const auto answer = tun.take();
  ASSERT_TRUE(wire::ip::verify_checksums(answer.view()));
  EXPECT_EQ(answer.view().source(), checked);
  EXPECT_EQ(answer.view().destination(), user);
  EXPECT_TRUE(answer.tcp().has(kSyn) && answer.tcp().has(kAck) && !answer.tcp().has(kRst));
  EXPECT_EQ(answer.tcp().ack, wire::ip::tcp_of(*wire::ip::parse_ip_packet(syn))->seq + 1);
  EXPECT_TRUE(owner.begun.empty());
  EXPECT_EQ(reentry.flows(), 0U);
  tun.full = true;
  EXPECT_EQ(from_user(tcp(user, checked, kSyn)), TunFate::tun_full);
}

TEST_P(TcpReentryTest, ForeignAcceptsAreRefusedAndCounted) {
  EXPECT_FALSE(reentry.accepted({peer_ip, 1024}, kStart));  // nothing is held
  from_user(tcp(user, service, kSyn));
  EXPECT_FALSE(reentry.accepted({peer_ip, 1024}, kStart));  // held, but nothing was handed in
  reentry.connected(owner.begun[0].flow, kStart);
  const auto peer = tun.take().view().source();
  EXPECT_FALSE(reentry.accepted({peer.ip, static_cast<std::uint16_t>(peer.port + 1)}, kStart));
  EXPECT_FALSE(reentry.accepted({user.ip, peer.port}, kStart));
  EXPECT_EQ(reentry.accepted(peer, kStart), owner.begun[0].flow);
  EXPECT_FALSE(reentry.accepted(peer, kStart));  // once
  EXPECT_EQ(reentry.foreign_accepts().value(), 5U);
}

TEST_P(TcpReentryTest, SegmentsOfNoConnectionAreAnsweredWithReset) {
  EXPECT_EQ(from_user(tcp(user, service, kAck)), TunFate::tcp_stray);
  const auto reset = tun.take();
  EXPECT_TRUE(reset.tcp().has(kRst));
  EXPECT_EQ(reset.view().source(), service);
  EXPECT_EQ(reset.view().destination(), user);
  EXPECT_EQ(from_user(tcp(user, service, kRst)), TunFate::tcp_stray);  // never answered
  EXPECT_TRUE(tun.written.empty());
  EXPECT_TRUE(owner.begun.empty());
}

TEST_P(TcpReentryTest, BadChecksumOfASynBeginsNothing) {
  auto packet = tcp(user, service, kSyn);
  packet.back() ^= 1U;
  EXPECT_EQ(from_user(packet), TunFate::bad_checksum);
  EXPECT_EQ(reentry.flows(), 0U);
}

TEST_P(TcpReentryTest, OnlyTheListenerMaySpeakToTheReentryAddress) {
  const auto peer = establish();
  EXPECT_EQ(from_listener(tcp({local.ip, 1}, peer, kAck)), TunFate::tcp_foreign_return);
  EXPECT_EQ(from_listener(tcp({service.ip, kListener}, peer, kAck)), TunFate::tcp_foreign_return);
  EXPECT_TRUE(tun.written.empty());
  EXPECT_EQ(from_listener(tcp(local, {peer.ip, static_cast<std::uint16_t>(peer.port + 9)}, kAck)), TunFate::tcp_stray);
  EXPECT_TRUE(tun.take().tcp().has(kRst));
}

TEST_P(TcpReentryTest, SynIsHeldUntilTheBackendAccepted) {
  EXPECT_EQ(from_user(tcp(user, service, kSyn)), TunFate::syn_held);
  ASSERT_EQ(owner.begun.size(), 1U);
  EXPECT_EQ(owner.begun[0].service, id("web"));
  EXPECT_EQ(owner.begun[0].dialled, service);
  EXPECT_EQ(from_user(tcp(user, service, kSyn), kStart + 1s), TunFate::syn_repeated);
  EXPECT_TRUE(tun.written.empty());
  EXPECT_EQ(reentry.held(), 1U);

  reentry.connected(owner.begun[0].flow, kStart + 2s);
  const auto syn = tun.take();
  EXPECT_EQ(syn.view().src, peer_ip);
  EXPECT_EQ(syn.view().destination(), local);
  EXPECT_TRUE(syn.tcp().has(kSyn));
  EXPECT_TRUE(wire::ip::verify_checksums(syn.view()));
  EXPECT_EQ(reentry.held(), 0U);

  const auto peer = syn.view().source();
  EXPECT_EQ(from_listener(tcp(local, peer, kSyn | kAck)), TunFate::tcp_return);
  const auto answer = tun.take();
  EXPECT_EQ(answer.view().source(), service);
  EXPECT_EQ(answer.view().destination(), user);
  EXPECT_TRUE(wire::ip::verify_checksums(answer.view()));

  EXPECT_EQ(from_user(tcp(user, service, kAck, 101, 900)), TunFate::tcp_reentry);
  const auto data = tun.take();
  EXPECT_EQ(data.view().source(), peer);
  EXPECT_TRUE(wire::ip::verify_checksums(data.view()));
}

TEST_P(TcpReentryTest, SuperPacketsStayWholeAndPartialSumsPartial) {
  establish();
  auto packet = tcp(user, service, kAck, 101, 40'000);
  const auto l4 = Bytes{packet}.subspan(v6 ? 40 : 20);
  const auto partial =
      wire::ip::pseudo_header_sum(user.ip, service.ip, wire::ip::Protocol::tcp, static_cast<std::uint32_t>(l4.size()));
  const std::size_t start = v6 ? 40 : 20;
  testing::put_u16(packet, start + 16, partial);
  PacketOffload offload;
  offload.needs_csum = true;
  offload.csum_start = static_cast<std::uint16_t>(start);
  offload.csum_offset = 16;
  offload.gso_type = v6 ? 4 : 1;
  offload.gso_size = 1200;
  EXPECT_EQ(from_user(packet, kStart, offload), TunFate::tcp_reentry);
  const auto out = tun.take();
  EXPECT_EQ(out.offload, offload);
  EXPECT_EQ(out.packet.size(), packet.size());
  const auto expected =
      wire::ip::pseudo_header_sum(peer_ip, local.ip, wire::ip::Protocol::tcp, static_cast<std::uint32_t>(l4.size()));
  EXPECT_EQ(out.packet[start + 16] << 8 | out.packet[start + 17], expected);
}

TEST_P(TcpReentryTest, RefusalsReachTheUser) {
  from_user(tcp(user, service, kSyn, 700));
  reentry.refuse(owner.begun[0].flow);
  const auto reset = tun.take();
  EXPECT_TRUE(reset.tcp().has(kRst) && reset.tcp().has(kAck));
  EXPECT_EQ(reset.tcp().ack, 701U);
  EXPECT_EQ(reset.view().destination(), user);
  EXPECT_EQ(reentry.flows(), 0U);

  from_user(tcp(user, service, kSyn, 800));
  reentry.unreachable(owner.begun[1].flow, kStart);
  const auto unreachable = tun.take();
  EXPECT_EQ(unreachable.view().icmp_type, v6 ? 1 : 3);
  EXPECT_EQ(unreachable.view().icmp_code, v6 ? 3 : 1);
  EXPECT_EQ(unreachable.view().dst, user.ip);

  from_user(tcp(user, service, kSyn, 900));
  reentry.forget(owner.begun[2].flow);
  EXPECT_TRUE(tun.written.empty());
  EXPECT_EQ(from_user(tcp(user, service, kSyn, 900)), TunFate::syn_held);  // the kernel tries again
  EXPECT_TRUE(owner.ended.empty());
}

TEST_P(TcpReentryTest, AnswerForAFlowThatEndedIsIgnored) {
  from_user(tcp(user, service, kSyn));
  const auto flow = owner.begun[0].flow;
  EXPECT_EQ(from_user(tcp(user, service, kRst)), TunFate::tcp_stray);
  EXPECT_EQ(owner.ended, std::vector<FlowId>{flow});
  reentry.connected(flow, kStart);
  reentry.refuse(flow);
  reentry.unreachable(flow, kStart);
  EXPECT_TRUE(tun.written.empty());
}

TEST_P(TcpReentryTest, ResetBeforeAcceptTellsTheOwner) {
  from_user(tcp(user, service, kSyn));
  reentry.connected(owner.begun[0].flow, kStart);
  const auto peer = tun.take().view().source();
  EXPECT_EQ(from_user(tcp(user, service, kRst)), TunFate::tcp_reentry);
  EXPECT_EQ(owner.ended.size(), 1U);
  EXPECT_FALSE(reentry.accepted(peer, kStart));
  EXPECT_EQ(reentry.foreign_accepts().value(), 0U);  // it was ours
}

TEST_P(TcpReentryTest, FlowIsForgottenAfterBothFins) {
  const auto peer = establish();
  from_user(tcp(user, service, kFin | kAck));
  reentry.expire(kStart + TcpReentry::kClosingTimeout + 2s);
  EXPECT_EQ(reentry.flows(), 1U);  // half-closed lives on
  from_listener(tcp(local, peer, kFin | kAck), kStart + 20s);
  reentry.expire(kStart + 20s + TcpReentry::kClosingTimeout);
  EXPECT_EQ(reentry.flows(), 0U);
  EXPECT_EQ(reentry.deadline(), kNever);
}

TEST_P(TcpReentryTest, NobodyAcceptsAndIdleFlowsEnd) {
  from_user(tcp(user, service, kSyn));
  reentry.connected(owner.begun[0].flow, kStart);
  reentry.expire(kStart + TcpReentry::kAcceptTimeout);
  EXPECT_EQ(owner.ended.size(), 1U);
  tun.written.clear();
  establish();
  reentry.expire(kStart + TcpReentry::kAcceptTimeout + TcpReentry::kIdleTimeout + 2s);
  EXPECT_EQ(owner.ended.size(), 2U);
}

TEST_P(TcpReentryTest, UserReusesItsPort) {
  establish();
  EXPECT_EQ(from_user(tcp(user, service, kSyn, 9999)), TunFate::syn_held);
  EXPECT_EQ(owner.ended.size(), 1U);
  EXPECT_EQ(owner.begun.size(), 2U);
}

TEST_P(TcpReentryTest, HeldFlowsAreBounded) {
  std::size_t limited = 0;
  for (std::uint32_t i = 0; i < TcpReentry::kMaxHeld + 100; ++i) {
    const SocketAddress from{user.ip, static_cast<std::uint16_t>(1024 + i)};
    if (from_user(tcp(from, service, kSyn)) == TunFate::tcp_limit) ++limited;
  }
  EXPECT_EQ(limited, 100U);
  EXPECT_EQ(reentry.held(), TcpReentry::kMaxHeld);
  EXPECT_EQ(reentry.flows(), TcpReentry::kMaxHeld);
}

TEST_P(TcpReentryTest, FullTunIsCounted) {
  establish();
  tun.full = true;
  EXPECT_EQ(from_user(tcp(user, service, kAck, 101, 10)), TunFate::tun_full);
}

}  // namespace
}  // namespace ztna::agent
