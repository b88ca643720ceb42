// Workers and their sessions, over connections that only record.
#include "intermediate/worker.h"

#include <gtest/gtest.h>

#include <deque>
#include <future>
#include <variant>

#include "identity/certificate.h"
#include "support/fake_connection.h"
#include "support/seeded_random.h"
#include "support/test_pki.h"
#include "wire/control/message.h"

namespace ztna::intermediate {
namespace {

struct SilentUdp final : WorkerUdp {
  void send(const SocketAddress&, const SocketAddress&, Bytes, std::size_t) override {}
  void forward(const SocketAddress&, const SocketAddress&, Bytes, std::size_t) override {}
  bool writable() const override { return true; }
};

struct HeldMail final : WorkerMail {
  std::vector<Delivery> deliveries;
  std::vector<Kick> kicks;
  std::function<void()> when_posted;
  void deliver(Delivery delivery) override {
    if (when_posted) when_posted();
    deliveries.push_back(std::move(delivery));
  }
  void kick(Kick kick) override { kicks.push_back(std::move(kick)); }
  void hand_over(std::uint8_t, const quic::Path&, Bytes) override {}
};

struct WorkerTest : testing::Test {
  test::SeededRandom random{1};
  RouteTable routes;
  Registry registry{{}, {{*Prefix::parse("10.100.0.0/24"), {}}}, routes, random};
  SharedCounters counters;
  SilentUdp udp;
  HeldMail mail;
  test::TestCa ca;
  TimePoint now = TimePoint{} + 1h;
  WallTime wall = std::chrono::time_point_cast<WallTime::duration>(std::chrono::system_clock::now());
  static constexpr quic::StreamId kStream{0};

  std::unique_ptr<Worker> worker(std::uint8_t index, std::size_t max_handshakes = 4000) {
    WorkerOptions options;
    options.index = index;
    options.workers = 2;
    options.max_handshakes = max_handshakes;
    auto made = std::make_unique<Worker>(options, registry, routes, counters, udp, mail, random, nullptr);
    made->on_deadline(now, wall);
    return made;
  }
  static quic::Path path(std::uint8_t host) {
    return {*SocketAddress::parse("198.18.3.2:4433"), {IpAddress::v4(0xC6120100U + host), 5000}};
  }

  struct Client {
    test::FakeConnection connection;
    quic::ConnectionHandler* handler = nullptr;
    void close() {
      handler->on_closed(*connection.closed_with);
      handler = nullptr;
    }
  };
  std::deque<Client> clients;

  Client& accept(Worker& w, std::uint8_t host = 1) {
    auto& c = clients.emplace_back();
    c.connection.current = path(host);
    const auto accepted = w.accept(c.connection, c.connection.current, now);
    EXPECT_TRUE(accepted);
    if (accepted) {
      c.handler = accepted->handler;
      EXPECT_LE(accepted->transport.handshake_timeout, 4s);
    }
    return c;
  }
  static void say(Client& c, const wire::ControlMessage& message) {
    ByteVector frame;
    wire::append_frame(frame, message);
    c.handler->on_stream_data(kStream, frame, false);
  }
  Client& client(Worker& w, const std::string& role, const std::string& name) {
    auto& c = accept(w);
    test::LeafSpec leaf;
    leaf.dns = {role + ".web.ztna"};
    leaf.uris = {"spiffe://test/" + role + "/" + name};
    leaf.purpose = test::Purpose::client;
    const auto certificate = identity::Certificate::parse_pem(ca.issue(leaf).cert);
    EXPECT_TRUE(certificate);
    EXPECT_TRUE(c.handler->verify_peer(certificate->der));
    c.handler->on_established();
    c.handler->on_stream_opened(kStream);
    wire::Hello hello;
    hello.instance = wire::InstanceId{{7}};
    say(c, hello);
    EXPECT_FALSE(c.connection.closed());
    return c;
  }
  static std::uint64_t code(const Client& c) { return c.connection.closed_with ? c.connection.closed_with->code : 0; }
  static constexpr auto kLimit = static_cast<std::uint64_t>(wire::CloseCode::limit);
};

TEST_F(WorkerTest, ClosesAClientThatDoesNotTakeItsAnswers) {
  const auto w = worker(0);
  auto& a = client(*w, "agent", "laptop");
  a.connection.streams[kStream].unsent = ControlSession::kMaxUnsent;
  say(a, wire::RegisterAgent{"web"});
  ASSERT_EQ(mail.deliveries.size(), 1U);
  w->deliver(mail.deliveries[0]);
  EXPECT_FALSE(a.connection.closed());
  a.connection.streams[kStream].unsent = ControlSession::kMaxUnsent + 1;
  const auto written = a.connection.streams[kStream].written.size();
  w->deliver(mail.deliveries[0]);
  EXPECT_EQ(code(a), kLimit);
  EXPECT_EQ(a.connection.streams[kStream].written.size(), written);
  a.close();
  EXPECT_EQ(counters.sessions.ends.value(SessionEnd::limit), 1U);
}

TEST_F(WorkerTest, ClosesAClientThatAsksTooMuch) {
  const auto w = worker(0);
  auto& a = client(*w, "agent", "laptop");
  for (int i = 0; i < ControlSession::kRequestBurst; ++i) say(a, wire::RegisterAgent{"web"});
  EXPECT_FALSE(a.connection.closed());
  now += 1s;
  w->on_deadline(now, wall);
  for (int i = 0; i < ControlSession::kRequestsPerSecond; ++i) say(a, wire::RegisterAgent{"web"});
  EXPECT_FALSE(a.connection.closed());
  say(a, wire::RegisterAgent{"web"});
  EXPECT_EQ(code(a), kLimit);
  EXPECT_EQ(mail.deliveries.size(), 1200U);
  a.close();
}

TEST_F(WorkerTest, IgnoresASourceWithManyUnfinishedHandshakes) {
  const auto w = worker(0, 40);  // a source's share: 2
  using Admit = quic::Acceptor::Admit;
  EXPECT_EQ(w->admit(path(1), false, now), Admit::retry);
  auto& silent = accept(*w);
  EXPECT_EQ(w->admit(path(1), true, now), Admit::accept);
  auto& good = accept(*w);
  EXPECT_EQ(w->admit(path(1), true, now), Admit::ignore);
  EXPECT_EQ(counters.handshakes_limited.value(), 1U);
  EXPECT_EQ(w->admit(path(2), true, now), Admit::accept);
  good.handler->on_established();
  EXPECT_EQ(w->admit(path(1), true, now), Admit::accept);
  auto& third = accept(*w);
  EXPECT_EQ(w->admit(path(1), true, now), Admit::ignore);
  silent.handler->on_closed({});
  EXPECT_EQ(w->admit(path(1), true, now), Admit::accept);
  good.handler->on_closed({});  // was counted out when it was established
  accept(*w);
  EXPECT_EQ(w->admit(path(1), true, now), Admit::ignore);
  third.handler->on_closed({});
}

TEST_F(WorkerTest, PostsEverythingInTheRegistrysOrder) {
  const auto here = worker(0);
  const auto there = worker(1);
  auto& a = client(*here, "agent", "laptop");
  say(a, wire::RegisterAgent{"web"});
  auto& c = client(*there, "connector", "c1");
  mail.deliveries.clear();
  bool held = true;
  mail.when_posted = [&] {
    // From another thread, as another worker would.
    held = held && !std::async(std::launch::async, [&] {
                      const std::unique_lock lock{registry.delivery_order(), std::try_to_lock};
                      return lock.owns_lock();
                    }).get();
  };
  const auto written = a.connection.streams[kStream].written.size();
  say(c, wire::RegisterConnector{"web", 0, {}});  // to `c` itself, and ServiceUp to `a`
  say(a, wire::RegisterAgent{"web"});             // to `a` itself: must not overtake
  EXPECT_TRUE(held);
  EXPECT_EQ(a.connection.streams[kStream].written.size(), written);
  ASSERT_EQ(mail.deliveries.size(), 3U);
  EXPECT_TRUE(std::holds_alternative<wire::RegistrationAck>(mail.deliveries[0].message));
  EXPECT_TRUE(std::holds_alternative<wire::ServiceUp>(mail.deliveries[1].message));
  EXPECT_TRUE(std::holds_alternative<wire::RegistrationAck>(mail.deliveries[2].message));
  EXPECT_EQ(mail.deliveries[1].to, mail.deliveries[2].to);
}

}  // namespace
}  // namespace ztna::intermediate
