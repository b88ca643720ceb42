// The one UDP port of a program and its side sockets, on the real kernel: limits first.
#include "apps/common/udp_sockets.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <functional>
#include <set>
#include <string>

#include "os/clock.h"
#include "unit/os/loop_util.h"

namespace ztna::apps {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

std::size_t open_descriptors() {
  std::size_t count = 0;
  for (int fd = 0; fd < 4096; ++fd) count += is_open(fd) ? 1U : 0U;
  return count;
}

/// Lets the process open so many more descriptors.
class DescriptorsLeft {
 public:
  explicit DescriptorsLeft(std::size_t left) {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlimit limit = before_;
    // The limit is one of numbers, and there may be high ones in use: count the free ones below it.
    int number = 0;
    for (std::size_t free = 0; is_open(number) || free < left; ++number) free += is_open(number) ? 0U : 1U;
    limit.rlim_cur = static_cast<rlim_t>(number);
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  ~DescriptorsLeft() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

struct UdpSocketsTest : testing::Test {
  struct Got {
    tunnel::SocketId socket;
    SocketAddress from;
    std::string text;
  };
  os::EventLoop loop;
  os::ReceiveBuffers buffers;
  UdpSockets udp;
  std::vector<Got> got;
  os::UdpSocket peer = *os::UdpSocket::bind({IpAddress::v4(0x7f000001), 0});
  os::ReceiveBuffers peer_buffers;

  void SetUp() override {
    ASSERT_TRUE(udp.open({}));
    udp.start(loop, buffers,
              [this](tunnel::SocketId socket, const SocketAddress& from, Bytes row, std::size_t, TimePoint) {
                got.push_back({socket, from, std::string{row.begin(), row.end()}});
                if (on_row) on_row(socket);
              });
  }
  std::function<void(tunnel::SocketId)> on_row;

  static ByteVector text(std::string_view t) { return {t.begin(), t.end()}; }
  /// From where the peer receives the next datagram.
  SocketAddress next_source() {
    EXPECT_TRUE(os::wait_for(peer.fd()));
    const auto received = peer.receive(peer_buffers);
    return received.datagrams.empty() ? SocketAddress{} : received.datagrams[0].from;
  }
};

TEST_F(UdpSocketsTest, ALimitOnDescriptorsGivesFewerAndLeavesSome) {
  const DescriptorsLeft limit{20};
  const auto opened = udp.open_side(384);
  EXPECT_EQ(opened.size(), 10U) << "half of what there was";
  EXPECT_TRUE(os::UdpSocket::bind({IpAddress{}, 0})) << "others can open theirs";
  for (const auto id : opened) udp.close_side(id);
  const DescriptorsLeft none{0};
  EXPECT_TRUE(udp.open_side(384).empty());
}

TEST_F(UdpSocketsTest, SideSocketsHaveTheirOwnPortsAndARouteIsTakenBackWithItsSocket) {
  const auto before = open_descriptors();
  const auto opened = udp.open_side(384);
  ASSERT_EQ(opened.size(), 384U);
  udp.send(peer.local(), text("main"), 4);
  EXPECT_EQ(next_source().port, udp.port());
  udp.send_from(opened[7], peer.local(), text("side"));
  const auto seventh = next_source().port;
  EXPECT_NE(seventh, udp.port());
  udp.route(opened[7], peer.local());
  udp.send(peer.local(), text("routed"), 6);
  EXPECT_EQ(next_source().port, seventh);
  for (std::size_t i = 0; i < opened.size(); ++i) {
    if (i != 7) udp.close_side(opened[i]);
  }
  EXPECT_EQ(open_descriptors(), before + 1);
  udp.send(peer.local(), text("routed"), 6);
  EXPECT_EQ(next_source().port, seventh);
  udp.close_side(opened[7]);
  EXPECT_EQ(open_descriptors(), before);
  udp.send(peer.local(), text("main"), 4);
  EXPECT_EQ(next_source().port, udp.port());
  udp.send_from(opened[7], peer.local(), text("closed"));
  udp.route(opened[7], peer.local());
  udp.send(peer.local(), text("main"), 4);
  EXPECT_EQ(next_source().port, udp.port());
}

/// As a tunnel that ends with the packet that the socket has just received.
TEST_F(UdpSocketsTest, ASocketMayBeClosedByWhatItReceives) {
  const auto opened = udp.open_side(2);
  ASSERT_EQ(opened.size(), 2U);
  on_row = [this](tunnel::SocketId socket) {
    if (socket != tunnel::kMainSocket) udp.close_side(socket);
  };
  for (const auto id : opened) {
    udp.send_from(id, peer.local(), text("x"));
    const SocketAddress back{IpAddress::v4(0x7f000001), next_source().port};
    for (int i = 0; i < 3; ++i) peer.send(back, text("y"));
  }
  os::run_until(loop, [&] { return got.size() >= 2; });
  EXPECT_EQ(got[0].text, "y");
  std::set<tunnel::SocketId> from;
  for (const auto& g : got) from.insert(g.socket);
  EXPECT_EQ(from, (std::set<tunnel::SocketId>{opened.begin(), opened.end()}));
}

}  // namespace
}  // namespace ztna::apps
