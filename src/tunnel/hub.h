// Where one UDP socket's traffic parts and joins (docs/architecture.md): tells inbound payloads apart by their first
// octet, strips the relay header, finds the path; puts the relay header on outbound packets. Used by Agent and
// Connector.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/counters.h"
#include "base/time.h"
#include "quic/endpoint.h"
#include "quic/packet_sink.h"
#include "tunnel/ports.h"
#include "tunnel/relay_paths.h"

namespace ztna::tunnel {

/// The one counted fate of each UDP payload that arrived.
enum class UdpFate : std::uint8_t {
  quic_direct,      // QUIC packet outside the relay: control connection or direct path (then see quic::PacketFate)
  quic_relayed,     // QUIC packet out of a routed datagram
  relay_malformed,  // routed datagram that does not parse
  relay_unknown_route,
  relay_wrong_source,  // not from the Intermediate's address
  probe,               // handed to the probe handler, which counts what became of it
  junk,                // first octet of no known kind
  count_
};
std::string_view to_string(UdpFate fate);

/// Takes path probes (docs/protocol.md 5).
class ProbeHandler {
 public:
  virtual ~ProbeHandler() = default;
  /// One UDP payload whose first octet is that of a probe, borrowed for the call, and which socket received it. Bytes
  /// from anybody.
  virtual void on_probe(SocketId socket, const SocketAddress& from, Bytes payload, TimePoint now) = 0;
};

class Hub final : public quic::PacketSink {
 public:
  /// All must outlive the hub.
  Hub(quic::Endpoint& endpoint, UdpPort& port) : endpoint_(endpoint), port_(port) {}

  /// What the socket received: `row` holds UDP payloads of `segment` octets each (GRO), the last may be shorter. Kinds
  /// may mix. A side socket is another way to the same remote addresses; QUIC does not see the difference.
  void receive(const SocketAddress& from, Bytes row, std::size_t segment, TimePoint now, SocketId socket = kMainSocket);

  /// The path of packets that go straight to `remote`. Its local address is a constant per family: the socket is bound
  /// to the wildcard address, and the peer notices a change of our address, not ngtcp2.
  static quic::Path direct_path(const SocketAddress& remote);
  /// The same as a path that a connection on `current` can migrate to: with another local port (a name only), also when
  /// the remote address stays, which changes the connection id and nothing else.
  static quic::Path direct_path(const SocketAddress& remote, const quic::Path& current);

  /// Null: probes are counted only. Must outlive the hub, or be taken back.
  void set_probe_handler(ProbeHandler* handler) { probes_ = handler; }

  RelayPaths& relay() { return relay_; }
  const RelayPaths& relay() const { return relay_; }
  const CounterSet<UdpFate>& fates() const { return fates_; }
  const Counter& sent_to_closed_route() const { return sent_to_closed_route_; }
  /// When a routed datagram last arrived on `route`; TimePoint{} if never. For relay liveness.
  TimePoint last_relayed_in() const { return last_relayed_in_; }

  // quic::PacketSink
  std::size_t headroom(const quic::Path& path) const override;
  void send(const quic::Path& path, MutableBytes buffer, std::size_t segment) override;
  bool writable() const override { return port_.writable(); }
  /// Rows that receive() and send() were given so far: whether anything happens at all.
  std::uint64_t rows() const { return rows_; }

 private:
  UdpFate receive_one(SocketId socket, const SocketAddress& from, Bytes payload, TimePoint now);

  quic::Endpoint& endpoint_;
  UdpPort& port_;
  ProbeHandler* probes_ = nullptr;
  RelayPaths relay_;
  CounterSet<UdpFate> fates_;
  Counter sent_to_closed_route_;
  TimePoint last_relayed_in_{};
  std::uint64_t rows_ = 0;
};

}  // namespace ztna::tunnel
