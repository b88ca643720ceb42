// What a connection sees of its current path (quic::Liveness): when something waits for an acknowledgement, what came,
// and whether large packets arrive. ngtcp2 says which stream octets and which DATAGRAMs were acknowledged, not which
// packets, so a large packet is followed by one DATAGRAM or one stretch of a stream that it carried.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "quic/types.h"

namespace ztna::quic {

class PathWatch {
 public:
  static constexpr std::size_t kLarge = 1200;  // RFC 9000 14: what every path carries

  /// Packets go another way now.
  void begin(TimePoint now);

  // -- packets out -------------------------------------------------------------------------------------------------
  /// The id for the DATAGRAMs of the packet in the making.
  std::uint64_t packet_id() const { return next_packet_; }
  /// The packet in the making carries user data: `id` and `end` of a stretch of a stream, or a DATAGRAM.
  void carries_stream(std::int64_t id, std::uint64_t end);
  void carries_datagram() { datagram_ = true; }
  /// It is finished. Returns the stretch of a stream whose acknowledgement will be proof that large packets arrive: the
  /// caller keeps `end` with the stream.
  struct Stretch {
    std::int64_t stream = -1;
    std::uint64_t end = 0;
  };
  std::optional<Stretch> sent(std::size_t octets, TimePoint now);
  /// After packets were written, or anything else that changes it. `waits`: something is among it, beside probes of the
  /// path's MTU and of other paths, that began to wait just now.
  void in_flight(std::uint64_t octets, bool waits, TimePoint now);

  // -- packets in --------------------------------------------------------------------------------------------------
  /// An authentic packet came on the current path. `acknowledged`: it took something out of flight.
  void heard(TimePoint now, bool acknowledged, std::uint64_t octets_in_flight);
  void payload(TimePoint now) { seen_.payload = now; }
  /// The DATAGRAMs of packet `id` were acknowledged, or declared lost.
  void datagram_acknowledged(std::uint64_t id);
  void datagram_lost(std::uint64_t id);
  /// What sent() asked to be followed was acknowledged.
  void stretch_acknowledged() { large_arrived(); }

  const Liveness& seen() const { return seen_; }
  /// Since the connection began: see ConnectionStats.
  std::uint64_t data_packets_sent() const { return data_packets_sent_; }
  std::uint64_t datagram_packets_lost() const { return datagram_packets_lost_; }

 private:
  static constexpr std::size_t kRemembered = 2048;  // large packets whose acknowledgement is recognised
  void large_arrived() { seen_.large_since = kNever; }

  Liveness seen_;
  std::uint64_t next_packet_ = 1;
  std::uint64_t first_packet_ = 1;                  // of this path
  std::array<std::uint32_t, kRemembered> large_{};  // low bits of the ids of large packets, by id
  bool datagram_ = false;
  std::optional<Stretch> stretch_;
  std::uint64_t data_packets_sent_ = 0;
  std::uint64_t datagram_packets_lost_ = 0;
  std::uint64_t last_lost_ = 0;
};

}  // namespace ztna::quic
