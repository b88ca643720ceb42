// Bytes from anybody to a server endpoint with live connections and to a client. The input is a row of packets:
// flags (1) | length (2) | octets. Flag bits: 0 to the client; 1 from a strange address; 2 a mutation of a real packet
// (XORed); 3 lets 10 ms pass.
#include <cstdlib>

#include "support/sim_quic.h"

using namespace ztna;
using namespace ztna::test;

namespace {

std::shared_ptr<const quic::TlsContext> context(quic::Side side) {
  static const TestCa kCa;
  static const auto kPair = kCa.issue({});
  quic::TlsOptions options;
  options.ca_pem = kCa.pem();
  options.cert_pem = kPair.cert;
  options.key_pem = kPair.key;
  options.alpn = "ztna-v1";
  return quic::TlsContext::create(side, options).value();
}

struct World {
  World()
      : world(1),
        server_address{IpAddress::v4(2), 2},
        client_address{IpAddress::v4(1), 1},
        stranger{IpAddress::v4(3), 3} {
    static const auto kServer = context(quic::Side::server);
    static const auto kClient = context(quic::Side::client);
    acceptor.tls = kServer;
    server = &world.add({}, &acceptor);
    client = &world.add({}, nullptr);
    server->bind(server_address);
    client->bind(client_address);
    world.network.tap = [this](SimPacket& p) {
      if (real.size() < 64) real.push_back(p.payload);
      return true;
    };
    quic::ConnectOptions options;
    options.tls = kClient;
    handler.connection = (*client)->connect(options, {client_address, server_address}, handler, world.now()).value();
    world.run_until([&] { return handler.established; }, 5s);
    const auto id = handler.connection->open_stream().value();
    static_cast<void>(handler.connection->write(id, as_bytes("hello")));
    static_cast<void>(handler.connection->send_datagram({}, as_bytes("hello")));
    world.run_for(200ms);
  }
  SimWorld world;
  SocketAddress server_address;
  SocketAddress client_address;
  SocketAddress stranger;
  RecordingAcceptor acceptor;
  RecordingHandler handler;
  SimEndpoint* server = nullptr;
  SimEndpoint* client = nullptr;
  std::vector<ByteVector> real;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World w;
  w.acceptor.verdict = size % 2 == 0 ? quic::Acceptor::Admit::accept : quic::Acceptor::Admit::retry;
  Bytes in{data, size};
  while (in.size() >= 3) {
    const auto flags = in[0];
    const auto length = std::min<std::size_t>(std::size_t{in[1]} << 8U | in[2], in.size() - 3);
    ByteVector packet(in.begin() + 3, in.begin() + 3 + static_cast<std::ptrdiff_t>(length));
    in = in.subspan(3 + length);
    if ((flags & 4U) != 0 && !w.real.empty()) {
      auto real = w.real[flags % w.real.size()];
      for (std::size_t i = 0; i < packet.size() && i < real.size(); ++i) real[i] ^= packet[i];
      packet = std::move(real);
    }
    auto& to = (flags & 1U) != 0 ? *w.client : *w.server;
    const auto& local = (flags & 1U) != 0 ? w.client_address : w.server_address;
    const auto& peer = (flags & 1U) != 0 ? w.server_address : w.client_address;
    to->receive({local, (flags & 2U) != 0 ? w.stranger : peer}, packet, w.world.now(), to);
    if ((flags & 8U) != 0) w.world.run_for(10ms);
  }
  w.world.run_for(100ms);
  if (w.acceptor.handlers.empty()) std::abort();
  return 0;
}
