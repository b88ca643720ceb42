// Birthday searches of two ends: the opener's sockets are ports of one address (its NAT gives each one of its own), the
// prober lets in only what it has sent to. Refusals first.
#include "tunnel/searching.h"

#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "support/fake_connection.h"
#include "support/seeded_random.h"
#include "tunnel/probe_key.h"

namespace ztna::tunnel {
namespace {

using path::BirthdaySide;
using path::ProbeFate;

struct Packet {
  SocketAddress from, to;
  ByteVector octets;
};

struct End final : UdpPort, SideSockets, SearchingOwner {
  End(wire::Role role, const char* where, std::deque<Packet>& net, std::uint64_t seed)
      : own(*SocketAddress::parse(where)), network(net), random(seed), searching(role, *this, this, random, *this) {
    connection.exported = 7;
  }

  SocketAddress at(SocketId id) const { return {own.ip, static_cast<std::uint16_t>(own.port + id)}; }
  void send(const SocketAddress& to, Bytes row, std::size_t) override {
    const auto routed = routes.find(to);
    push(routed == routes.end() ? own : at(routed->second), to, row);
  }
  bool writable() const override { return true; }
  std::vector<SocketId> open_side(unsigned count) override {
    std::vector<SocketId> opened;
    while (opened.size() < std::min<std::size_t>(count, most)) opened.push_back(*open.insert(++last).first);
    return opened;
  }
  void send_from(SocketId socket, const SocketAddress& to, Bytes payload) override {
    EXPECT_TRUE(open.contains(socket));
    push(at(socket), to, payload);
  }
  void route(SocketId socket, const SocketAddress& remote) override {
    EXPECT_TRUE(open.contains(socket));
    routes[remote] = socket;
  }
  void close_side(SocketId socket) override {
    EXPECT_EQ(open.erase(socket), 1U);
    std::erase_if(routes, [&](const auto& entry) { return entry.second == socket; });
  }
  void on_search_found(const wire::SessionId&, const wire::TunnelId&, const path::BirthdaySearch::Found& f) override {
    found.push_back(f.remote);
  }
  void on_search_failed(const wire::SessionId&, const wire::TunnelId&, SearchEnd why) override {
    failed.push_back(why);
  }
  void push(const SocketAddress& from, const SocketAddress& to, Bytes octets) {
    reached.insert(to);
    network.push_back({from, to, ByteVector{octets.begin(), octets.end()}});
  }
  /// A packet that came in from outside; `filters`: only from where something was sent to.
  void deliver(const Packet& packet, TimePoint now) {
    if (filters && !reached.contains(packet.from)) return;
    const auto socket = static_cast<SocketId>(packet.to.port - own.port);
    if (packet.to.ip != own.ip || (socket != kMainSocket && !open.contains(socket))) return;
    const auto probe = wire::Probe::parse(packet.octets);
    ASSERT_TRUE(probe);
    if (searching.contains(probe->session)) fates.add(searching.receive(socket, packet.from, *probe, now));
  }

  SocketAddress own;
  std::deque<Packet>& network;
  test::SeededRandom random;
  test::FakeConnection connection;
  std::size_t most = 1000;
  SocketId last = 0;
  std::set<SocketId> open;
  std::map<SocketAddress, SocketId> routes;
  std::set<SocketAddress> reached;
  bool filters = false;
  std::vector<SocketAddress> found;
  std::vector<SearchEnd> failed;
  path::ProbeFates fates;
  Searching searching;
};

struct SearchingTest : testing::Test {
  std::deque<Packet> network;
  End opener{wire::Role::agent, "192.0.2.1:20000", network, 1};
  End prober{wire::Role::connector, "198.51.100.1:4434", network, 2};
  TimePoint now{1s};
  const wire::SessionId session{{1, 2, 3}};
  const wire::TunnelId tunnel{{9}};
  std::vector<Packet> sent;

  SearchingTest() { prober.filters = true; }

  void begin_both() {
    for (auto* e : {&opener, &prober}) ASSERT_TRUE(e->searching.begin(session, tunnel, e->connection, now));
  }
  void start_both() {
    ASSERT_TRUE(opener.searching.start(session, BirthdaySide::opener, prober.own, 0ms, now));
    ASSERT_TRUE(prober.searching.start(session, BirthdaySide::prober, opener.own, 0ms, now));
  }
  void run(Duration duration) {
    const auto end = now + duration;
    for (;;) {
      while (!network.empty()) {
        const auto packet = std::move(network.front());
        network.pop_front();
        sent.push_back(packet);
        for (auto* e : {&opener, &prober}) {
          if (e->own.ip == packet.to.ip) e->deliver(packet, now);
        }
      }
      const auto next = std::min(opener.searching.deadline(), prober.searching.deadline());
      if (next > end) break;
      now = std::max(now, next);
      for (auto* e : {&opener, &prober}) {
        if (e->searching.deadline() <= now) e->searching.on_deadline(now);
      }
    }
    now = end;
  }
  static std::uint64_t ended(const End& e, SearchEnd how) { return e.searching.ends().value(how); }
};

TEST_F(SearchingTest, NothingIsSentBeforeStartPunchingAndItIsNotWaitedForForEver) {
  begin_both();
  run(Searching::kUnstarted - 1ms);
  EXPECT_TRUE(sent.empty());
  EXPECT_TRUE(opener.open.empty());
  EXPECT_TRUE(opener.failed.empty());
  run(1ms);
  EXPECT_EQ(opener.failed, std::vector{SearchEnd::not_signaled});
  EXPECT_EQ(ended(prober, SearchEnd::not_signaled), 1U);
  EXPECT_FALSE(opener.searching.contains(session));
  EXPECT_FALSE(opener.searching.start(session, BirthdaySide::opener, prober.own, 0ms, now));
  EXPECT_EQ(opener.searching.begun().value(), 0U);
}

TEST_F(SearchingTest, ForgedProbesSettleNothing) {
  begin_both();
  start_both();
  run(100ms);
  wire::Probe probe{.session = session, .address = opener.at(3)};
  probe.transaction.value = {4, 5, 6};
  const auto forged = wire::encode_probe(probe, wire::Role::connector, [](Bytes) { return wire::ProbeMac{1}; });
  for (SocketId id = 1; id <= 384; ++id) opener.deliver({prober.own, opener.at(id), forged}, now);
  EXPECT_EQ(opener.fates.value(ProbeFate::forged), 384U);
  EXPECT_TRUE(opener.routes.empty());
  EXPECT_EQ(opener.open.size(), 384U);
}

TEST_F(SearchingTest, NoSocketEndsItAndFewerAreCounted) {
  opener.most = 0;
  begin_both();
  start_both();
  EXPECT_EQ(opener.failed, std::vector{SearchEnd::no_sockets});
  EXPECT_EQ(opener.searching.sockets_missing().value(), 384U);
  EXPECT_FALSE(opener.searching.contains(session));
  opener.most = 5;
  const wire::SessionId other{{7}};
  ASSERT_TRUE(opener.searching.begin(other, tunnel, opener.connection, now));
  ASSERT_TRUE(opener.searching.start(other, BirthdaySide::opener, prober.own, 0ms, now));
  EXPECT_EQ(opener.open.size(), 5U);
  EXPECT_EQ(opener.searching.sockets().value(), 5U);
  EXPECT_EQ(opener.searching.sockets_missing().value(), 384U + 379U);
  opener.searching.end(other);
  EXPECT_TRUE(opener.open.empty());
  EXPECT_EQ(opener.searching.sockets().value(), 0U);
}

TEST_F(SearchingTest, OnlySoManyAtOnce) {
  for (std::uint8_t n = 0; n < Searching::kMaxSearches; ++n) {
    ASSERT_TRUE(prober.searching.begin(wire::SessionId{{n}}, wire::TunnelId{{n}}, prober.connection, now));
  }
  const auto more = prober.searching.begin(wire::SessionId{{99}}, wire::TunnelId{{99}}, prober.connection, now);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Errc::exhausted);
  EXPECT_TRUE(prober.searching.begin(wire::SessionId{{99}}, wire::TunnelId{{0}}, prober.connection, now))
      << "in place of the tunnel's older one";
}

TEST_F(SearchingTest, FailsInTimeWithinItsBudgetAndClosesAll) {
  begin_both();
  ASSERT_TRUE(opener.searching.start(session, BirthdaySide::opener, prober.own, 0ms, now));
  // The prober looks elsewhere, so nothing is hit.
  ASSERT_TRUE(prober.searching.start(session, BirthdaySide::prober, *SocketAddress::parse("203.0.113.1:9"), 0ms, now));
  run(path::BirthdaySearch::kBudget);
  EXPECT_EQ(opener.failed, std::vector{SearchEnd::failed});
  EXPECT_EQ(prober.failed, std::vector{SearchEnd::failed});
  EXPECT_TRUE(opener.open.empty());
  EXPECT_EQ(opener.searching.requests_sent().value(), 384U);
  EXPECT_EQ(prober.searching.requests_sent().value(), 624U);
  EXPECT_EQ(sent.size(), 384U + 624U);
}

TEST_F(SearchingTest, BothEndsFindOnePathAndTheOtherSocketsAreClosed) {
  begin_both();
  start_both();
  run(path::BirthdaySearch::kBudget);
  ASSERT_EQ(opener.found.size(), 1U);
  ASSERT_EQ(prober.found.size(), 1U);
  EXPECT_EQ(opener.found[0], prober.own);
  ASSERT_EQ(opener.open.size(), 1U);
  EXPECT_EQ(prober.found[0], opener.at(*opener.open.begin())) << "the socket that is left";
  EXPECT_EQ(opener.routes, (std::map<SocketAddress, SocketId>{{prober.own, *opener.open.begin()}}));
  EXPECT_EQ(opener.searching.remembered(tunnel), prober.own);
  EXPECT_EQ(prober.searching.remembered(tunnel), opener.at(*opener.open.begin()));
  EXPECT_LE(opener.searching.requests_sent().value() + prober.searching.requests_sent().value(), 1024U);
  EXPECT_EQ(opener.searching.sockets().value(), 1U);
  EXPECT_EQ(ended(opener, SearchEnd::found), 1U);
  run(path::BirthdaySearch::kLinger + 1s);
  EXPECT_FALSE(opener.searching.contains(session));
  EXPECT_EQ(opener.open.size(), 1U) << "the path goes on";
}

/// Every one of the opener's ports is hit at once by probes that were on the way together; one answers.
TEST_F(SearchingTest, OneSocketAnswersHoweverManyAreHit) {
  begin_both();
  start_both();
  run(100ms);
  std::set<SocketAddress> answering;
  auto key = export_probe_key(prober.connection, session);
  ASSERT_TRUE(key);
  for (SocketId id = 10; id < 20; ++id) {
    wire::Probe probe{.session = session, .address = opener.at(id)};
    probe.transaction.value = {static_cast<std::uint8_t>(id)};
    opener.deliver({prober.own, opener.at(id),
                    wire::encode_probe(probe, wire::Role::connector, mac_function(*key, prober.random))},
                   now);
  }
  for (const auto& packet : network) {
    const auto probe = wire::Probe::parse(packet.octets);
    if (probe->kind == wire::ProbeKind::response) answering.insert(packet.from);
  }
  EXPECT_EQ(answering, std::set{opener.at(10)});
  EXPECT_EQ(opener.fates.value(ProbeFate::answered), 1U);
  EXPECT_EQ(opener.fates.value(ProbeFate::over_limit), 9U);
  EXPECT_EQ(opener.routes.at(prober.own), 10U) << "before it has its own answer";
}

TEST_F(SearchingTest, AnotherNetworkEndsWhatNobodyUses) {
  begin_both();
  start_both();
  run(path::BirthdaySearch::kBudget);
  ASSERT_EQ(opener.open.size(), 1U);
  opener.searching.left(tunnel);
  EXPECT_EQ(opener.open.size(), 1U) << "the way may be back";
  opener.searching.network_changed([](const wire::TunnelId&) { return false; });
  EXPECT_TRUE(opener.open.empty());
  EXPECT_TRUE(opener.routes.empty()) << "the main socket is what the peer expects now";
  EXPECT_FALSE(opener.searching.remembered(tunnel));
}

TEST_F(SearchingTest, AnotherNetworkEndsWhatIsInUseWhenItIsLeft) {
  begin_both();
  start_both();
  run(path::BirthdaySearch::kBudget);
  ASSERT_EQ(opener.open.size(), 1U);
  const wire::TunnelId successor{{10}};  // it has not searched itself
  opener.searching.use(successor, prober.own);
  opener.searching.network_changed([](const wire::TunnelId&) { return true; });
  EXPECT_EQ(opener.open.size(), 1U);
  opener.searching.left(tunnel);
  EXPECT_EQ(opener.open.size(), 1U);
  EXPECT_FALSE(opener.searching.remembered(tunnel));
  opener.searching.left(successor);
  EXPECT_TRUE(opener.open.empty());
}

TEST_F(SearchingTest, SessionsThatFailByItEndIt) {
  begin_both();
  start_both();
  run(path::BirthdaySearch::kBudget);
  opener.searching.not_punched(tunnel);
  opener.searching.use(tunnel, prober.own);  // it was reached again in between
  opener.searching.not_punched(tunnel);
  ASSERT_EQ(opener.open.size(), 1U);
  EXPECT_TRUE(opener.searching.remembered(tunnel));
  opener.searching.not_punched(tunnel);
  EXPECT_TRUE(opener.open.empty());
  EXPECT_FALSE(opener.searching.remembered(tunnel));
}

TEST_F(SearchingTest, ATunnelKeepsOneSocketHoweverOftenItSearches) {
  for (std::uint8_t n = 1; n <= 3; ++n) {
    prober.own.port = static_cast<std::uint16_t>(4434 + n);  // its NAT has rebound
    const wire::SessionId again{{n}};
    for (auto* e : {&opener, &prober}) ASSERT_TRUE(e->searching.begin(again, tunnel, e->connection, now));
    ASSERT_TRUE(opener.searching.start(again, BirthdaySide::opener, prober.own, 0ms, now));
    ASSERT_TRUE(prober.searching.start(again, BirthdaySide::prober, opener.own, 0ms, now));
    run(path::BirthdaySearch::kBudget);
    ASSERT_EQ(opener.found.size(), n);
    EXPECT_EQ(opener.open.size(), 1U);
    EXPECT_EQ(opener.searching.sockets().value(), 1U);
  }
}

TEST_F(SearchingTest, TheSocketLivesAsLongAsATunnelUsesIt) {
  begin_both();
  start_both();
  run(path::BirthdaySearch::kBudget);
  ASSERT_EQ(opener.open.size(), 1U);
  const wire::TunnelId successor{{10}};
  opener.searching.use(successor, *SocketAddress::parse("203.0.113.1:9"));  // another way: no claim
  opener.searching.use(successor, prober.own);
  opener.searching.end_tunnel(tunnel);
  EXPECT_EQ(opener.open.size(), 1U);
  EXPECT_FALSE(opener.searching.remembered(tunnel));
  opener.searching.end_tunnel(successor);
  EXPECT_TRUE(opener.open.empty());
  EXPECT_TRUE(opener.routes.empty());
}

}  // namespace
}  // namespace ztna::tunnel
