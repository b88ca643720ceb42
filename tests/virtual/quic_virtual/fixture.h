// One client and one server on a simulated network, with certificates of one CA.
#pragma once

#include <gtest/gtest.h>

#include "support/sim_quic.h"

namespace ztna::test {

inline SocketAddress address(std::string_view text) { return SocketAddress::parse(text).value(); }

struct Pki {
  TestCa ca{"test CA"};
  PemPair server =
      ca.issue({.common_name = "server", .dns = {"server.test"}, .ips = {"192.0.2.2"}, .purpose = Purpose::server});
  PemPair client = ca.issue({.common_name = "client", .dns = {"agent.web.ztna"}, .purpose = Purpose::client});
  static const Pki& shared() {
    static const Pki kPki;
    return kPki;
  }
};

inline quic::TlsOptions tls_options(const std::string& ca, const PemPair& own) {
  quic::TlsOptions options;
  options.ca_pem = ca;
  options.cert_pem = own.cert;
  options.key_pem = own.key;
  options.alpn = "ztna-v1";
  return options;
}

inline std::shared_ptr<const quic::TlsContext> tls(quic::Side side, const quic::TlsOptions& options) {
  auto context = quic::TlsContext::create(side, options);
  if (!context) throw std::runtime_error(context.error().text);
  return *context;
}

class QuicWorld : public ::testing::Test {
 protected:
  explicit QuicWorld(std::uint64_t seed = 1) : world(seed) {
    server_tls = tls_options(pki.ca.pem(), pki.server);
    client_tls = tls_options(pki.ca.pem(), pki.client);
    server_options.reset_secret.fill(7);
    server_options.token_secret.fill(9);
    client_options.reset_secret.fill(5);
  }

  /// Creates both endpoints and the client's connection.
  void start() {
    start_server();
    connect();
  }
  void start_server() {
    acceptor.tls = tls(quic::Side::server, server_tls);
    server = &world.add(server_options, &acceptor);
    server->bind(server_address);
    client = &world.add(client_options, nullptr);
    client->bind(client_address);
  }
  quic::Connection* connect() { return connect_with(handler); }
  quic::Connection* connect_with(RecordingHandler& h) {
    if (!connect_options.tls) connect_options.tls = tls(quic::Side::client, client_tls);
    auto result = (*client)->connect(connect_options, path(), h, world.now());
    EXPECT_TRUE(result) << (result ? "" : result.error().text);
    h.connection = result ? *result : nullptr;
    return h.connection;
  }
  quic::Path path() const { return {client_address, server_address}; }
  /// Both ends established.
  bool establish() {
    start();
    return world.run_until(
        [&] { return handler.established && !acceptor.handlers.empty() && acceptor.last().established; }, 10s);
  }
  quic::Connection& connection() { return *handler.connection; }
  RecordingHandler& peer() { return acceptor.last(); }

  const Pki& pki = Pki::shared();
  SimWorld world;
  quic::TlsOptions server_tls;
  quic::TlsOptions client_tls;
  quic::EndpointOptions server_options;
  quic::EndpointOptions client_options;
  quic::ConnectOptions connect_options;
  SocketAddress client_address = address("192.0.2.1:5000");
  SocketAddress server_address = address("192.0.2.2:4433");
  RecordingAcceptor acceptor;
  RecordingHandler handler;
  SimEndpoint* server = nullptr;
  SimEndpoint* client = nullptr;
};

}  // namespace ztna::test
