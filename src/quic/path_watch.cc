#include "quic/path_watch.h"

#include <utility>

namespace ztna::quic {

void PathWatch::begin(TimePoint now) {
  seen_ = {};
  seen_.since = now;
  first_packet_ = next_packet_;
}

void PathWatch::carries_stream(std::int64_t id, std::uint64_t end) {
  if (!stretch_) stretch_ = Stretch{id, end};
}

std::optional<PathWatch::Stretch> PathWatch::sent(std::size_t octets, TimePoint now) {
  const auto id = next_packet_++;
  const bool datagram = std::exchange(datagram_, false);
  const auto stretch = std::exchange(stretch_, std::nullopt);
  seen_.sent = now;
  if (datagram || stretch) ++data_packets_sent_;
  // Without user data it is a probe of the path's MTU, which may vanish, or a retransmission.
  if (octets <= kLarge || (!datagram && !stretch)) return std::nullopt;
  if (datagram) large_[id % kRemembered] = static_cast<std::uint32_t>(id);
  if (seen_.large_since == kNever) seen_.large_since = now;
  return stretch;
}

void PathWatch::in_flight(std::uint64_t octets, bool waits, TimePoint now) {
  if (octets == 0) {
    seen_.waiting_since = kNever;
  } else if (waits && seen_.waiting_since == kNever) {
    seen_.waiting_since = now;
  }
}

void PathWatch::heard(TimePoint now, bool acknowledged, std::uint64_t octets_in_flight) {
  seen_.heard = now;
  ++seen_.packets_heard;
  const bool waited = seen_.waiting_since != kNever;
  if (acknowledged) seen_.waiting_since = kNever;
  in_flight(octets_in_flight, waited, now);
}

void PathWatch::datagram_acknowledged(std::uint64_t id) {
  if (id >= first_packet_ && large_[id % kRemembered] == static_cast<std::uint32_t>(id)) large_arrived();
}

void PathWatch::datagram_lost(std::uint64_t id) {
  // What was sent on the path before this one is declared lost when it is only late. The DATAGRAMs of a packet are
  // lost together.
  if (id >= first_packet_ && std::exchange(last_lost_, id) != id) ++datagram_packets_lost_;
}

}  // namespace ztna::quic
