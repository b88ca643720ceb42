// The test's namespace:
//
//   kernel 10.9.0.1, fd09::1 --- tun "ztest0" --- the test, which plays 10.9.0.2 and fd09::2
#include "os/tun.h"

#include <gtest/gtest.h>

#include <numeric>

#include "addresses.h"
#include "loop_util.h"
#include "network_namespace.h"
#include "os/tcp_socket.h"
#include "os/tun_segments.h"
#include "os/udp_socket.h"
#include "packet_check.h"

namespace ztna::os {
namespace {

Result<Tun> open_up(const OffloadOptions& offload = {}) {
  auto tun = Tun::open("ztest0", offload);
  auto netlink = Netlink::open();
  if (!tun) return tun;
  const unsigned index = netlink->link_index("ztest0").value();
  EXPECT_TRUE(netlink->set_mtu(index, 1500));
  EXPECT_TRUE(netlink->add_address(index, ip("10.9.0.1"), 24));
  EXPECT_TRUE(netlink->add_address(index, ip("fd09::1"), 64));
  EXPECT_TRUE(netlink->set_up(index, true));
  return tun;
}

/// The next packet of `protocol`; the kernel also sends neighbour and multicast chatter.
TunPacket next_packet(Tun& tun, std::uint8_t protocol) {
  for (int i = 0; i < 1000; ++i) {
    TunPacket p = tun.read();
    if (p.status == IoStatus::would_block) {
      if (!wait_for(tun.fd())) break;
      continue;
    }
    if (p.status != IoStatus::ok) return p;
    const bool v6 = p.packet[0] >> 4U == 6;
    if ((v6 ? p.packet[6] : p.packet[9]) == protocol) return p;
  }
  ADD_FAILURE() << "no packet of protocol " << int{protocol};
  return {IoStatus::failed, {}, {}};
}

TEST(TunTest, BadNamesAreRefused) {
  for (const char* name : {"", "a-name-of-16-oct", "a/b", "a b", "ztest%d"}) {
    const auto tun = Tun::open(name);
    ASSERT_FALSE(tun) << name;
    EXPECT_EQ(tun.error().code, Errc::invalid_argument) << name;
  }
}

TEST(TunTest, TakenNamesAreRefused) {
  IN_NEW_NAMESPACE({
    const auto lo = Tun::open("lo");
    ASSERT_FALSE(lo);
    EXPECT_EQ(lo.error().code, Errc::conflict);
    EXPECT_EQ(lo.error().text, "tun lo: an interface of this name exists");
    auto tun = Tun::open("ztest0");
    ASSERT_TRUE(tun) << tun.error().text;
    const auto again = Tun::open("ztest0");
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, Errc::conflict);
    EXPECT_EQ(again.error().text, "tun ztest0: another program has this interface");
    tun = fail(Errc::closed, "closed");
    EXPECT_TRUE(Tun::open("ztest0")) << "gone with its owner";
  });
}

TEST(TunTest, WithoutPrivilegeTheErrorSaysWhatIsNeeded) {
  IN_NEW_NAMESPACE({
    ASSERT_EQ(setresuid(65534, 65534, 65534), 0);
    const auto tun = Tun::open("ztest0");
    ASSERT_FALSE(tun);
    EXPECT_EQ(tun.error().code, Errc::denied);
    EXPECT_NE(tun.error().text.find("needs CAP_NET_ADMIN"), std::string::npos) << tun.error().text;
  });
}

TEST(TunTest, WrongHeadersAndADownInterfaceFailTheWriteOnly) {
  IN_NEW_NAMESPACE({
    auto tun = open_up();
    ASSERT_TRUE(tun) << tun.error().text;
    EXPECT_EQ(tun->read().status == IoStatus::failed, false);
    VirtioNetHeader wrong;
    wrong.gso_type = 77;
    wrong.gso_size = 100;
    const ByteVector packet(60, 0x45);
    EXPECT_EQ(tun->write(wrong, packet), IoStatus::failed);
    EXPECT_EQ(tun->write({}, ByteVector{}), IoStatus::failed);
    const std::vector<Bytes> parts(Tun::kMaxParts + 1, packet);
    EXPECT_EQ(tun->write({}, parts), IoStatus::failed);
    auto netlink = Netlink::open();
    ASSERT_TRUE(netlink->set_up(netlink->link_index("ztest0").value(), false));
    EXPECT_EQ(tun->write({}, packet), IoStatus::failed);
  });
}

void udp_through(const OffloadOptions& offload, const char* from, const char* to) {
  auto tun = open_up(offload);
  ASSERT_TRUE(tun) << tun.error().text;
  auto socket = UdpSocket::bind(at(from));
  ASSERT_TRUE(socket) << socket.error().text;
  ByteVector data(20 * 1400 - 3);
  std::iota(data.begin(), data.end(), std::uint8_t{0});
  ASSERT_EQ(socket->send(at(to), data, 1400).status, IoStatus::ok);
  const std::size_t headers = socket->local().ip.is_v6() ? 48 : 28;
  ByteVector joined;
  std::size_t reads = 0;
  std::size_t datagrams = 0;
  while (joined.size() < data.size() && reads < 100) {
    const TunPacket p = next_packet(*tun, 17);
    ASSERT_EQ(p.status, IoStatus::ok);
    ++reads;
    auto split = TunSegments::of(p.header, p.packet);
    ASSERT_TRUE(split);
    ByteVector out(split->max_size());
    while (const std::size_t size = split->next(out)) {
      ASSERT_EQ(packet_problem(Bytes{out}.first(size)), "");
      joined.insert(joined.end(), out.begin() + static_cast<std::ptrdiff_t>(headers),
                    out.begin() + static_cast<std::ptrdiff_t>(size));
      ++datagrams;
    }
  }
  EXPECT_EQ(datagrams, 20U);
  EXPECT_EQ(joined, data);
  EXPECT_EQ(reads, tun->uso() ? 1U : 20U);
  if (offload.uso && !tun->uso()) std::printf("USO not tested: the kernel is older than 6.2\n");
}

TEST(TunTest, UdpBatchIsOneReadWithUsoAndTwentyWithout) {
  for (const bool uso : {true, false}) {
    OffloadOptions offload;
    offload.uso = uso;
    IN_NEW_NAMESPACE({ udp_through(offload, "10.9.0.1:0", "10.9.0.2:9"); });
    IN_NEW_NAMESPACE({ udp_through(offload, "[fd09::1]:0", "[fd09::2]:9"); });
  }
  IN_NEW_NAMESPACE({ udp_through(OffloadOptions::none(), "10.9.0.1:0", "10.9.0.2:9"); });
}

/// The answer to a SYN over IPv4, with MSS 1400.
ByteVector syn_ack_for(Bytes syn) {
  ByteVector p(44);
  std::copy_n(syn.begin(), 20, p.begin());
  p[0] = 0x45, p[2] = 0, p[3] = 44;
  std::copy_n(syn.begin() + 16, 4, p.begin() + 12);
  std::copy_n(syn.begin() + 12, 4, p.begin() + 16);
  p[10] = p[11] = 0;
  const auto put16 = [&](std::size_t i, std::uint16_t v) {
    p[i] = static_cast<std::uint8_t>(v >> 8U);
    p[i + 1] = static_cast<std::uint8_t>(v);
  };
  put16(10, checksum_finish(checksum_add(0, Bytes{p}.first(20))));
  const std::size_t l4 = (syn[0] & 0x0FU) * std::size_t{4};
  put16(20, read16(syn, l4 + 2));
  put16(22, read16(syn, l4));
  const std::uint32_t ack = (std::uint32_t{read16(syn, l4 + 4)} << 16U | read16(syn, l4 + 6)) + 1;
  put16(28, static_cast<std::uint16_t>(ack >> 16U));
  put16(30, static_cast<std::uint16_t>(ack));
  p[32] = 6U << 4U;
  p[33] = 0x12;
  put16(34, 0xFFFF);
  p[40] = 2, p[41] = 4;
  put16(42, 1400);
  put16(36, checksum_finish(checksum_add(pseudo_header_sum(p, 6, 24), Bytes{p}.subspan(20))));
  return p;
}

TEST(TunTest, TcpSuperPacketsOfTheKernelSplitIntoValidOnes) {
  for (const bool tso : {true, false}) {
    IN_NEW_NAMESPACE({
      OffloadOptions offload;
      offload.tso = tso;
      offload.uso = tso;
      auto tun = open_up(offload);
      ASSERT_TRUE(tun) << tun.error().text;
      EXPECT_EQ(tun->tso(), tso);
      auto socket = TcpSocket::start_connect(at("10.9.0.2:80"));
      ASSERT_TRUE(socket);
      EXPECT_EQ(socket->connect_result(), IoStatus::would_block);
      const TunPacket syn = next_packet(*tun, 6);
      const ByteVector answer = syn_ack_for(syn.packet);
      const std::vector<Bytes> parts{Bytes{answer}.first(7), Bytes{answer}.subspan(7)};
      ASSERT_EQ(tun->write({}, parts), IoStatus::ok);
      ASSERT_TRUE(wait_for(socket->fd(), POLLOUT));
      EXPECT_EQ(socket->connect_result(), IoStatus::ok);

      ByteVector data(12'000);  // below the initial window of 10 segments
      std::iota(data.begin(), data.end(), std::uint8_t{0});
      ASSERT_EQ(socket->write(data).octets, data.size());
      ByteVector joined;
      std::size_t largest = 0;
      while (joined.size() < data.size()) {
        const TunPacket p = next_packet(*tun, 6);
        ASSERT_EQ(p.status, IoStatus::ok);
        largest = std::max(largest, p.packet.size());
        // Room before the packet may be written.
        std::fill_n(p.packet.data() - Tun::kHeadroom, Tun::kHeadroom, std::uint8_t{0});
        auto split = TunSegments::of(p.header, p.packet);
        ASSERT_TRUE(split);
        ByteVector out(split->max_size());
        while (const std::size_t size = split->next(out)) {
          ASSERT_EQ(packet_problem(Bytes{out}.first(size)), "");
          EXPECT_LE(size, 1500U);
          const std::size_t start = 20 + (out[32] >> 4U) * std::size_t{4};
          joined.insert(joined.end(), out.begin() + static_cast<std::ptrdiff_t>(start),
                        out.begin() + static_cast<std::ptrdiff_t>(size));
        }
      }
      EXPECT_EQ(joined, data);
      EXPECT_EQ(largest > 1500, tso) << largest;
    });
  }
}

TEST(TunTest, PartialChecksumIsFinishedByTheKernel) {
  IN_NEW_NAMESPACE({
    auto tun = open_up();
    auto socket = UdpSocket::bind(at("10.9.0.1:7777"));
    ASSERT_TRUE(tun && socket);
    ByteVector p{0x45, 0, 0, 31, 0, 1, 0,    0,    64, 17, 0, 0, 10,  9,   0,  2,
                 10,   9, 0, 1,  0, 9, 0x1E, 0x61, 0,  11, 0, 0, 'a', 'b', 'c'};
    const std::uint16_t ip_sum = checksum_finish(checksum_add(0, Bytes{p}.first(20)));
    p[10] = static_cast<std::uint8_t>(ip_sum >> 8U), p[11] = static_cast<std::uint8_t>(ip_sum);
    const auto pseudo = static_cast<std::uint16_t>(~checksum_finish(pseudo_header_sum(p, 17, 11)));
    p[26] = static_cast<std::uint8_t>(pseudo >> 8U), p[27] = static_cast<std::uint8_t>(pseudo);
    VirtioNetHeader header;
    header.flags = VirtioNetHeader::kNeedsChecksum;
    header.csum_start = 20;
    header.csum_offset = 6;
    ASSERT_EQ(tun->write(header, p), IoStatus::ok);
    ASSERT_TRUE(wait_for(socket->fd()));
    ReceiveBuffers buffers;
    const auto got = socket->receive(buffers);
    ASSERT_EQ(got.datagrams.size(), 1U);
    EXPECT_EQ(as_text(got.datagrams[0].data), "abc");
    EXPECT_EQ(got.datagrams[0].from, at("10.9.0.2:9"));
  });
}

}  // namespace
}  // namespace ztna::os
