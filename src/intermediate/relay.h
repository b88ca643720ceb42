// The relay as a packet forwarder (docs/architecture.md, docs/protocol.md 2): looks a route up, checks the source,
// writes the other side's route id over the header, sends the row on. No decryption, no allocation, no copy.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/counters.h"
#include "base/time.h"
#include "intermediate/route_table.h"
#include "quic/types.h"

namespace ztna::intermediate {

/// The sockets of one worker.
class WorkerUdp {
 public:
  virtual ~WorkerUdp() = default;
  /// Sends a row of payloads from the socket that `local` belongs to, by address and port. Borrowed for the call.
  virtual void send(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) = 0;
  /// The same, but the row is borrowed until the end of the batch of received packets that it lies in: rows to many
  /// clients leave with few system calls.
  virtual void forward(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) = 0;
  virtual bool writable() const = 0;
};

/// The one counted fate of each routed datagram.
enum class RelayFate : std::uint8_t { forwarded, malformed, unknown_route, wrong_source, throttled, count_ };
std::string_view to_string(RelayFate fate);

struct RelayCounters {
  CounterSet<RelayFate> fates;  // datagrams
  Counter octets;               // payloads forwarded, headers included
};

class Relay {
 public:
  /// `bytes_per_second`: limit of each end of a route, 0 for none; a tenth of a second's worth may burst.
  Relay(const RouteTable& routes, RelayCounters& counters, std::uint64_t bytes_per_second)
      : routes_(routes), counters_(counters), bytes_per_second_(bytes_per_second) {}

  /// `row` begins with a routed datagram (first octet 0x2F). Forwards the datagrams at its beginning that have the same
  /// route, and returns how many octets of the row that was; at least one segment. `from` is the row's source.
  std::size_t forward(const RouteTable::Reader& routes, const SocketAddress& from, MutableBytes row,
                      std::size_t segment, TimePoint now, WorkerUdp& out);
  const RouteTable& routes() const { return routes_; }

 private:
  bool within_limit(const RouteEnd& end, std::size_t octets, TimePoint now) const;

  const RouteTable& routes_;
  RelayCounters& counters_;
  std::uint64_t bytes_per_second_;
};

}  // namespace ztna::intermediate
