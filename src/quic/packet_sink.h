// Where a connection's packets go. Implemented by the tunnel layer (relay framing) and by tests (simulated network).
#pragma once

#include "base/bytes.h"
#include "quic/types.h"

namespace ztna::quic {

class PacketSink {
 public:
  virtual ~PacketSink() = default;

  /// Octets to leave free in front of each packet on `path`, for an outer header (at most 16). Constant for a path.
  virtual std::size_t headroom(const Path& path) const = 0;

  /// Takes one or more packets for one path. `buffer` is a row of segments, each `segment` octets (headroom first, then
  /// a packet), the last one may be shorter: the shape that UDP_SEGMENT (GSO) sends with one system call. Borrowed for
  /// the call; the sink may write into the headroom. What cannot be sent is dropped and counted: QUIC recovers it.
  virtual void send(const Path& path, MutableBytes buffer, std::size_t segment) = 0;

  /// False while the socket's buffer is full: connections then hold their packets back until the next flush.
  virtual bool writable() const = 0;
};

}  // namespace ztna::quic
