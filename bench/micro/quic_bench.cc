// How fast two QUIC connections in one process are, client to server, without sockets: CPU for both ends together.
//   quic_bench [seconds]
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "quic/endpoint.h"
#include "support/seeded_random.h"
#include "support/test_pki.h"

namespace ztna {
namespace {

double cpu_seconds() {
  std::timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/// Packets of one end, handed to the other at its next turn.
struct Pipe final : quic::PacketSink {
  std::size_t headroom(const quic::Path&) const override { return 10; }
  void send(const quic::Path&, MutableBytes buffer, std::size_t segment) override {
    ++rows;
    for (std::size_t at = 0; at < buffer.size(); at += segment) {
      const auto packet = buffer.subspan(at, std::min(segment, buffer.size() - at)).subspan(10);
      sizes.push_back(packet.size());
      octets.insert(octets.end(), packet.begin(), packet.end());
      ++packets;
    }
  }
  bool writable() const override { return octets.size() < (1U << 20U); }
  ByteVector octets;
  std::vector<std::size_t> sizes;
  std::uint64_t packets = 0;
  std::uint64_t rows = 0;
};

struct Handler final : quic::ConnectionHandler {
  Result<void> verify_peer(Bytes) override { return {}; }
  void on_established() override { established = true; }
  void on_closed(const quic::CloseReason& reason) override { fmt::print("closed: {}\n", to_string(reason)); }
  void on_stream_data(quic::StreamId id, Bytes data, bool) override {
    stream_octets += data.size();
    connection->credit(id, data.size());
  }
  void on_datagram(Bytes data) override { datagram_octets += data.size(); }
  quic::Connection* connection = nullptr;
  bool established = false;
  std::uint64_t stream_octets = 0;
  std::uint64_t datagram_octets = 0;
};

struct Accept final : quic::Acceptor {
  Admit admit(const quic::Path&, bool, TimePoint) override { return Admit::accept; }
  Result<Accepted> accept(quic::Connection& connection, const quic::Path&, TimePoint) override {
    handler.connection = &connection;
    return Accepted{tls, {}, &handler};
  }
  std::shared_ptr<const quic::TlsContext> tls;
  Handler handler;
};

struct Bench {
  Bench() {
    const test::TestCa ca;
    const auto pair = ca.issue({});
    quic::TlsOptions options;
    options.ca_pem = ca.pem();
    options.cert_pem = pair.cert;
    options.key_pem = pair.key;
    options.alpn = "bench";
    acceptor.tls = quic::TlsContext::create(quic::Side::server, options).value();
    server = quic::Endpoint::create({}, random, &acceptor);
    client = quic::Endpoint::create({}, random, nullptr);
    quic::ConnectOptions connect;
    connect.tls = quic::TlsContext::create(quic::Side::client, options).value();
    handler.connection = client->connect(connect, path, handler, now()).value();
    while (!handler.established || !acceptor.handler.established) turn();
    for (int i = 0; i < 1000; ++i) turn();  // PMTUD
  }
  /// Time stands on the real clock plus nothing: the pipe has no delay.
  TimePoint now() const {
    return TimePoint{std::chrono::steady_clock::now().time_since_epoch()};  // a benchmark may read the clock
  }
  static void hand_over(Pipe& pipe, quic::Endpoint& to, const quic::Path& path, TimePoint t, Pipe& answers) {
    std::size_t at = 0;
    auto octets = std::move(pipe.octets);
    auto sizes = std::move(pipe.sizes);
    pipe.octets.clear();
    pipe.sizes.clear();
    for (const auto size : sizes) {
      to.receive(path, Bytes{octets}.subspan(at, size), t, answers);
      at += size;
    }
    octets.clear();
    sizes.clear();
    if (pipe.octets.empty()) {  // gives the memory back to the pipe
      pipe.octets = std::move(octets);
      pipe.sizes = std::move(sizes);
    }
  }
  void turn() {
    const auto t = now();
    if (client->deadline() <= t) client->on_deadline(t);
    client->flush(t, up);
    hand_over(up, *server, {path.remote, path.local}, t, down);
    if (server->deadline() <= t) server->on_deadline(t);
    server->flush(t, down);
    hand_over(down, *client, path, t, up);
  }

  quic::Path path{{IpAddress::v4(0x7F000001), 1}, {IpAddress::v4(0x7F000002), 2}};
  test::SeededRandom random{1};
  Accept acceptor;
  Handler handler;
  std::unique_ptr<quic::Endpoint> server;
  std::unique_ptr<quic::Endpoint> client;
  Pipe up;
  Pipe down;
};

void report(const char* what, const Bench& bench, std::uint64_t octets, double wall, double cpu, std::uint64_t packets,
            std::uint64_t rows) {
  fmt::print(
      "{:10} {:5.2f} Gbit/s  {:7.0f} packets/s  {:4.2f} us CPU a packet, both ends  {:4.1f} packets a row  lost {}\n",
      what, static_cast<double>(octets) * 8e-9 / wall, static_cast<double>(packets) / wall,
      cpu * 1e6 / static_cast<double>(packets),
      static_cast<double>(packets) / static_cast<double>(std::max<std::uint64_t>(rows, 1)),
      bench.handler.connection->stats().packets_lost);
}

template <typename Feed, typename Count>
void run(const char* what, double seconds, Feed feed, Count count) {
  Bench bench;
  const auto packets = bench.up.packets;
  const auto rows = bench.up.rows;
  const auto begin = bench.now();
  const auto cpu = cpu_seconds();
  double wall = 0;
  while (wall < seconds) {
    feed(*bench.handler.connection);
    for (int i = 0; i < 4; ++i) bench.turn();
    wall = std::chrono::duration<double>(bench.now() - begin).count();
  }
  report(what, bench, count(bench.acceptor.handler), wall, cpu_seconds() - cpu, bench.up.packets - packets,
         bench.up.rows - rows);
}

}  // namespace
}  // namespace ztna

int main(int argc, char** argv) {
  using namespace ztna;
  const double seconds = argc > 1 ? std::atof(argv[1]) : 3;
  const ByteVector body(1300);
  const ByteVector small(60);
  run(
      "datagrams", seconds,
      [&](quic::Connection& c) {
        for (int i = 0; i < 64; ++i) {
          if (!c.send_datagram(as_bytes("\x2f\x02\x00\x01"), body)) break;
        }
      },
      [](const Handler& h) { return h.datagram_octets; });
  run(
      "small", seconds,
      [&](quic::Connection& c) {
        for (int i = 0; i < 640; ++i) {
          if (!c.send_datagram(as_bytes("\x2f\x02\x00\x01"), small)) break;
        }
      },
      [](const Handler& h) { return h.datagram_octets; });
  quic::StreamId id{-1};
  run(
      "stream", seconds,
      [&](quic::Connection& c) {
        if (id.value < 0) id = c.open_stream().value();
        while (c.unsent(id) < (1U << 20U)) {
          auto chunk = Chunk::allocate();
          chunk.grow(Chunk::kCapacity);
          if (!c.write(id, std::move(chunk))) break;
        }
      },
      [](const Handler& h) { return h.stream_octets; });
  return 0;
}
