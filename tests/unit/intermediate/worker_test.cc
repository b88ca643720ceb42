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
#include "wire/control/framer.h"
#include "wire/control/message.h"
#include "wire/probe.h"

namespace ztna::intermediate {
namespace {

struct RecordingUdp final : WorkerUdp {
  struct Sent {
    SocketAddress local, to;
    ByteVector octets;
  };
  std::vector<Sent> sent;
  void send(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t) override {
    sent.push_back({local, to, {row.begin(), row.end()}});
  }
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

struct WorkerTest : ::testing::Test {
  test::SeededRandom random{1};
  RouteTable routes;
  Registry registry{{}, {{*Prefix::parse("10.100.0.0/24"), {}}}, routes, random};
  SharedCounters counters;
  RecordingUdp udp;
  HeldMail mail;
  test::TestCa ca;
  TimePoint now = TimePoint{} + 1h;
  WallTime wall = std::chrono::time_point_cast<WallTime::duration>(std::chrono::system_clock::now());
  static constexpr quic::StreamId kStream{0};
  static constexpr std::uint16_t kPort = 4433, kProbePort = 4435;

  std::unique_ptr<Worker> worker(std::uint8_t index, std::size_t max_handshakes = 4000) {
    WorkerOptions options;
    options.index = index;
    options.workers = 2;
    options.max_handshakes = max_handshakes;
    options.port = kPort;
    options.probe_port = kProbePort;
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

TEST_F(WorkerTest, LetsNobodyInWhileItDrains) {
  const auto w = worker(0);
  using Admit = quic::Acceptor::Admit;
  ASSERT_EQ(w->admit(path(1), true, now), Admit::accept);
  w->drain();
  EXPECT_EQ(w->admit(path(1), false, now), Admit::ignore);
  EXPECT_EQ(w->admit(path(1), true, now), Admit::ignore);
}

struct WorkerProbes : WorkerTest {
  const IpAddress here = *IpAddress::parse("198.18.3.2");
  const SocketAddress from = *SocketAddress::parse("192.0.2.1:5000");
  std::unique_ptr<Worker> w = worker(0);

  /// `row` arrives at `port` in segments.
  void arrives(std::uint16_t port, ByteVector row, std::size_t segment = 0) {
    w->receive({here, port}, from, row, segment, now, wall);
    w->flush(now);
  }
  static ByteVector probe(wire::ProbeKind kind) {
    return wire::encode_probe({kind, {}, wire::TransactionId{{1}}, {}, {}}, wire::Role::agent);
  }
};

TEST_F(WorkerProbes, JunkOfEachFirstOctetAtBothPortsChangesNothingButCounters) {
  auto& a = client(*w, "agent", "laptop");
  const auto written = a.connection.streams[kStream].written.size();
  mail.deliveries.clear();
  constexpr std::uint64_t kPackets = 10'000;
  // Routed datagram, probe, QUIC with a long and a short header, none of them.
  for (const auto first : std::initializer_list<std::uint8_t>{0x2F, 0x1A, 0xC0, 0x40, 0x00}) {
    for (const auto port : {kPort, kProbePort}) {
      for (std::uint64_t i = 0; i < kPackets; ++i) {
        ByteVector packet(random.below(60));
        random.fill(packet);
        if (!packet.empty()) packet[0] = first;
        if (packet.size() > 1 && first == 0x40) packet[1] = 0;  // a connection id of this worker
        const auto size = packet.size();
        const auto before = udp.sent.size();
        arrives(port, std::move(packet));
        for (auto n = before; n < udp.sent.size(); ++n) ASSERT_LT(udp.sent[n].octets.size(), size);
      }
    }
  }
  // Nothing but stateless resets (RFC 9000 10.3), of which there is a budget.
  EXPECT_EQ(udp.sent.size(), w->endpoint().fates().value(quic::PacketFate::stateless_reset_sent));
  EXPECT_LE(udp.sent.size(), 1000U);
  for (const auto& sent : udp.sent) ASSERT_EQ(sent.local.port, kPort);
  EXPECT_TRUE(mail.deliveries.empty());
  EXPECT_TRUE(mail.kicks.empty());
  EXPECT_EQ(w->connections(), 0U);
  EXPECT_EQ(routes.size(), 0U);
  EXPECT_EQ(a.connection.streams[kStream].written.size(), written);
  EXPECT_FALSE(a.connection.closed());
  // Every payload has one fate.
  const auto& inputs = counters.inputs;
  EXPECT_EQ(counters.relay.fates.total() + inputs.total(), 5 * kPackets);
  EXPECT_EQ(counters.relay.fates.value(RelayFate::forwarded), 0U);
  EXPECT_EQ(counters.probes.value(ProbeFate::answered) + counters.probes.value(ProbeFate::answered_other), 0U);
  EXPECT_EQ(counters.probes.total(), 5 * kPackets + inputs.value(InputFate::probe));
  EXPECT_GT(inputs.value(InputFate::probe), kPackets / 2);
  EXPECT_GE(counters.probes.value(ProbeFate::not_a_probe), 4 * kPackets);
}

TEST_F(WorkerProbes, AnswersFromThePortThatTheProbeAsksFor) {
  struct Case {
    std::uint16_t asked;
    wire::ProbeKind kind;
    std::uint16_t answers;
  };
  for (const auto& c :
       {Case{kPort, wire::ProbeKind::open_request, kPort}, Case{kProbePort, wire::ProbeKind::open_request, kProbePort},
        Case{kPort, wire::ProbeKind::open_request_other, kProbePort},
        Case{kProbePort, wire::ProbeKind::open_request_other, kPort}}) {
    udp.sent.clear();
    arrives(c.asked, probe(c.kind));
    ASSERT_EQ(udp.sent.size(), 1U);
    EXPECT_EQ(udp.sent[0].local, (SocketAddress{here, c.answers}));
    EXPECT_EQ(udp.sent[0].to, from);
    EXPECT_EQ(wire::Probe::parse(udp.sent[0].octets)->address, from);
  }
  // Several in one batch of the kernel's, and with junk between.
  auto row = probe(wire::ProbeKind::open_request);
  const auto size = row.size();
  row.resize(2 * size);
  const auto last = probe(wire::ProbeKind::open_request);
  row.insert(row.end(), last.begin(), last.end());
  udp.sent.clear();
  arrives(kPort, row, size);
  arrives(kProbePort, row, size);
  EXPECT_EQ(udp.sent.size(), 4U);
}

TEST_F(WorkerProbes, TellsClientsOfTheProbePortAfterHelloAndBeforeTheirAddress) {
  auto& a = client(*w, "agent", "laptop");
  std::vector<wire::MessageType> types;
  std::uint16_t port_told = 0;
  wire::Framer framer;
  ASSERT_TRUE(framer.push(a.connection.streams[kStream].written, [&](const wire::Frame& frame) -> Result<void> {
    types.push_back(static_cast<wire::MessageType>(frame.type));
    if (frame.type == 0x02) port_told = wire::ProbePort::parse(frame.body)->port;
    return {};
  }));
  using Type = wire::MessageType;
  EXPECT_EQ(port_told, kProbePort);
  EXPECT_EQ(types, (std::vector{Type::hello, Type::probe_port, Type::observed_address}));
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
