// Who gets a connection, and what the others are told. Refusals first.
#include <gmock/gmock.h>

#include "virtual/quic_virtual/fixture.h"

namespace ztna::test {
namespace {

using quic::CloseReason;
using ::testing::HasSubstr;

constexpr std::uint64_t kTls = 0x100;

class Handshake : public QuicWorld {
 protected:
  /// The server refuses: the client never counts as established and learns why.
  void expect_server_refuses(std::uint64_t code, const std::string& text) {
    start();
    ASSERT_TRUE(world.run_until([&] { return handler.closed && !acceptor.handlers.empty() && peer().closed; }, 10s));
    EXPECT_FALSE(handler.established);
    EXPECT_FALSE(peer().established);
    EXPECT_EQ(handler.closed->by, CloseReason::By::peer);
    EXPECT_EQ(handler.closed->code, code);
    EXPECT_THAT(handler.closed->text, HasSubstr(text));
    EXPECT_FALSE(handler.closed->application);
    EXPECT_EQ(peer().closed->by, CloseReason::By::failed);
    EXPECT_THAT(peer().closed->text, HasSubstr(text));
    expect_clean_end();
  }
  /// The client refuses: the server learns why.
  void expect_client_refuses(std::uint64_t code, const std::string& text) {
    start();
    ASSERT_TRUE(world.run_until([&] { return handler.closed && !acceptor.handlers.empty() && peer().closed; }, 10s));
    EXPECT_FALSE(handler.established);
    EXPECT_FALSE(peer().established);
    EXPECT_EQ(handler.closed->by, CloseReason::By::failed);
    EXPECT_EQ(handler.closed->code, code);
    EXPECT_THAT(handler.closed->text, HasSubstr(text));
    EXPECT_EQ(peer().closed->by, CloseReason::By::peer);
    EXPECT_EQ(peer().closed->code, code);
    EXPECT_THAT(peer().closed->text, HasSubstr(text));
    expect_clean_end();
  }
  void expect_clean_end() {
    world.run_for(30s);
    EXPECT_EQ((*client)->connections(), 0U);
    EXPECT_EQ((*server)->connections(), 0U);
    EXPECT_EQ(handler.times_closed, 1);
    for (const auto& h : acceptor.handlers) EXPECT_EQ(h->times_closed, 1);
  }
};

TEST_F(Handshake, ClientOfAnotherCaIsRefusedAndToldWhy) {
  const TestCa other{"other CA"};
  client_tls = tls_options(pki.ca.pem(), other.issue({.purpose = Purpose::client}));
  expect_server_refuses(kTls + 48, "unknown CA");
}

TEST_F(Handshake, ClientWithoutCertificateIsRefusedAndToldWhy) {
  client_tls.cert_pem.clear();
  client_tls.key_pem.clear();
  expect_server_refuses(kTls + 116, "no client certificate");
}

TEST_F(Handshake, ExpiredClientCertificateIsRefusedAndToldWhy) {
  client_tls =
      tls_options(pki.ca.pem(), pki.ca.issue({.purpose = Purpose::client, .not_after = std::chrono::seconds{-60}}));
  expect_server_refuses(kTls + 45, "certificate expired");
}

TEST_F(Handshake, ClientCertificateNotYetValidIsRefused) {
  client_tls =
      tls_options(pki.ca.pem(), pki.ca.issue({.purpose = Purpose::client, .not_before = std::chrono::seconds{3600}}));
  expect_server_refuses(kTls + 42, "not yet valid");
}

TEST_F(Handshake, ServerCertificateAsClientIsRefused) {
  client_tls = tls_options(pki.ca.pem(), pki.ca.issue({.purpose = Purpose::server}));
  expect_server_refuses(kTls + 43, "not for client authentication");
}

TEST_F(Handshake, HandlerOfServerRefusesAndItsTextIsSeen) {
  acceptor.prepare = [](RecordingHandler& h) { h.refuse_with = "certificate has no ZTNA identity"; };
  expect_server_refuses(kTls + 49, "certificate has no ZTNA identity");
  EXPECT_EQ(peer().verified, 1);
}

TEST_F(Handshake, OtherAlpnIsRefused) {
  client_tls.alpn = "ztna-tunnel-v1";
  expect_server_refuses(kTls + 120, "no common application protocol");
}

TEST_F(Handshake, ServerOfAnotherCaIsRefused) {
  const TestCa other{"other CA"};
  server_tls = tls_options(pki.ca.pem(), other.issue({.dns = {"server.test"}, .purpose = Purpose::server}));
  expect_client_refuses(kTls + 48, "unknown CA");
}

TEST_F(Handshake, ExpiredServerCertificateIsRefused) {
  server_tls =
      tls_options(pki.ca.pem(), pki.ca.issue({.purpose = Purpose::server, .not_after = std::chrono::seconds{-1}}));
  expect_client_refuses(kTls + 45, "certificate expired");
}

TEST_F(Handshake, ClientCertificateAsServerIsRefused) {
  server_tls = tls_options(pki.ca.pem(), pki.ca.issue({.dns = {"server.test"}, .purpose = Purpose::client}));
  expect_client_refuses(kTls + 43, "not for server authentication");
}

TEST_F(Handshake, WrongServerNameIsRefused) {
  connect_options.server_name = "another.test";
  connect_options.check_name = true;
  expect_client_refuses(kTls + 42, "certificate is not for another.test");
}

TEST_F(Handshake, WrongServerAddressIsRefused) {
  connect_options.server_name = "192.0.2.3";
  connect_options.check_name = true;
  expect_client_refuses(kTls + 42, "certificate is not for 192.0.2.3");
}

TEST_F(Handshake, HandlerOfClientRefuses) {
  handler.refuse_with = "not the connector that was asked for";
  expect_client_refuses(kTls + 49, "not the connector that was asked for");
}

TEST_F(Handshake, AcceptorRefusesWithConnectionRefused) {
  acceptor.refuse_with = "draining";
  start();
  ASSERT_TRUE(world.run_until([&] { return handler.closed.has_value(); }, 10s));
  EXPECT_EQ(handler.closed->by, CloseReason::By::peer);
  EXPECT_EQ(handler.closed->code, 2U);
  EXPECT_EQ(handler.closed->text, "draining");
}

TEST_F(Handshake, IgnoredStrangerGetsNoAnswerAtAll) {
  acceptor.verdict = quic::Acceptor::Admit::ignore;
  start();
  world.run_until([&] { return handler.closed.has_value(); }, 60s);
  ASSERT_TRUE(handler.closed);
  EXPECT_EQ(handler.closed->by, CloseReason::By::failed);
  EXPECT_EQ(server->packets_sent, 0U);
  EXPECT_GT(server->fates[quic::PacketFate::not_welcome], 0U);
  expect_clean_end();
}

TEST_F(Handshake, SilentServerTimesOut) {
  start();
  world.network.link(client_address.ip, server_address.ip).blocked = true;
  ASSERT_TRUE(world.run_until([&] { return handler.closed.has_value(); }, 60s));
  EXPECT_EQ(handler.closed->by, CloseReason::By::failed);
  EXPECT_EQ(handler.closed->text, "handshake timed out");
}

TEST_F(Handshake, MutualTlsSucceeds) {
  connect_options.server_name = "server.test";
  connect_options.check_name = true;
  ASSERT_TRUE(establish());
  EXPECT_EQ(handler.verified, 1);
  EXPECT_EQ(peer().verified, 1);
  EXPECT_TRUE(connection().established());
  EXPECT_EQ(connection().path(), path());
  EXPECT_TRUE(equal(connection().peer_certificate(), handler.leaf_seen));
  EXPECT_FALSE(handler.leaf_seen.empty());
  EXPECT_FALSE(peer().leaf_seen.empty());
  EXPECT_NE(handler.leaf_seen, peer().leaf_seen);
}

TEST_F(Handshake, ServerAddressIsChecked) {
  connect_options.server_name = "192.0.2.2";
  connect_options.check_name = true;
  EXPECT_TRUE(establish());
}

TEST_F(Handshake, Ed25519Works) {
  const TestCa ca{"Ed25519 CA", KeyKind::ed25519};
  server_tls = tls_options(ca.pem(), ca.issue({.purpose = Purpose::server, .key = KeyKind::ed25519}));
  client_tls = tls_options(ca.pem(), ca.issue({.purpose = Purpose::client, .key = KeyKind::ed25519}));
  EXPECT_TRUE(establish());
}

TEST_F(Handshake, BothEndsExportTheSameKey) {
  ASSERT_TRUE(establish());
  std::array<std::uint8_t, 32> a{};
  std::array<std::uint8_t, 32> b{};
  const std::array<std::uint8_t, 8> context{1, 2, 3, 4, 5, 6, 7, 8};
  ASSERT_TRUE(connection().export_key("EXPORTER-ztna-probe", context, a));
  ASSERT_TRUE(peer().connection->export_key("EXPORTER-ztna-probe", context, b));
  EXPECT_EQ(a, b);
  ASSERT_TRUE(connection().export_key("EXPORTER-other", context, b));
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace ztna::test
