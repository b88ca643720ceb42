// Payload of the tunnel's DATAGRAM frames: an IP packet of a service, or one part of what did not fit
// (docs/protocol.md 4.1).
#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "wire/ids.h"
#include "wire/parsed.h"

namespace ztna::wire {

inline constexpr std::uint8_t kSplitPartType = 0x2E;

/// `0x2F | 2 | service handle | IP packet`
struct TunnelDatagram {
  static constexpr std::size_t kHeaderSize = 4;

  ServiceHandle handle;
  Bytes packet;  // borrows from the input; not looked at

  /// Errors: truncated (also without packet), unknown_type (first octet), malformed (id_len is not 2, handle 0).
  static Parsed<TunnelDatagram> parse(Bytes in) {
    if (in.empty()) return tl::unexpected{Errc::truncated};
    if (in[0] != 0x2F) return tl::unexpected{Errc::unknown_type};
    if (in.size() >= 2 && in[1] != 2) return tl::unexpected{Errc::malformed};
    if (in.size() <= kHeaderSize) return tl::unexpected{Errc::truncated};
    const ServiceHandle handle{static_cast<std::uint16_t>(in[2] << 8 | in[3])};
    if (handle.value == 0) return tl::unexpected{Errc::malformed};
    return TunnelDatagram{handle, in.subspan(kHeaderSize)};
  }
};

/// Writes the header that goes in front of an IP packet.
inline void write_tunnel_header(std::span<std::uint8_t, TunnelDatagram::kHeaderSize> out, ServiceHandle handle) {
  out[0] = 0x2F;
  out[1] = 2;
  out[2] = static_cast<std::uint8_t>(handle.value >> 8);
  out[3] = static_cast<std::uint8_t>(handle.value);
}

/// `0x2E | packet id | offset and more | part`: a part of a row `0x2F | 2 | service handle | IP packet`.
struct SplitPart {
  static constexpr std::size_t kHeaderSize = 5;
  /// Parts but the last are a multiple of this.
  static constexpr std::size_t kUnit = 8;
  /// Longest row that is split: a TunnelDatagram with the longest IPv6 packet (40 + 65,535).
  static constexpr std::size_t kMaxJoined = TunnelDatagram::kHeaderSize + 40 + 65'535;

  std::uint16_t packet_id = 0;
  std::uint32_t offset = 0;  // octets, a multiple of kUnit
  bool more = false;
  Bytes part;  // borrows from the input

  /// Errors: truncated (also with an empty part), unknown_type (first octet), malformed (reserved bits, length of a
  /// part that is not the last), too_large (ends beyond kMaxJoined).
  static Parsed<SplitPart> parse(Bytes in) {
    if (in.empty()) return tl::unexpected{Errc::truncated};
    if (in[0] != kSplitPartType) return tl::unexpected{Errc::unknown_type};
    if (in.size() <= kHeaderSize) return tl::unexpected{Errc::truncated};
    const auto word = static_cast<std::uint16_t>(in[3] << 8 | in[4]);
    SplitPart p{static_cast<std::uint16_t>(in[1] << 8 | in[2]), word & 0xFFF8U, (word & 1U) != 0,
                in.subspan(kHeaderSize)};
    if ((word & 6U) != 0 || (p.more && p.part.size() % kUnit != 0)) return tl::unexpected{Errc::malformed};
    if (p.offset + p.part.size() > kMaxJoined) return tl::unexpected{Errc::too_large};
    return p;
  }
};

/// `offset` is a multiple of 8 and at most 65,528.
inline void write_split_header(std::span<std::uint8_t, SplitPart::kHeaderSize> out, std::uint16_t packet_id,
                               std::uint32_t offset, bool more) {
  const auto word = (offset & 0xFFF8U) | (more ? 1U : 0U);
  out[0] = kSplitPartType;
  out[1] = static_cast<std::uint8_t>(packet_id >> 8);
  out[2] = static_cast<std::uint8_t>(packet_id);
  out[3] = static_cast<std::uint8_t>(word >> 8);
  out[4] = static_cast<std::uint8_t>(word);
}

}  // namespace ztna::wire
