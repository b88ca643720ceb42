#include "connector/udp_flows.h"

#include <gtest/gtest.h>

#include "unit/connector/fakes.h"
#include "wire/ip/checksum.h"
#include "wire/ip/ip_header.h"

namespace ztna::connector {
namespace {

using namespace test;

struct Tunnel {
  Tunnel(const UdpShared& shared, Quotas& quotas, const std::string& agent)
      : usage(*quotas.acquire(agent)), flows(shared, usage, output) {}
  AgentUsage& usage;
  FakeOutput output;
  UdpFlows flows;
};

class UdpFlowsTest : public ::testing::Test {
 protected:
  static Limits small_limits() {
    Limits limits;
    limits.udp_flows_per_agent = 3;
    limits.sockets = 4;
    limits.icmp_errors_per_second = 2;
    return limits;
  }

  void forward(Tunnel& tunnel, const char* from, Bytes data, const char* to = "10.100.0.2:53",
               wire::ServiceHandle handle = kHandle) {
    const auto packet = *wire::ip::build_udp_packet(address(from), address(to), data);
    const auto view = *wire::ip::parse_ip_packet(packet);
    tunnel.flows.forward(handle, service, 5353, view, use, now);
  }
  void flush() { batch.flush(now); }

  TimePoint now{1000s};
  FakeBackends backends;
  FakeResolver resolver;
  BackendNames names{resolver};
  PacketArena arena;
  UdpBatch batch;
  Quotas quotas{small_limits()};
  CounterSet<PacketFate> fates;
  UdpCounts counts;
  UdpShared shared{backends, names, arena, batch, quotas, fates, counts};
  Service service{{service_id("dns"), "10.0.0.5", 5353, {{Transport::udp, 53, 53}}, {}}};
  ServiceUse use;
};

TEST_F(UdpFlowsTest, AnAgentHasALimitOfFlows) {
  Tunnel a{shared, quotas, "a"};
  for (const char* from : {"10.100.0.254:1", "10.100.0.254:2", "10.100.0.254:3", "10.100.0.254:4"}) {
    forward(a, from, payload(4));
  }
  flush();
  EXPECT_EQ(a.flows.size(), 3U);
  EXPECT_EQ(fates.value(PacketFate::flow_limit), 1U);
  EXPECT_EQ(fates.value(PacketFate::forwarded_udp), 3U);
}

TEST_F(UdpFlowsTest, TheLimitHoldsOverAllTunnelsOfAnAgentAndOverAllAgents) {
  Tunnel first{shared, quotas, "a"};
  Tunnel second{shared, quotas, "a"};
  Tunnel other{shared, quotas, "b"};
  forward(first, "10.100.0.254:1", payload(1));
  forward(first, "10.100.0.254:2", payload(1));
  forward(second, "10.100.0.254:1", payload(1));
  forward(second, "10.100.0.254:2", payload(1));
  EXPECT_EQ(fates.value(PacketFate::flow_limit), 1U);
  forward(other, "10.100.0.254:1", payload(1));
  forward(other, "10.100.0.254:2", payload(1));
  flush();
  EXPECT_EQ(fates.value(PacketFate::flow_limit), 2U) << "four sockets in all";
  first.flows.close(kHandle);
  forward(other, "10.100.0.254:2", payload(1));
  flush();
  EXPECT_EQ(fates.value(PacketFate::flow_limit), 2U) << "closed flows give their place back";
}

TEST_F(UdpFlowsTest, AnUnknownBackendNameIsCountedAndToldAndAskedForOnce) {
  Service named{{service_id("dns"), "dns.lan", 5353, {{Transport::udp, 53, 53}}, {}}};
  Tunnel a{shared, quotas, "a"};
  const auto packet = *wire::ip::build_udp_packet(address("10.100.0.254:1"), address("10.100.0.2:53"), payload(4));
  const auto view = *wire::ip::parse_ip_packet(packet);
  a.flows.forward(kHandle, named, 5353, view, use, now);
  a.flows.forward(kHandle, named, 5353, view, use, now);
  EXPECT_EQ(fates.value(PacketFate::backend_unknown), 2U);
  EXPECT_EQ(resolver.asked.size(), 1U);
  EXPECT_EQ(a.output.packets.size(), 2U) << "host unreachable";
  EXPECT_EQ(quotas.sockets(), 0U);
  resolver.answer({ip("10.0.0.6")});
  a.flows.forward(kHandle, named, 5353, view, use, now);
  flush();
  ASSERT_EQ(backends.udp.size(), 1U);
  EXPECT_EQ(backends.udp[0].backend, address("10.0.0.6:5353"));
}

TEST_F(UdpFlowsTest, ABackendWithoutAWayIsToldAsHostUnreachable) {
  backends.refuses[address("10.0.0.5:5353")] = Errc::unreachable;
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:1", payload(4));
  EXPECT_EQ(fates.value(PacketFate::backend_unreachable), 1U);
  EXPECT_EQ(a.flows.size(), 0U);
  EXPECT_EQ(quotas.sockets(), 0U);
  ASSERT_EQ(a.output.packets.size(), 1U);
  const auto error = *wire::ip::parse_ip_packet(a.output.packets[0].second);
  EXPECT_EQ(error.icmp_type, wire::ip::IcmpView::kV4Unreachable);
  EXPECT_EQ(error.icmp_code, 1);
}

TEST_F(UdpFlowsTest, ARefusalQuotesTheApplicationsOwnHeaderAndIsRateLimited) {
  for (const bool v6 : {false, true}) {
    SCOPED_TRACE(v6);
    Tunnel a{shared, quotas, v6 ? "six" : "four"};
    const char* from = v6 ? "[fd5a:7a74:6e61::fffe]:4000" : "10.100.0.254:4000";
    const char* to = v6 ? "[fd5a:7a74:6e61::2]:53" : "10.100.0.2:53";
    forward(a, from, payload(40), to);
    flush();
    auto& socket = backends.udp.back();
    socket.events->on_backend_error(SendStatus::refused, now);
    ASSERT_EQ(a.output.packets.size(), 1U);
    const auto error = *wire::ip::parse_ip_packet(a.output.packets[0].second);
    EXPECT_TRUE(wire::ip::verify_checksums(error));
    EXPECT_EQ(error.icmp_type, v6 ? wire::ip::IcmpView::kV6Unreachable : wire::ip::IcmpView::kV4Unreachable);
    EXPECT_EQ(error.icmp_code, v6 ? 4 : 3) << "port unreachable";
    EXPECT_EQ(error.src, address(to).ip);
    EXPECT_EQ(error.dst, address(from).ip);
    const auto original = *wire::ip::build_udp_packet(address(from), address(to), payload(40));
    const auto headers = wire::ip::udp_headers_size(v6 ? Family::v6 : Family::v4);
    ASSERT_GE(error.l4_payload.size(), headers);
    EXPECT_TRUE(equal(error.l4_payload.first(headers), Bytes{original}.first(headers)));
    socket.events->on_backend_error(SendStatus::refused, now);
    socket.events->on_backend_error(SendStatus::refused, now);
    EXPECT_EQ(a.output.packets.size(), 2U) << "two a second in this test";
    socket.events->on_backend_error(SendStatus::refused, now + 1s);
    EXPECT_EQ(a.output.packets.size(), 3U);
  }
  EXPECT_EQ(fates.value(PacketFate::error_limited), 2U);
}

/// A UDP packet whose sender wants an error rather than fragments. IPv4: DF; IPv6: always.
ByteVector whole_packet(const char* from, const char* to, Bytes data) {
  auto packet = *wire::ip::build_udp_packet(address(from), address(to), data);
  if (packet[0] >> 4U == 4) {
    packet[6] = 0x40;
    packet[10] = packet[11] = 0;
    wire::ip::put_u16(MutableBytes{packet}.subspan(10), wire::ip::checksum(Bytes{packet}.first(20)));
  }
  return packet;
}

TEST_F(UdpFlowsTest, APacketThatMustStayWholeIsToldWhatTheWayTakes) {
  const Service over6{{service_id("dns"), "fd00::5", 5353, {{Transport::udp, 53, 53}}, {}}};
  struct Case {
    bool user6, backend6;
    std::size_t path_mtu, fits, told;
  };
  for (const auto& c :
       {Case{false, false, 1400, 1372, 1400}, Case{true, true, 1400, 1352, 1400}, Case{false, true, 1400, 1352, 1380},
        Case{true, false, 1400, 1372, 1420}, Case{false, false, 1000, 972, 1000}}) {
    SCOPED_TRACE(fmt::format("user {} backend {} mtu {}", c.user6 ? 6 : 4, c.backend6 ? 6 : 4, c.path_mtu));
    backends.path_mtu = c.path_mtu;
    Tunnel a{shared, quotas, "a"};
    const char* from = c.user6 ? "[fd5a:7a74:6e61::fffe]:4000" : "10.100.0.254:4000";
    const char* to = c.user6 ? "[fd5a:7a74:6e61::2]:53" : "10.100.0.2:53";
    const auto send = [&](std::size_t size) {
      const auto packet = whole_packet(from, to, payload(size));
      a.flows.forward(kHandle, c.backend6 ? over6 : service, 5353, *wire::ip::parse_ip_packet(packet), use, now);
      flush();
    };
    now += 10s;  // errors are limited
    send(c.fits + 1);
    auto& socket = backends.udp.back();
    EXPECT_TRUE(socket.sent.empty());
    ASSERT_EQ(a.output.packets.size(), 1U);
    const auto error = *wire::ip::parse_ip_packet(a.output.packets[0].second);
    EXPECT_TRUE(wire::ip::verify_checksums(error));
    EXPECT_EQ(error.icmp_type, c.user6 ? 2 : 3);
    EXPECT_EQ(error.icmp_code, c.user6 ? 0 : 4);
    const auto rest = error.l4().subspan(4, 4);
    EXPECT_EQ(std::size_t{rest[2]} << 8U | rest[3], c.told);
    EXPECT_EQ(error.src, address(to).ip);
    send(c.fits);
    EXPECT_EQ(socket.sent.size(), 1U);
    EXPECT_EQ(a.output.packets.size(), 1U);
    socket.path_mtu = 1500;  // the kernel forgets what routers said after ten minutes
    send(c.fits + 1);
    EXPECT_EQ(socket.sent.size(), 2U);
    arena.release();
  }
  EXPECT_EQ(fates.value(PacketFate::backend_too_large), 5U);
  EXPECT_EQ(fates.value(PacketFate::error_sent), 5U);
}

TEST_F(UdpFlowsTest, APacketThatMayBeFragmentedIs) {
  backends.path_mtu = 1400;
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:4000", payload(8000));  // DF is clear
  const auto whole = *wire::ip::build_udp_packet(address("[fd5a:7a74:6e61::fffe]:4000"),
                                                 address("[fd5a:7a74:6e61::2]:53"), payload(8000));
  ByteVector was_fragments{whole};
  was_fragments[6] = 44;
  wire::ip::put_u16(MutableBytes{was_fragments}.subspan(4), static_cast<std::uint16_t>(whole.size() - 40 + 8));
  was_fragments.insert(was_fragments.begin() + 40, {17, 0, 0, 0, 0, 0, 0, 0});
  a.flows.forward(kHandle, service, 5353, *wire::ip::parse_ip_packet(was_fragments), use, now);
  // Below 1,280 no IPv6 sender has to go (RFC 8200 5).
  backends.path_mtu = 1200;
  const auto small = *wire::ip::build_udp_packet(address("[fd5a:7a74:6e61::fffe]:4001"),
                                                 address("[fd5a:7a74:6e61::2]:53"), payload(1232));
  a.flows.forward(kHandle, service, 5353, *wire::ip::parse_ip_packet(small), use, now);
  flush();
  EXPECT_EQ(fates.value(PacketFate::forwarded_udp), 3U);
  EXPECT_TRUE(a.output.packets.empty());
}

TEST_F(UdpFlowsTest, ARoutersErrorIsPassedOnToWhoWantsOne) {
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:4000", payload(1300));
  flush();
  auto& socket = backends.udp.back();
  socket.path_mtu = 1200;
  socket.events->on_backend_error(SendStatus::too_large, now);
  EXPECT_TRUE(a.output.packets.empty()) << "the kernel fragments from now on";
  const auto packet = whole_packet("10.100.0.254:4000", "10.100.0.2:53", payload(1100));
  a.flows.forward(kHandle, service, 5353, *wire::ip::parse_ip_packet(packet), use, now);
  socket.path_mtu = 1000;
  socket.events->on_backend_error(SendStatus::too_large, now);
  ASSERT_EQ(a.output.packets.size(), 1U);
  const auto error = *wire::ip::parse_ip_packet(a.output.packets[0].second);
  EXPECT_EQ(error.icmp_type, 3);
  EXPECT_EQ(error.icmp_code, 4);
  EXPECT_EQ(fates.value(PacketFate::backend_too_large), 0U) << "that packet's fate was counted when it left";
}

TEST_F(UdpFlowsTest, AnErrorThatTheTunnelDoesNotTakeIsCounted) {
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:1", payload(4));
  flush();
  a.output.full = true;
  backends.udp[0].events->on_backend_error(SendStatus::refused, now);
  EXPECT_EQ(fates.value(PacketFate::error_queue_full), 1U);
  EXPECT_EQ(fates.value(PacketFate::error_sent), 0U);
}

TEST_F(UdpFlowsTest, ARefusalThatMeantAnEarlierDatagramDoesNotEatThisOne) {
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:1", payload(4));
  flush();
  backends.udp[0].answers = {{SendStatus::refused}};
  forward(a, "10.100.0.254:1", payload(5));
  flush();
  EXPECT_EQ(backends.udp[0].sent.size(), 2U);
  EXPECT_EQ(a.output.packets.size(), 1U);
  backends.udp[0].answers = {{SendStatus::refused}, {SendStatus::refused}};
  forward(a, "10.100.0.254:1", payload(6));
  flush();
  EXPECT_EQ(fates.value(PacketFate::backend_refused), 1U);
  backends.udp[0].answers = {{SendStatus::busy}};
  forward(a, "10.100.0.254:1", payload(6));
  flush();
  EXPECT_EQ(fates.value(PacketFate::backend_busy), 1U);
  EXPECT_EQ(use.octets_to_backend, 9U) << "what was not sent is not counted";
}

TEST_F(UdpFlowsTest, EachDatagramOfARowHasItsOwnFate) {
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:1", payload(4));
  flush();
  backends.udp[0].answers = {{SendStatus::too_large, 25, 2, 15}};  // 10 octets were too large
  for (const std::size_t size : {10U, 10U, 5U}) forward(a, "10.100.0.254:1", payload(size));
  flush();
  EXPECT_EQ(fates.value(PacketFate::backend_too_large), 1U);
  EXPECT_EQ(fates.value(PacketFate::forwarded_udp), 3U);
  EXPECT_EQ(use.octets_to_backend, 19U);
}

TEST_F(UdpFlowsTest, ARefusalInTheMiddleOfARowSendsNothingTwice) {
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:1", payload(4));
  flush();
  backends.udp[0].answers = {{SendStatus::refused, 10, 1, 10}};
  for (const std::size_t size : {10U, 10U, 5U}) forward(a, "10.100.0.254:1", payload(size));
  flush();
  ASSERT_EQ(backends.udp[0].sent.size(), 2U);
  EXPECT_EQ(backends.udp[0].sent[1].first.size(), 15U);
  EXPECT_EQ(fates.value(PacketFate::forwarded_udp), 4U);
  EXPECT_EQ(use.octets_to_backend, 29U);
}

TEST_F(UdpFlowsTest, WhatWasTooLargeBeforeARefusalIsCountedAsThat) {
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:1", payload(4));
  flush();
  backends.udp[0].answers = {{SendStatus::refused, 20, 1, 10}};  // one of the first two was too large
  for (const std::size_t size : {10U, 10U, 5U}) forward(a, "10.100.0.254:1", payload(size));
  flush();
  EXPECT_EQ(fates.value(PacketFate::backend_too_large), 1U);
  EXPECT_EQ(fates.value(PacketFate::forwarded_udp), 3U);
}

TEST_F(UdpFlowsTest, RepliesThatDoNotFitOrFindNoRoomAreCounted) {
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:1", payload(4));
  flush();
  backends.udp[0].events->on_backend_datagrams(payload(65'508), 65'508, now);
  EXPECT_EQ(fates.value(PacketFate::reply_too_large), 1U);
  a.output.full = true;
  backends.udp[0].events->on_backend_datagrams(payload(4), 4, now);
  EXPECT_EQ(fates.value(PacketFate::reply_queue_full), 1U);
  EXPECT_TRUE(a.output.packets.empty());
}

TEST_F(UdpFlowsTest, AgentsWithEqualPortsNeverMeet) {
  Tunnel a{shared, quotas, "a"};
  Tunnel b{shared, quotas, "b"};
  forward(a, "10.100.0.254:4000", payload(4, 'a'));
  forward(b, "10.100.0.254:4000", payload(4, 'b'));
  flush();
  ASSERT_EQ(backends.udp.size(), 2U) << "a socket each";
  EXPECT_EQ(backends.udp[0].sent[0].first, payload(4, 'a'));
  EXPECT_EQ(backends.udp[1].sent[0].first, payload(4, 'b'));
  backends.udp[1].events->on_backend_datagrams(payload(4, 'B'), 4, now);
  EXPECT_TRUE(a.output.packets.empty());
  ASSERT_EQ(b.output.packets.size(), 1U);
}

TEST_F(UdpFlowsTest, HandlesAndDestinationsAreFlowsOfTheirOwn) {
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:4000", payload(4));
  forward(a, "10.100.0.254:4000", payload(4), "10.100.0.3:53");
  forward(a, "10.100.0.254:4000", payload(4), "10.100.0.2:53", wire::ServiceHandle{8});
  EXPECT_EQ(a.flows.size(), 3U);
  forward(a, "10.100.0.254:4000", payload(4));
  EXPECT_EQ(a.flows.size(), 3U);
  a.flows.close(wire::ServiceHandle{8});
  EXPECT_EQ(a.flows.size(), 2U);
}

TEST_F(UdpFlowsTest, RepliesOfEverySizeComeBackAsPackets) {
  for (const bool v6 : {false, true}) {
    Tunnel a{shared, quotas, v6 ? "six" : "four"};
    const char* from = v6 ? "[fd5a:7a74:6e61::fffe]:4000" : "10.100.0.254:4000";
    const char* to = v6 ? "[fd5a:7a74:6e61::2]:53" : "10.100.0.2:53";
    forward(a, from, payload(1), to);
    flush();
    for (const std::size_t size : {0UL, 1UL, 1199UL, 1500UL, 8972UL, 65'507UL}) {
      SCOPED_TRACE(size);
      a.output.packets.clear();
      const auto data = payload(size, 3);
      backends.udp.back().events->on_backend_datagrams(data, size, now);
      ASSERT_EQ(a.output.packets.size(), 1U);
      EXPECT_EQ(a.output.packets[0].first, kHandle);
      const auto packet = *wire::ip::parse_ip_packet(a.output.packets[0].second);
      EXPECT_TRUE(wire::ip::verify_checksums(packet));
      EXPECT_EQ(packet.source(), address(to));
      EXPECT_EQ(packet.destination(), address(from));
      EXPECT_TRUE(equal(packet.l4_payload, data));
    }
    arena.release();
  }
}

TEST_F(UdpFlowsTest, ARowOfRepliesBecomesPackets) {
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:1", payload(1));
  flush();
  backends.udp[0].events->on_backend_datagrams(payload(250), 100, now);
  ASSERT_EQ(a.output.packets.size(), 3U);
  EXPECT_EQ(wire::ip::parse_ip_packet(a.output.packets[2].second)->l4_payload.size(), 50U);
  EXPECT_EQ(fates.value(PacketFate::reply_forwarded), 3U);
  EXPECT_EQ(use.octets_to_agent, 250U);
}

TEST_F(UdpFlowsTest, ARunOfOneFlowLeavesInOneSend) {
  Tunnel a{shared, quotas, "a"};
  for (int i = 0; i < 10; ++i) forward(a, "10.100.0.254:1", payload(100));
  forward(a, "10.100.0.254:1", payload(60));   // shorter: the last of its row
  forward(a, "10.100.0.254:1", payload(100));  // begins another
  flush();
  ASSERT_EQ(backends.udp[0].sent.size(), 2U);
  EXPECT_EQ(backends.udp[0].sent[0].first.size(), 1060U);
  EXPECT_EQ(backends.udp[0].sent[0].second, 100U);
  EXPECT_EQ(fates.value(PacketFate::forwarded_udp), 12U);
  EXPECT_EQ(counts.packets_to_backend.value(), 12U);
}

TEST_F(UdpFlowsTest, OrderWithinAFlowIsKeptOverEmptyAndLargeDatagrams) {
  Tunnel a{shared, quotas, "a"};
  const std::vector<std::size_t> sizes{10, 0, 10, 65'507, 10, 11, 1400, 1401, 0, 0};
  for (const auto size : sizes) forward(a, "10.100.0.254:1", payload(size));
  forward(a, "10.100.0.254:2", payload(9));
  flush();
  std::vector<std::size_t> seen;
  for (const auto& [row, segment] : backends.udp[0].sent) {
    if (row.size() <= segment) {
      seen.push_back(row.size());
      continue;
    }
    for (std::size_t at = 0; at < row.size(); at += segment) seen.push_back(std::min(segment, row.size() - at));
  }
  EXPECT_EQ(seen, sizes);
  EXPECT_EQ(backends.udp[1].sent.size(), 1U);
}

TEST_F(UdpFlowsTest, IdleFlowsEndSoonerWhenNobodyAnswered) {
  Tunnel a{shared, quotas, "a"};
  forward(a, "10.100.0.254:1", payload(1));
  forward(a, "10.100.0.254:2", payload(1));
  flush();
  backends.udp[1].events->on_backend_datagrams(payload(1), 1, now);
  a.flows.expire(now + UdpFlows::kIdle - 1ms);
  EXPECT_EQ(a.flows.size(), 2U);
  a.flows.expire(now + UdpFlows::kIdle);
  EXPECT_EQ(a.flows.size(), 1U);
  EXPECT_EQ(backends.udp[0].events, nullptr) << "socket closed";
  EXPECT_NE(backends.udp[1].events, nullptr);
  now += UdpFlows::kIdleReplied - 1ms;
  forward(a, "10.100.0.254:2", payload(1));  // in use again
  flush();
  a.flows.expire(now + UdpFlows::kIdleReplied - 1ms);
  EXPECT_EQ(a.flows.size(), 1U);
  a.flows.expire(now + UdpFlows::kIdleReplied);
  EXPECT_EQ(a.flows.size(), 0U);
  EXPECT_EQ(counts.flows.value(), 0U);
  EXPECT_EQ(quotas.sockets(), 0U);
}

TEST_F(UdpFlowsTest, WhatABatchHoldsLeavesBeforeItsFlowEnds) {
  {
    Tunnel a{shared, quotas, "a"};
    forward(a, "10.100.0.254:1", payload(8));
  }
  ASSERT_EQ(backends.udp[0].sent.size(), 1U);
  flush();
  EXPECT_EQ(backends.udp[0].sent.size(), 1U);
}

}  // namespace
}  // namespace ztna::connector
