// The header before each packet on a TUN with IFF_VNET_HDR (virtio 1.2, 5.1.6; linux/virtio_net.h does not compile as
// C++).
#pragma once

#include <cstdint>
#include <type_traits>

namespace ztna::os {

/// In host byte order: TUN uses the legacy form.
struct VirtioNetHeader {
  static constexpr std::uint8_t kNeedsChecksum =
      1;  // flags: csum_start and csum_offset hold; the field has the pseudo-header's sum
  static constexpr std::uint8_t kDataValid = 2;  // flags: the checksum was verified

  static constexpr std::uint8_t kGsoNone = 0;
  static constexpr std::uint8_t kGsoTcp4 = 1;
  static constexpr std::uint8_t kGsoUdpFragment = 3;  // UFO: never enabled
  static constexpr std::uint8_t kGsoTcp6 = 4;
  static constexpr std::uint8_t kGsoUdp = 5;     // USO
  static constexpr std::uint8_t kGsoEcn = 0x80;  // or-ed in

  std::uint8_t flags = 0;
  std::uint8_t gso_type = kGsoNone;
  std::uint16_t hdr_len = 0;      // octets of IP and transport header; a hint
  std::uint16_t gso_size = 0;     // octets of payload in each segment
  std::uint16_t csum_start = 0;   // where summing starts
  std::uint16_t csum_offset = 0;  // where the sum goes, from csum_start

  std::uint8_t gso() const { return static_cast<std::uint8_t>(gso_type & ~kGsoEcn); }
  bool needs_checksum() const { return (flags & kNeedsChecksum) != 0; }
  friend bool operator==(const VirtioNetHeader&, const VirtioNetHeader&) = default;
};
static_assert(sizeof(VirtioNetHeader) == 10 && std::is_trivially_copyable_v<VirtioNetHeader>);

}  // namespace ztna::os
