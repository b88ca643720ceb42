// What the Agent needs from the machine besides tunnel/ports.h: its TUN, and events of accepted TCP sockets.
#pragma once

#include <cstdint>
#include <optional>

#include "base/address.h"
#include "base/bytes.h"

namespace ztna::agent {

/// What the kernel left undone in a packet of the TUN, or may leave undone: virtio's header, by meaning
/// (virtio 1.2, 5.1.6).
struct PacketOffload {
  bool needs_csum = false;    // the transport checksum field has the pseudo-header sum only
  bool data_valid = false;    // to the kernel: the checksum was verified
  std::uint8_t gso_type = 0;  // virtio's numbers; 0: no super-packet
  std::uint16_t hdr_len = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t csum_start = 0;
  std::uint16_t csum_offset = 0;
  friend bool operator==(const PacketOffload&, const PacketOffload&) = default;
};

class TunPort {
 public:
  virtual ~TunPort() = default;
  /// Hands one IP packet to the kernel; borrowed for the call. False: not taken (its queue is full), and lost.
  virtual bool write(const PacketOffload& offload, Bytes packet) = 0;
};

/// Readiness of an accepted socket, as tunnel::TcpPort::want() asked for.
class TcpEvents {
 public:
  virtual ~TcpEvents() = default;
  virtual void on_readable() = 0;
  virtual void on_writable() = 0;
};

/// The Agent's own addresses. A family without a pool has none.
struct Addresses {
  std::optional<IpAddress> tun_v4, reentry_v4;
  std::optional<IpAddress> tun_v6, reentry_v6;

  const std::optional<IpAddress>& tun(Family family) const { return family == Family::v4 ? tun_v4 : tun_v6; }
  const std::optional<IpAddress>& reentry(Family family) const {
    return family == Family::v4 ? reentry_v4 : reentry_v6;
  }
};

}  // namespace ztna::agent
