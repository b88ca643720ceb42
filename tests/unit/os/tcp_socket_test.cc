#include "os/tcp_socket.h"

#include <gtest/gtest.h>

#include <optional>

#include "addresses.h"
#include "loop_util.h"
#include "network_namespace.h"
#include "os/tun.h"

namespace ztna::os {
namespace {

struct Connected {
  TcpSocket client, server;
};

Connected connected_pair(const TcpOptions& options = {}) {
  auto listener = TcpListener::listen(at("127.0.0.1:0"), {.socket = options});
  auto client = TcpSocket::start_connect(listener->local(), options);
  EXPECT_TRUE(wait_for(client->fd(), POLLOUT));
  EXPECT_EQ(client->connect_result(), IoStatus::ok);
  EXPECT_TRUE(wait_for(listener->fd()));
  auto accepted = listener->accept();
  EXPECT_EQ(accepted.status, IoStatus::ok);
  EXPECT_EQ(accepted.peer, client->local());
  EXPECT_EQ(accepted.socket.local(), client->peer());
  EXPECT_EQ(listener->accept().status, IoStatus::would_block);
  return {std::move(*client), std::move(accepted.socket)};
}

Result<TcpSocket> connect_on_loop(EventLoop& loop, const SocketAddress& to, Duration timeout = 5s) {
  std::optional<Result<TcpSocket>> result;
  std::unique_ptr<TcpConnect> connect;
  connect = TcpConnect::start(loop, to, {}, timeout, [&](Result<TcpSocket> r) {
    connect.reset();  // allowed inside the callback
    result = std::move(r);
  });
  EXPECT_FALSE(result) << "never before start() returned";
  run_until(loop, [&] { return result.has_value(); });
  return std::move(*result);
}

SocketAddress closed_port() { return TcpListener::listen(at("127.0.0.1:0"))->local(); }

TEST(TcpListenerTest, PortInUseNamesTheAddress) {
  auto a = TcpListener::listen(at("127.0.0.1:0"));
  ASSERT_TRUE(a);
  const auto b = TcpListener::listen(a->local());
  ASSERT_FALSE(b);
  EXPECT_EQ(b.error().code, Errc::conflict);
  EXPECT_EQ(b.error().text, "tcp listen " + to_string(a->local()) + ": address already in use");
  EXPECT_EQ(TcpListener::listen(at("127.0.0.1:0"), {.device = "nosuch0"}).error().code, Errc::not_found);
}

TEST(TcpConnectTest, RefusedUnreachableAndTimedOutAreToldApart) {
  EventLoop loop;
  EXPECT_EQ(connect_on_loop(loop, closed_port()).error().code, Errc::refused);
  IN_NEW_NAMESPACE({
    EventLoop inner;
    EXPECT_EQ(connect_on_loop(inner, at("192.0.2.1:80")).error().code, Errc::unreachable);
    auto tun = Tun::open("ztest0");
    auto netlink = Netlink::open();
    const unsigned index = netlink->link_index("ztest0").value();
    ASSERT_TRUE(netlink->add_address(index, IpAddress::parse("10.9.0.1").value(), 24));
    ASSERT_TRUE(netlink->set_up(index, true));
    const auto silent = connect_on_loop(inner, at("10.9.0.2:80"), 5ms);
    EXPECT_EQ(silent.error().code, Errc::timed_out);
    EXPECT_EQ(silent.error().text, "tcp connect 10.9.0.2:80: timed out");
    ASSERT_TRUE(
        netlink->add_route({.destination = Prefix::parse("10.9.0.2/32").value(), .kind = Route::Kind::unreachable}));
    EXPECT_EQ(connect_on_loop(inner, at("10.9.0.2:80")).error().code, Errc::unreachable);
  });
}

TEST(TcpConnectTest, GivingUpIsSilent) {
  EventLoop loop;
  auto listener = TcpListener::listen(at("[::1]:0"));
  ASSERT_TRUE(listener);
  auto connect = TcpConnect::start(loop, listener->local(), {}, 5s, [](const auto&) { ADD_FAILURE(); });
  connect.reset();
  loop.post([&] { loop.post([&] { loop.stop(); }); });
  loop.run();
}

TEST(TcpConnectTest, ConnectsOverBothFamilies) {
  EventLoop loop;
  for (const char* local : {"127.0.0.1:0", "[::1]:0"}) {
    auto listener = TcpListener::listen(at(local));
    ASSERT_TRUE(listener);
    const auto socket = connect_on_loop(loop, listener->local());
    ASSERT_TRUE(socket) << socket.error().text;
    EXPECT_EQ(socket->peer(), listener->local());
  }
}

TEST(TcpSocketTest, ReadsAndWritesAreTyped) {
  Connected p = connected_pair();
  ByteVector block(64);
  EXPECT_EQ(p.server.read(block).status, IoStatus::would_block);
  const std::vector<Bytes> parts{as_bytes("one "), Bytes{}, as_bytes("two")};
  const IoResult sent = p.client.writev(parts);
  EXPECT_EQ(sent.status, IoStatus::ok);
  EXPECT_EQ(sent.octets, 7U);
  ASSERT_TRUE(wait_for(p.server.fd()));
  const IoResult got = p.server.read(block);
  EXPECT_EQ(as_text(Bytes{block}.first(got.octets)), "one two");
}

TEST(TcpSocketTest, HalfCloseLeavesTheOtherDirection) {
  Connected p = connected_pair();
  ByteVector block(64);
  p.client.shutdown_write();
  ASSERT_TRUE(wait_for(p.server.fd()));
  EXPECT_EQ(p.server.read(block).status, IoStatus::eof);
  EXPECT_EQ(p.server.write(as_bytes("still")).octets, 5U);
  ASSERT_TRUE(wait_for(p.client.fd()));
  EXPECT_EQ(p.client.read(block).octets, 5U);
}

TEST(TcpSocketTest, AbortIsAReset) {
  Connected p = connected_pair();
  ByteVector block(64);
  p.client.abort();
  EXPECT_FALSE(p.client);
  ASSERT_TRUE(wait_for(p.server.fd()));
  EXPECT_EQ(p.server.read(block).status, IoStatus::reset);
  EXPECT_EQ(p.server.write(as_bytes("x")).status, IoStatus::reset) << "and no SIGPIPE";
}

TEST(TcpSocketTest, BackpressureIsWouldBlock) {
  Connected p = connected_pair({.send_buffer = 16 * 1024, .receive_buffer = 16 * 1024});
  const ByteVector block(64 * 1024, 1);
  std::size_t written = 0;
  IoResult result;
  while ((result = p.client.write(block)).status == IoStatus::ok) {
    written += result.octets;
    ASSERT_LT(written, 4U << 20U);
  }
  EXPECT_EQ(result.status, IoStatus::would_block);
  ByteVector sink(1U << 20U);
  std::size_t read = 0;
  while (read < written && wait_for(p.server.fd())) read += p.server.read(sink).octets;
  EXPECT_EQ(read, written);
  EXPECT_TRUE(wait_for(p.client.fd(), POLLOUT));
}

TEST(TcpListenerTest, BoundToADeviceHearsNothingFromOthers) {
  IN_NEW_NAMESPACE({
    auto tun = Tun::open("ztest0");
    auto netlink = Netlink::open();
    const unsigned index = netlink->link_index("ztest0").value();
    ASSERT_TRUE(netlink->add_address(index, IpAddress::parse("10.9.0.1").value(), 24));
    ASSERT_TRUE(netlink->set_up(index, true));
    auto on_tun = TcpListener::listen(at("0.0.0.0:0"), {.device = "ztest0"});
    auto open = TcpListener::listen(at("0.0.0.0:0"));
    ASSERT_TRUE(on_tun && open);
    EventLoop loop;
    const auto loopback = IpAddress::parse("127.0.0.1").value();
    EXPECT_TRUE(connect_on_loop(loop, {loopback, open->local().port}));
    const auto over_lo = connect_on_loop(loop, {loopback, on_tun->local().port});
    ASSERT_FALSE(over_lo);
    EXPECT_EQ(over_lo.error().code, Errc::refused);
    // Linux counts what this host sends to the device's own address as arrived by the device: the tuple must be checked
    // too.
    EXPECT_TRUE(connect_on_loop(loop, {IpAddress::parse("10.9.0.1").value(), on_tun->local().port}));
  });
}

}  // namespace
}  // namespace ztna::os
