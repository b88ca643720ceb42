#include "connector/service.h"

#include <gtest/gtest.h>

#include "unit/connector/fakes.h"

namespace ztna::connector {
namespace {

using test::address;
using test::ip;

Service make(std::vector<PortRange> ports, std::uint16_t backend_port = 0, std::vector<IpAddress> pinned = {}) {
  return Service{{test::service_id("web"), "10.0.0.5", backend_port, std::move(ports), std::move(pinned)}};
}

TEST(Decide, NothingIsReachableWithoutPorts) {
  const auto service = make({});
  for (const auto transport : {Transport::tcp, Transport::udp}) {
    const auto decided = decide(service, transport, 80);
    ASSERT_FALSE(decided);
    EXPECT_EQ(decided.error(), Refusal::wrong_protocol);
  }
}

TEST(Decide, OtherTransportsAndPortsAreRefused) {
  const auto service = make({{Transport::tcp, 80, 80}, {Transport::udp, 7000, 7010}, {Transport::udp, 9000, 9000}});
  EXPECT_EQ(decide(service, Transport::tcp, 79).error(), Refusal::wrong_port);
  EXPECT_EQ(decide(service, Transport::tcp, 81).error(), Refusal::wrong_port);
  EXPECT_EQ(decide(service, Transport::tcp, 7005).error(), Refusal::wrong_port);
  EXPECT_EQ(decide(service, Transport::udp, 80).error(), Refusal::wrong_port);
  EXPECT_EQ(decide(service, Transport::udp, 6999).error(), Refusal::wrong_port);
  EXPECT_EQ(decide(service, Transport::udp, 7011).error(), Refusal::wrong_port);
  EXPECT_EQ(decide(service, Transport::udp, 0).error(), Refusal::wrong_port);
  EXPECT_EQ(decide(make({{Transport::udp, 53, 53}}), Transport::tcp, 53).error(), Refusal::wrong_protocol);
}

TEST(Decide, RangesKeepThePortAndAFixedBackendPortReplacesIt) {
  EXPECT_EQ(decide(make({{Transport::udp, 7000, 7010}}), Transport::udp, 7000), 7000);
  EXPECT_EQ(decide(make({{Transport::udp, 7000, 7010}}), Transport::udp, 7010), 7010);
  EXPECT_EQ(decide(make({{Transport::tcp, 80, 80}}, 8080), Transport::tcp, 80), 8080);
  EXPECT_EQ(decide(make({{Transport::tcp, 1, 65535}}), Transport::tcp, 65535), 65535);
}

TEST(Decide, APinnedAddressIsTheOnlyOneOfItsFamily) {
  auto service = make({{Transport::udp, 53, 53}}, 0, {ip("10.100.0.9")});
  EXPECT_EQ(decide(service, Transport::udp, address("10.100.0.8:53")).error(), Refusal::wrong_service_ip);
  EXPECT_EQ(decide(service, Transport::udp, address("[fd5a:7a74:6e61::9]:53")).error(), Refusal::wrong_service_ip);
  EXPECT_EQ(decide(service, Transport::udp, address("10.100.0.9:53")), 53);
  service.set_registered(0, {ip("10.100.0.8"), ip("fd5a:7a74:6e61::9")});
  EXPECT_EQ(decide(service, Transport::udp, address("10.100.0.8:53")).error(), Refusal::wrong_service_ip)
      << "what an Intermediate says does not widen a pin";
  EXPECT_EQ(decide(service, Transport::udp, address("[fd5a:7a74:6e61::9]:53")), 53);
  EXPECT_EQ(decide(service, Transport::udp, address("[fd5a:7a74:6e61::a]:53")).error(), Refusal::wrong_service_ip);
}

TEST(Decide, WithoutAPinTheAgentsChoiceOfAddressStands) {
  const auto service = make({{Transport::udp, 53, 53}});
  EXPECT_EQ(decide(service, Transport::udp, address("10.100.0.77:53")), 53);
}

TEST(ServiceTable, ReplaceTellsWhatChangedAndKeepsTheRest) {
  const auto define = [](const char* id, std::uint16_t port) {
    return ServiceDefinition{test::service_id(id), "10.0.0.5", port, {{Transport::tcp, 80, 80}}, {}};
  };
  ServiceTable table;
  auto change = table.replace({define("a", 1), define("b", 1), define("b", 2)});
  EXPECT_EQ(change.added.size(), 2U);
  EXPECT_EQ(table.find(test::service_id("b"))->definition().backend_port, 1) << "of two with one id the first counts";
  const auto* kept = table.find(test::service_id("a"));
  change = table.replace({define("a", 1), define("b", 3), define("c", 1)});
  EXPECT_EQ(table.find(test::service_id("a")), kept);
  EXPECT_EQ(change.added, std::vector{test::service_id("c")});
  EXPECT_EQ(change.changed, std::vector{test::service_id("b")});
  EXPECT_TRUE(change.removed.empty());
  EXPECT_EQ(change.old.size(), 1U);
  change = table.replace({});
  EXPECT_EQ(change.removed.size(), 3U);
  EXPECT_EQ(table.find(test::service_id("a")), nullptr);
}

}  // namespace
}  // namespace ztna::connector
