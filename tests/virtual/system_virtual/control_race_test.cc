// Which address family the control connection takes to a dual-stack Intermediate (tunnel/address_race.h), on virtual
// time:
//
//   ControlClient 198.51.100.9 ----- v4 delay ----- 192.0.2.1
//                 2001:db8:9::9 ---- v6 delay ----- 2001:db8::1   one Intermediate
#include <gtest/gtest.h>

#include <algorithm>

#include "support/sim_quic.h"
#include "tunnel/control_client.h"
#include "tunnel/hub.h"
#include "wire/control/framer.h"
#include "wire/control/message.h"

namespace ztna::tunnel {
namespace {

using test::RecordingHandler;
using test::SimEndpoint;
using test::SimPacket;

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

const IpAddress kServer4 = ip("192.0.2.1"), kServer6 = ip("2001:db8::1");
const IpAddress kClient4 = ip("198.51.100.9"), kClient6 = ip("2001:db8:9::9");

std::shared_ptr<const quic::TlsContext> tls(quic::Side side, const test::TestCa& ca, const test::LeafSpec& spec) {
  const auto own = ca.issue(spec);
  quic::TlsOptions options;
  options.ca_pem = ca.pem();
  options.cert_pem = own.cert;
  options.key_pem = own.key;
  options.alpn = "ztna-v1";
  return *quic::TlsContext::create(side, std::move(options));
}

class ControlRace : public ::testing::Test, protected ControlClientOwner, protected Resolver {
 protected:
  // ControlClientOwner
  Result<void> verify_intermediate(Bytes) override {
    return refuse ? fail(Errc::denied, "refused by the test") : Result<void>{};
  }
  void on_control_ready() override { ++times_ready; }
  void on_control_lost(const quic::CloseReason&) override { ++times_lost; }
  bool on_control_message(const wire::ControlMessage&) override { return true; }
  // Resolver: the older family first, as a machine with private IPv6 addresses sorts them (RFC 6724).
  void resolve(const std::string&, Done done) override { done(names); }

  void SetUp() override {
    network.defaults.delay = 20ms;
    test::LeafSpec of_server;
    of_server.dns = {"relay.example.com"};
    acceptor.tls = tls(quic::Side::server, ca, of_server);
    acceptor.verdict = quic::Acceptor::Admit::retry;  // as the Intermediate does
    acceptor.prepare = [this](RecordingHandler& handler) {
      handler.when_data = [this, &handler](quic::StreamId stream, Bytes, bool) {
        ++hellos;
        (void)handler.connection->write(stream, Bytes{wire::encode_frame(wire::Hello{})});
      };
    };
    for (const auto& address : {kServer4, kServer6}) server.bind({address, 4433});
    for (const auto& address : {kClient4, kClient6}) client.bind({address, 5000});
    client.path_of = [](const SimPacket& packet) { return Hub::direct_path(packet.from); };
    client.packet_for = [](const quic::Path& path, ByteVector payload) {
      return SimPacket{{path.remote.ip.is_v4() ? kClient4 : kClient6, 5000}, path.remote, std::move(payload)};
    };
    test::LeafSpec of_client;
    of_client.purpose = test::Purpose::client;
    ControlClientOptions options;
    options.server = {"relay.example.com", 4433};
    control.emplace(options, *client, static_cast<Resolver&>(*this), random, tls(quic::Side::client, ca, of_client),
                    static_cast<ControlClientOwner&>(*this));
  }

  void delays(Duration v4, Duration v6) {
    network.set_links(kClient4, kServer4, {.delay = v4});
    network.set_links(kClient6, kServer6, {.delay = v6});
  }
  void cut(Family family, bool blocked = true) {
    const auto& [here, there] = family == Family::v4 ? std::pair{kClient4, kServer4} : std::pair{kClient6, kServer6};
    auto properties = network.link(here, there);
    properties.blocked = blocked;
    network.set_links(here, there, properties);
  }
  bool run_until(const std::function<bool()>& done, Duration limit) {
    const auto end = network.now() + limit;
    for (;;) {
      client.flush();
      server.flush();
      if (done()) return true;
      const auto next = std::min({network.next_event(), client.deadline(), server.deadline(), control->deadline()});
      if (next > end) {
        network.advance(end);
        return done();
      }
      network.advance(std::max(next, network.now()));
      for (auto* endpoint : {&client, &server}) {
        if (endpoint->deadline() <= network.now()) endpoint->on_deadline();
      }
      if (control->deadline() <= network.now()) control->on_deadline(network.now());
    }
  }
  /// How long it takes until the control connection is up.
  std::optional<Duration> connect(Duration limit = 5s) {
    const auto begun = network.now();
    control->start(begun);
    if (!run_until([this] { return control->ready(); }, limit)) return std::nullopt;
    return network.now() - begun;
  }
  /// The Intermediate's end of what is left of the races.
  RecordingHandler& in_use() {
    const auto alive = [](const auto& handler) { return handler->established && !handler->closed; };
    EXPECT_EQ(std::ranges::count_if(acceptor.handlers, alive), 1);
    return **std::ranges::find_if(acceptor.handlers, alive);
  }
  Family family() const { return control->server_address()->ip.family(); }

  test::SimNetwork network{1};
  test::TestCa ca;
  test::SeededRandom random{3};
  std::vector<IpAddress> names{kServer4, kServer6};
  test::RecordingAcceptor acceptor;
  SimEndpoint server{network, {}, &acceptor, 11};
  SimEndpoint client{network, {}, nullptr, 12};
  std::optional<ControlClient> control;
  bool refuse = false;
  int hellos = 0, times_ready = 0, times_lost = 0;
};

TEST_F(ControlRace, WithBothFamiliesDeadThereIsNone) {
  cut(Family::v4);
  cut(Family::v6);
  EXPECT_EQ(connect(30s), std::nullopt);
  EXPECT_EQ(hellos, 0);
}

TEST_F(ControlRace, AnIntermediateThatIsRefusedIsRefusedOverBoth) {
  refuse = true;
  EXPECT_EQ(connect(10s), std::nullopt);
  EXPECT_EQ(hellos, 0);
}

TEST_F(ControlRace, TheFasterFamilyWinsWhateverTheResolverPrefers) {
  for (const bool six_first : {false, true}) {
    for (const auto slower : {Family::v4, Family::v6}) {
      SCOPED_TRACE(fmt::format("{} {}", six_first, slower == Family::v4 ? "IPv4 slower" : "IPv6 slower"));
      SetUp();
      names = six_first ? std::vector{kServer6, kServer4} : std::vector{kServer4, kServer6};
      delays(slower == Family::v4 ? 25ms : 20ms, slower == Family::v6 ? 25ms : 20ms);
      hellos = times_ready = times_lost = 0;
      ASSERT_TRUE(connect());
      EXPECT_NE(family(), slower);
      run_until([] { return false; }, 20s);
      EXPECT_EQ(hellos, 1) << "the Intermediate ends the older connection of an identity when the newer one says Hello";
      EXPECT_EQ(times_ready, 1);
      EXPECT_EQ(times_lost, 0);
      EXPECT_EQ(client->connections(), 1U);
      control->stop("");
      run_until([] { return false; }, 40s);
    }
  }
}

TEST_F(ControlRace, OnATieIpv6IsUsed) {
  ASSERT_TRUE(connect());
  EXPECT_EQ(family(), Family::v6);
}

TEST_F(ControlRace, ADeadFamilyCostsNothing) {
  for (const auto dead : {Family::v4, Family::v6}) {
    SCOPED_TRACE(dead == Family::v4 ? "IPv4 dead" : "IPv6 dead");
    SetUp();
    cut(Family::v4, dead == Family::v4);
    cut(Family::v6, dead == Family::v6);
    const auto took = connect();
    ASSERT_TRUE(took);
    EXPECT_NE(family(), dead);
    EXPECT_LE(*took, 6 * 40ms + kRaceHeadStart)
        << "Retry, handshake, confirmation and Hello: four or five round trips of 40 ms";
    control->stop("");
    run_until([] { return false; }, 40s);
  }
}

TEST_F(ControlRace, AfterALossTheWinnerIsDialledAloneAndTheOtherOnlyIfItIsSilent) {
  delays(10ms, 30ms);
  ASSERT_TRUE(connect());
  ASSERT_EQ(family(), Family::v4);
  run_until([] { return false; }, 1s);
  const auto accepted = acceptor.handlers.size();
  in_use().connection->close(4, "draining");
  ASSERT_TRUE(run_until([this] { return times_lost == 1; }, 1s));
  ASSERT_TRUE(run_until([this] { return control->ready(); }, 1s));
  EXPECT_EQ(acceptor.handlers.size(), accepted + 1) << "one handshake, not one of each family";
  EXPECT_EQ(family(), Family::v4);

  run_until([] { return false; }, 1s);  // until nothing is under way
  // Now it is the winner that is dead: the other is there after the attempt delay, with no timeout in between.
  cut(Family::v4);
  const auto begun = network.now();
  control->suspect(begun);
  ASSERT_TRUE(run_until([this] { return control->ready() && family() == Family::v6; }, 5s));
  EXPECT_LE(network.now() - begun, 200ms + kRaceAttemptDelay + 6 * 60ms);
}

TEST_F(ControlRace, NothingIsDialledOnceAWinnerIsEstablished) {
  delays(50ms, 60ms);
  ASSERT_TRUE(connect());
  ASSERT_EQ(family(), Family::v4);
  run_until([] { return false; }, 1s);
  in_use().connection->close(4, "draining");
  ASSERT_TRUE(run_until([this] { return times_lost == 1; }, 1s));
  // With a token and this round trip it is established before the attempt delay is over, and the Intermediate's Hello
  // comes after it.
  const auto begun = network.now();
  int over_ipv6 = 0;
  network.tap = [&](const SimPacket& packet) {
    if (packet.to.ip == kServer6) ++over_ipv6;
    return true;
  };
  ASSERT_TRUE(run_until([this] { return control->ready(); }, 2s));
  EXPECT_GT(network.now() - begun, kRaceAttemptDelay) << "too early to tell anything";
  run_until([] { return false; }, 5s);
  EXPECT_EQ(over_ipv6, 0);
  EXPECT_EQ(times_lost, 1);
}

TEST_F(ControlRace, AnotherNetworkBeginsWithoutAFavourite) {
  delays(10ms, 30ms);
  ASSERT_TRUE(connect());
  ASSERT_EQ(family(), Family::v4);
  delays(30ms, 10ms);
  in_use().connection->close(1, "lost");
  ASSERT_TRUE(run_until([this] { return times_lost == 1; }, 1s));
  control->network_changed(network.now());
  ASSERT_TRUE(run_until([this] { return control->ready(); }, 5s));
  EXPECT_EQ(family(), Family::v6);
}

}  // namespace
}  // namespace ztna::tunnel
