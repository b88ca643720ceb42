// From what a TUN with offloads gives to packets that can go on a wire. Pure functions, no system calls, no allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "os/virtio_net.h"

namespace ztna::os {

/// Computes the checksum that the kernel left to the device (kNeedsChecksum). A packet without the flag stays as it is.
/// False: the offsets point outside the packet; drop it.
bool complete_checksum(const VirtioNetHeader& header, MutableBytes packet);

/// Walks a super-packet (kGsoUdp, kGsoTcp4, kGsoTcp6) segment by segment; a packet without GSO is one segment.
///
///   auto split = TunSegments::of(header, packet);
///   while (auto n = split->next(buffer)) use(buffer.first(n));
class TunSegments {
 public:
  /// nullopt: headers cut short, of another kind than `header` says, IPv6 extension headers before TCP/UDP, or gso_size
  /// 0. `packet` is borrowed.
  static std::optional<TunSegments> of(const VirtioNetHeader& header, Bytes packet);

  /// Number of segments.
  std::size_t count() const;
  /// Octets that `next` needs at most.
  std::size_t max_size() const;
  /// Writes the next finished packet to the front of `out`: its own lengths, IPv4 id (counting up), TCP sequence and
  /// flags, complete checksums. Returns its size; 0: no more, or `out` is too small.
  std::size_t next(MutableBytes out);

 private:
  Bytes packet_;
  VirtioNetHeader header_;
  std::size_t l4_ = 0;       // offset of the transport header
  std::size_t payload_ = 0;  // offset of the payload
  std::size_t segment_ = 0;  // octets of payload a segment; 0: no GSO
  std::size_t at_ = 0;       // offset of the next payload octet
  std::size_t index_ = 0;
  bool v6_ = false;
  bool tcp_ = false;
  bool done_ = false;
};

/// RFC 1071 sum over `data`, added to `sum`, not folded. Octets are taken in pairs from the front.
std::uint64_t checksum_add(std::uint64_t sum, Bytes data);
/// Folded and complemented: what goes into the field, host order.
std::uint16_t checksum_finish(std::uint64_t sum);
/// The sum over the pseudo header of `packet` (whole, IPv4 or IPv6 without extension headers) for `l4_size` octets of
/// `protocol`.
std::uint64_t pseudo_header_sum(Bytes packet, std::uint8_t protocol, std::size_t l4_size);

}  // namespace ztna::os
