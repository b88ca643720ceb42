#include "os/udp_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

#include "addresses.h"
#include "loop_util.h"
#include "network_namespace.h"
#include "os/steering.h"

namespace ztna::os {
namespace {

ByteVector pattern(std::size_t size, std::uint8_t seed = 1) {
  ByteVector v(size);
  std::iota(v.begin(), v.end(), seed);
  return v;
}

struct Datagram {
  SocketAddress from;
  SocketAddress local;
  ByteVector data;
};

/// Reads datagrams until `count` have come.
std::vector<Datagram> read_all(UdpSocket& socket, std::size_t count) {
  ReceiveBuffers buffers;
  std::vector<Datagram> list;
  while (list.size() < count && wait_for(socket.fd())) {
    const auto result = socket.receive(buffers);
    for (const Received& r : result.datagrams) {
      r.for_each([&](MutableBytes d) { list.push_back({r.from, r.local, ByteVector(d.begin(), d.end())}); });
    }
    if (result.status != IoStatus::ok && result.status != IoStatus::would_block) break;
  }
  return list;
}

TEST(UdpSocketTest, PortInUseNamesTheAddress) {
  auto a = UdpSocket::bind(at("127.0.0.1:0"));
  ASSERT_TRUE(a);
  const auto b = UdpSocket::bind(a->local());
  ASSERT_FALSE(b);
  EXPECT_EQ(b.error().code, Errc::conflict);
  EXPECT_EQ(b.error().text, "udp bind " + to_string(a->local()) + ": address already in use");
}

TEST(UdpSocketTest, ForeignAddressAndUnknownDeviceAreRefused) {
  const auto a = UdpSocket::bind(at("192.0.2.77:0"));
  ASSERT_FALSE(a);
  EXPECT_EQ(a.error().code, Errc::invalid_argument);
  UdpOptions options;
  options.device = "nosuchdev0";
  const auto b = UdpSocket::bind(at("127.0.0.1:0"), options);
  ASSERT_FALSE(b);
  EXPECT_EQ(b.error().code, Errc::not_found);
  EXPECT_NE(b.error().text.find("nosuchdev0"), std::string::npos);
}

TEST(UdpSocketTest, NothingToReadIsWouldBlock) {
  auto s = UdpSocket::bind(at("127.0.0.1:0"));
  ASSERT_TRUE(s);
  ReceiveBuffers buffers;
  const auto result = s->receive(buffers);
  EXPECT_EQ(result.status, IoStatus::would_block);
  EXPECT_TRUE(result.datagrams.empty());
}

TEST(UdpSocketTest, TooLargeIsCountedAndTheRestIsSent) {
  auto a = UdpSocket::bind(at("127.0.0.1:0"));
  auto b = UdpSocket::bind(at("127.0.0.1:0"));
  ASSERT_TRUE(a && b);
  const auto big = pattern(65'508);
  const auto result = a->send(b->local(), big);
  EXPECT_EQ(result.status, IoStatus::too_large);
  EXPECT_EQ(result.octets, big.size());
  EXPECT_EQ(a->counts().value(UdpCount::too_large), 1U);
  EXPECT_EQ(a->send(b->local(), pattern(10)).status, IoStatus::ok);
  EXPECT_EQ(read_all(*b, 1).at(0).data, pattern(10));
}

class UdpOffloadTest : public ::testing::TestWithParam<std::tuple<bool, bool, const char*>> {
 protected:
  UdpOptions options() const {
    UdpOptions o;
    o.offload.gso = std::get<0>(GetParam());
    o.offload.gro = std::get<1>(GetParam());
    return o;
  }
  SocketAddress any() const { return at(std::get<2>(GetParam())); }
};
INSTANTIATE_TEST_SUITE_P(All, UdpOffloadTest,
                         ::testing::Combine(::testing::Bool(), ::testing::Bool(),
                                            ::testing::Values("127.0.0.1:0", "[::1]:0")));

TEST_P(UdpOffloadTest, SizesFromNothingToTheLargest) {
  UdpOptions o = options();
  o.dont_fragment = false;  // 65,507 octets and IPv6's headers exceed the 65,536 of loopback
  auto a = UdpSocket::bind(any(), o);
  auto b = UdpSocket::bind(any(), options());
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->gso(), options().offload.gso);
  EXPECT_EQ(b->gro(), options().offload.gro);
  for (const std::size_t size : {0UL, 1UL, 2UL, 1200UL, 1472UL, 1473UL, 9000UL, 65'506UL, 65'507UL}) {
    const auto data = pattern(size);
    const auto result = a->send(b->local(), data);
    EXPECT_EQ(result.status, IoStatus::ok) << size;
    EXPECT_EQ(result.octets, size);
    const auto got = read_all(*b, 1);
    ASSERT_EQ(got.size(), 1U) << size;
    EXPECT_EQ(got[0].data, data);
    EXPECT_EQ(got[0].from, a->local());
    EXPECT_EQ(got[0].local, b->local());
  }
}

TEST_P(UdpOffloadTest, RowsOfSegmentsArriveAsDatagrams) {
  auto a = UdpSocket::bind(any(), options());
  auto b = UdpSocket::bind(any(), options());
  ASSERT_TRUE(a && b);
  // The last shorter; more than 64 segments; more than 64 KiB in all; exactly full; one octet each.
  const std::vector<std::pair<std::size_t, std::size_t>> rows{
      {5000, 1200}, {130 * 100 + 7, 100}, {150'000, 1400}, {2400, 1200}, {70, 1}, {100'000, 40'000}};
  for (const auto& [size, segment] : rows) {
    const auto data = pattern(size);
    const auto result = a->send(b->local(), data, segment);
    EXPECT_EQ(result.status, IoStatus::ok);
    EXPECT_EQ(result.octets, size);
    const auto got = read_all(*b, (size + segment - 1) / segment);
    ByteVector joined;
    for (const auto& d : got) {
      EXPECT_LE(d.data.size(), segment);
      joined.insert(joined.end(), d.data.begin(), d.data.end());
    }
    EXPECT_EQ(got.size(), (size + segment - 1) / segment);
    EXPECT_EQ(joined, data) << size << "/" << segment;
  }
  EXPECT_EQ(a->counts().value(UdpCount::gso_fallbacks), 0U);
  EXPECT_EQ(a->counts().value(UdpCount::datagrams_out), b->counts().value(UdpCount::datagrams_in));
  EXPECT_EQ(a->counts().value(UdpCount::octets_out), b->counts().value(UdpCount::octets_in));
}

TEST_P(UdpOffloadTest, BatchReachesManyDestinations) {
  auto a = UdpSocket::bind(any(), options());
  auto b = UdpSocket::bind(any(), options());
  auto c = UdpSocket::bind(any(), options());
  ASSERT_TRUE(a && b && c);
  SendBatch batch;
  const auto row = pattern(100 * 10 + 5);
  const auto huge = pattern(65'600);  // one datagram that cannot be: dropped, the others go
  const auto empty = ByteVector{};
  for (int i = 0; i < 50; ++i) {
    batch.add(b->local(), row, 100);
    batch.add(c->local(), row);
  }
  batch.add(b->local(), huge);
  batch.add(c->local(), empty);
  EXPECT_EQ(batch.size(), 102U);
  EXPECT_EQ(batch.flush(*a), IoStatus::ok);
  EXPECT_TRUE(batch.empty());
  const auto at_b = read_all(*b, 550);
  const auto at_c = read_all(*c, 51);
  ASSERT_EQ(at_b.size(), 550U);
  ASSERT_EQ(at_c.size(), 51U);
  EXPECT_EQ(at_b[10].data, ByteVector(row.end() - 5, row.end()));
  EXPECT_EQ(at_c[49].data, row);
  EXPECT_TRUE(at_c[50].data.empty());
  EXPECT_EQ(a->counts().value(UdpCount::too_large), 1U);
  EXPECT_EQ(a->counts().value(UdpCount::datagrams_out), 601U);
}

/// An Ethernet interface with nobody behind it: datagrams wait for an ARP answer, and fill the send buffer meanwhile.
Fd open_tap(const char* name) {
  Fd fd{open("/dev/net/tun", O_RDWR | O_CLOEXEC)};
  ifreq request{};
  std::strcpy(request.ifr_name, name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  EXPECT_EQ(ioctl(fd.get(), TUNSETIFF, &request), 0);
  return fd;
}

TEST(UdpSocketTest, FullSendBufferIsWouldBlockUntilWritable) {
  for (const bool gso : {false, true}) {
    IN_NEW_NAMESPACE({
      Fd tap = open_tap("tap0");
      auto netlink = Netlink::open();
      const unsigned index = netlink->link_index("tap0").value();
      ASSERT_TRUE(netlink->add_address(index, IpAddress::parse("10.9.9.1").value(), 24));
      ASSERT_TRUE(netlink->set_up(index, true));
      UdpOptions options;
      options.send_buffer = 16 * 1024;
      options.offload.gso = gso;
      auto s = UdpSocket::bind(at("0.0.0.0:0"), options);
      ASSERT_TRUE(s);
      const auto data = pattern(200'000);
      const SendResult result = s->send(at("10.9.9.2:9"), data, 1000);
      EXPECT_EQ(result.status, IoStatus::would_block);
      EXPECT_GT(result.octets, 0U);
      EXPECT_LT(result.octets, data.size());
      EXPECT_EQ(result.octets % 1000, 0U);
      EXPECT_EQ(s->counts().value(UdpCount::datagrams_out), result.octets / 1000);
      EXPECT_GT(s->counts().value(UdpCount::would_block), 0U);
      SendBatch batch;
      for (int i = 0; i < 3; ++i) batch.add(at("10.9.9.2:9"), Bytes{data}.first(5000), 1000);
      EXPECT_EQ(batch.flush(*s), IoStatus::would_block);
      EXPECT_TRUE(batch.empty());

      EventLoop loop;
      bool writable = false;
      Watch watch = loop.watch(s->fd(), {}, [&] {
        writable = true;
        watch.want_write(false);
      });
      watch.want_write(true);
      loop.post([&] { EXPECT_FALSE(writable); });
      loop.post([&] { tap.reset(); });  // the interface goes, and with it what waited
      run_until(loop, [&] { return writable; });
      EXPECT_EQ(s->send(at("127.0.0.1:9"), pattern(1)).status, IoStatus::ok);
    });
  }
}

TEST(UdpSocketTest, WildcardSocketAnswersFromTheAddressThatWasAsked) {
  IN_NEW_NAMESPACE({
    auto netlink = Netlink::open();
    ASSERT_TRUE(netlink->add_address(1, IpAddress::parse("fd00::9").value(), 128));
    for (const auto& [any, second] : {std::pair{"0.0.0.0:0", "127.0.0.9"}, std::pair{"[::]:0", "fd00::9"}}) {
      auto server = UdpSocket::bind(at(any));
      auto client = UdpSocket::bind(any[0] == '0' ? at("127.0.0.1:0") : at("[::1]:0"));
      ASSERT_TRUE(server && client);
      const SocketAddress asked{IpAddress::parse(second).value(), server->local().port};
      // The kernel makes a new IPv6 address reachable from a work queue: ask until one datagram gets through.
      pollfd heard{server->fd(), POLLIN, 0};
      for (int i = 0; i < 1000 && heard.revents == 0; ++i) {
        client->send(asked, pattern(3));  // unreachable until then
        poll(&heard, 1, 10);
      }
      const auto got = read_all(*server, 1);
      ASSERT_FALSE(got.empty());
      EXPECT_EQ(got[0].local, asked);
      ASSERT_EQ(server->send(got[0].from, pattern(2500), 1000, got[0].local.ip).status, IoStatus::ok);
      const auto back = read_all(*client, 3);
      ASSERT_EQ(back.size(), 3U);
      EXPECT_EQ(back[2].from, asked);
    }
  });
}

TEST(UdpSocketTest, DualStackSocketSpeaksBothFamilies) {
  UdpOptions options;
  options.v6_only = false;
  auto server = UdpSocket::bind(at("[::]:0"), options);
  auto four = UdpSocket::bind(at("127.0.0.1:0"));
  auto six = UdpSocket::bind(at("[::1]:0"));
  ASSERT_TRUE(server && four && six);
  const std::uint16_t port = server->local().port;
  four->send({IpAddress::parse("127.0.0.5").value(), port}, pattern(1));
  auto got = read_all(*server, 1);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].from, four->local()) << "not ::ffff:127.0.0.1";
  EXPECT_EQ(to_string(got[0].local.ip), "127.0.0.5");
  EXPECT_EQ(server->send(got[0].from, pattern(5), 0, got[0].local.ip).status, IoStatus::ok);
  EXPECT_EQ(to_string(read_all(*four, 1).at(0).from.ip), "127.0.0.5");
  six->send({IpAddress::parse("::1").value(), port}, pattern(1));
  EXPECT_EQ(read_all(*server, 1).at(0).from, six->local());
}

TEST(UdpSocketTest, RefusedIsToldAndTheSocketGoesOn) {
  auto gone = UdpSocket::bind(at("127.0.0.1:0"));
  ASSERT_TRUE(gone);
  const SocketAddress nobody = gone->local();
  gone = fail(Errc::closed, "closed");
  for (const bool icmp_errors : {false, true}) {
    UdpOptions options;
    options.icmp_errors = icmp_errors;
    auto s = UdpSocket::connect(nobody, options);
    ASSERT_TRUE(s);
    EXPECT_EQ(s->send({}, pattern(4)).status, IoStatus::ok);
    ASSERT_TRUE(wait_for(s->fd()));
    ReceiveBuffers buffers;
    EXPECT_EQ(s->receive(buffers).status, IoStatus::refused);
    EXPECT_EQ(s->receive(buffers).status, IoStatus::would_block) << "told once, error queue drained";
    pollfd p{s->fd(), POLLIN, 0};
    EXPECT_EQ(poll(&p, 1, 0), 0) << "not readable for ever";
    EXPECT_EQ(s->send({}, pattern(4)).status, IoStatus::ok);
    EXPECT_EQ(s->send({}, pattern(4)).status, IoStatus::refused) << "or told by the next send";
  }
}

TEST(UdpSocketTest, NoRouteIsUnreachable) {
  IN_NEW_NAMESPACE({
    auto s = UdpSocket::bind(at("0.0.0.0:0"));
    ASSERT_TRUE(s);
    const SendResult result = s->send(at("192.0.2.1:9"), pattern(4));
    EXPECT_EQ(result.status, IoStatus::unreachable);
    EXPECT_EQ(result.octets, 0U);
    EXPECT_EQ(s->counts().value(UdpCount::unreachable), 1U);
    const auto c = UdpSocket::connect(at("192.0.2.1:9"));
    ASSERT_FALSE(c);
    EXPECT_EQ(c.error().code, Errc::unreachable);
    SendBatch batch;
    const auto data = pattern(2000);
    auto here = UdpSocket::bind(at("127.0.0.1:0"));
    batch.add(at("192.0.2.1:9"), data, 1000);
    batch.add(here->local(), data, 1000);
    EXPECT_EQ(batch.flush(*s), IoStatus::ok);
    EXPECT_EQ(read_all(*here, 2).size(), 2U) << "one bad destination does not hold up the others";
    EXPECT_EQ(s->counts().value(UdpCount::unreachable), 3U);
  });
}

TEST(UdpSocketTest, SegmentAboveTheMtuIsTooLargeAndGsoStaysOn) {
  IN_NEW_NAMESPACE({
    auto netlink = Netlink::open();
    ASSERT_TRUE(netlink->set_mtu(1, 1500));
    auto a = UdpSocket::bind(at("127.0.0.1:0"));
    auto b = UdpSocket::bind(at("127.0.0.1:0"));
    ASSERT_TRUE(a && b);
    const auto data = pattern(4100);
    const SendResult result = a->send(b->local(), data, 2000);  // 2000, 2000, 100: only the last one fits
    EXPECT_EQ(result.status, IoStatus::too_large);
    EXPECT_EQ(result.octets, data.size());
    EXPECT_EQ(result.sent, 1U);
    EXPECT_EQ(result.sent_octets, 100U);
    EXPECT_EQ(a->counts().value(UdpCount::too_large), 2U);
    EXPECT_EQ(read_all(*b, 1).at(0).data.size(), 100U);
    EXPECT_TRUE(a->gso());
    UdpOptions fragments;
    fragments.dont_fragment = false;
    auto c = UdpSocket::connect(b->local(), fragments);
    ASSERT_TRUE(c);
    EXPECT_EQ(c->send({}, pattern(65'507)).status, IoStatus::ok);
    EXPECT_EQ(read_all(*b, 1).at(0).data.size(), 65'507U);
  });
}

TEST(UdpSocketTest, PathMtuIsWhatTheKernelKnows) {
  const auto unbound = UdpSocket::bind(at("127.0.0.1:0"));
  ASSERT_TRUE(unbound);
  EXPECT_EQ(unbound->path_mtu(), 0U);
  IN_NEW_NAMESPACE({
    for (const auto* remote : {"127.0.0.1:9", "[::1]:9"}) {
      const auto socket = UdpSocket::connect(at(remote));
      ASSERT_TRUE(socket) << socket.error().text;
      EXPECT_GE(socket->path_mtu(), 65'535U);
      auto netlink = Netlink::open();
      ASSERT_TRUE(netlink && netlink->set_mtu(1, 1400));
      EXPECT_EQ(socket->path_mtu(), 1400U) << remote;
      ASSERT_TRUE(netlink->set_mtu(1, 65'536));
    }
  });
}

TEST(UdpSocketTest, KernelDropsAreCounted) {
  UdpOptions small;
  small.receive_buffer = 4096;
  small.offload = OffloadOptions::none();
  auto a = UdpSocket::bind(at("127.0.0.1:0"));
  auto b = UdpSocket::bind(at("127.0.0.1:0"), small);
  ASSERT_TRUE(a && b);
  for (int i = 0; i < 100; ++i) a->send(b->local(), pattern(1000));
  ReceiveBuffers buffers;
  std::size_t got = 0;
  while (b->receive(buffers).status == IoStatus::ok) {
  }
  got = b->counts().value(UdpCount::datagrams_in);
  a->send(b->local(), pattern(1));  // carries the count
  EXPECT_EQ(read_all(*b, 1).size(), 1U);
  EXPECT_LT(got, 100U);
  EXPECT_EQ(b->counts().value(UdpCount::kernel_drops), 100U - got);
}

TEST(SteeringTest, WorkerCountIsChecked) {
  auto s = UdpSocket::bind(at("127.0.0.1:0"));
  ASSERT_TRUE(s);
  EXPECT_EQ(attach_worker_steering(s->fd(), 0).error().code, Errc::invalid_argument);
  EXPECT_EQ(attach_worker_steering(s->fd(), 257).error().code, Errc::invalid_argument);
  EXPECT_FALSE(attach_worker_steering(-1, 2));
}

TEST(SteeringTest, DatagramsGoToTheWorkerTheyName) {
  for (const char* local : {"127.0.0.1:0", "[::1]:0"}) {
    constexpr unsigned kWorkers = 4;
    UdpOptions options;
    options.reuse_port = true;
    std::vector<UdpSocket> workers;
    SocketAddress address = at(local);
    for (unsigned i = 0; i < kWorkers; ++i) {
      auto s = UdpSocket::bind(address, options);
      ASSERT_TRUE(s);
      address = s->local();
      workers.push_back(std::move(*s));
      if (i == 0) {
        ASSERT_TRUE(attach_worker_steering(workers[0].fd(), kWorkers));
      }
    }
    auto client = UdpSocket::bind(at(local));
    ASSERT_TRUE(client);
    const auto expect_at = [&](const ByteVector& packet, unsigned worker) {
      ASSERT_EQ(client->send(address, packet).status, IoStatus::ok);
      const auto got = read_all(workers[worker], 1);
      ASSERT_EQ(got.size(), 1U) << to_hex(packet);
      EXPECT_EQ(got[0].data, packet);
      EXPECT_EQ(worker_of(packet, kWorkers), worker) << "the C++ twin";
    };
    for (unsigned w = 0; w < 9; ++w) {
      const auto octet = static_cast<std::uint8_t>(w);
      const unsigned worker = w % kWorkers;
      expect_at({0x2F, 8, octet, 9, 9, 9, 9, 9}, worker);     // routed datagram
      expect_at({0xC0, 0, 0, 0, 1, 8, octet, 9, 9}, worker);  // long header
      expect_at({0x40, octet, 9, 9, 9, 9, 9, 9}, worker);     // short header
    }
    // Too short for the octet that counts.
    expect_at({}, 0);
    expect_at({0x2F}, 0);
    expect_at({0x2F, 8}, 0);
    expect_at({0xC0, 3, 3, 3, 3, 3}, 0);
    expect_at({0x41}, 0);
    expect_at({0xC0, 3, 3, 3, 3, 3, 2}, 2);
    ReceiveBuffers buffers;
    for (auto& s : workers) EXPECT_EQ(s.receive(buffers).status, IoStatus::would_block) << "nothing went astray";
  }
}

}  // namespace
}  // namespace ztna::os
