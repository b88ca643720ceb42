// Changes packets in place, with their checksums.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "wire/ip/packet_view.h"

namespace ztna::wire::ip {

/// Gives a TCP packet other ends: addresses, ports, the IPv4 header checksum and TCP's. With `partial` (virtio
/// NEEDS_CSUM) the field is a pseudo-header sum and stays one. Works on super-packets. `view` must be of `packet` and
/// is stale afterwards. Errors: invalid_argument (no TCP header, a fragment, other family, view of other octets).
Result<void> rewrite_tcp(MutableBytes packet, const PacketView& view, const SocketAddress& src,
                         const SocketAddress& dst, L4Checksum l4);

/// Completes a checksum that the kernel left to us: `start` and `offset` are virtio's csum_start and csum_offset,
/// counted from the packet's first octet. A sum of 0 is written as 0xFFFF, which is the same to TCP and right for UDP.
/// Error: malformed (they point outside).
Result<void> complete_checksum(MutableBytes packet, std::size_t start, std::size_t offset);

}  // namespace ztna::wire::ip
