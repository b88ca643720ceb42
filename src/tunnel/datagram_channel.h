// IP packets in DATAGRAM frames of one tunnel (docs/protocol.md 4.1): adds the service handle, splits what does not
// fit, joins it again.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/counters.h"
#include "base/time.h"
#include "quic/connection.h"
#include "wire/ids.h"

namespace ztna::tunnel {

enum class DatagramFate : std::uint8_t {
  sent,
  sent_split,   // left in several parts
  queue_full,   // the congestion window is shut and the queue is full
  send_failed,  // connection closed, or packet over 65,535 octets
  received,
  received_joined,  // came in parts
  malformed,
  join_overlap,
  join_timeout,   // a part never came
  join_overflow,  // too many packets unfinished
  count_
};
std::string_view to_string(DatagramFate fate);

class DatagramChannel {
 public:
  static constexpr std::size_t kMaxUnfinished = 64;
  static constexpr Duration kJoinTimeout = 5s;

  /// `fates` is shared by all tunnels of a program; both must outlive the channel.
  DatagramChannel(quic::Connection& connection, CounterSet<DatagramFate>& fates)
      : connection_(connection), fates_(fates) {}

  /// Sends one IP packet. `packet` is borrowed until the next Endpoint::flush() returns.
  DatagramFate send(wire::ServiceHandle service, Bytes packet);

  struct Received {
    wire::ServiceHandle service;
    Bytes packet;  // borrowed from the input or, when joined, from the channel until the next call
  };
  /// One DATAGRAM payload. Empty unless it completes a packet; everything is counted.
  std::optional<Received> receive(Bytes payload, TimePoint now);
  /// Drops unfinished packets that are too old; call about once a second.
  void expire(TimePoint now);

 private:
  struct Unfinished {
    TimePoint begun;
    ByteVector octets;
    std::map<std::size_t, std::size_t> ranges;  // begin -> end of what is there
    std::size_t received = 0;                   // octets in them
    std::size_t total = 0;                      // 0: last part not seen
    bool void_by_overlap = false;
  };
  std::optional<Received> receive_part(Bytes payload, TimePoint now);
  std::optional<Received> whole(Bytes row, DatagramFate fate);

  quic::Connection& connection_;
  CounterSet<DatagramFate>& fates_;
  std::uint16_t next_packet_id_ = 0;
  std::map<std::uint16_t, Unfinished> unfinished_;
  ByteVector joined_;
};

}  // namespace ztna::tunnel
