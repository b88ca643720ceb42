// Routed datagram: the relay's format, and inside a tunnel the one of IP packets (docs/protocol.md 2, 4.1).
#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "wire/first_byte.h"
#include "wire/ids.h"
#include "wire/parsed.h"
#include "wire/reader.h"

namespace ztna::wire {

/// `0x2F | id_len | id | payload`; both views borrow from the input.
struct RoutedDatagram {
  Bytes id;
  Bytes payload;

  /// Errors: truncated (also without payload), unknown_type (first octet).
  static Parsed<RoutedDatagram> parse(Bytes in) {  // docs/protocol.md 2
    Reader r{in};
    const auto type = r.u8();
    if (r.ok() && type != kRoutedDatagramType) return tl::unexpected{Errc::unknown_type};
    const auto id = r.bytes(r.u8());
    const auto payload = r.rest();
    if (!r.ok() || payload.empty()) return tl::unexpected{Errc::truncated};
    return RoutedDatagram{id, payload};
  }
};

/// The same on the relay leg, where the id is a route id and the payload one QUIC packet.
struct RelayDatagram {
  static constexpr std::size_t kHeaderSize = 10;
  static constexpr std::uint8_t kIdSize = 8;

  RouteId route;
  Bytes packet;  // borrows from the input

  /// Errors: as RoutedDatagram, and malformed (id_len is not 8).
  static Parsed<RelayDatagram> parse(Bytes in) {  // docs/protocol.md 2
    Reader r{in};
    const auto type = r.u8();
    const auto id_size = r.u8();
    const RouteId route{r.u64()};
    const auto packet = r.rest();
    if (!in.empty() && type != kRoutedDatagramType) return tl::unexpected{Errc::unknown_type};
    if (in.size() >= 2 && id_size != kIdSize) return tl::unexpected{Errc::malformed};
    if (!r.ok() || packet.empty()) return tl::unexpected{Errc::truncated};
    return RelayDatagram{route, packet};
  }
};

/// Writes type, length and route id in place: in front of a packet, or over the header of a datagram to forward.
inline void write_relay_header(std::span<std::uint8_t, RelayDatagram::kHeaderSize> out, RouteId route) {
  out[0] = kRoutedDatagramType;
  out[1] = RelayDatagram::kIdSize;
  for (std::size_t i = 0; i < 8; ++i) out[2 + i] = static_cast<std::uint8_t>(route.value >> (56 - 8 * i));
}

}  // namespace ztna::wire
