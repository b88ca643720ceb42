// Tells the kinds of UDP payload on the one socket apart (docs/protocol.md 1; RFC 9000 17, RFC 9443).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace ztna::wire {

inline constexpr std::uint8_t kRoutedDatagramType = 0x2F;
inline constexpr std::uint8_t kProbeType = 0x1A;

enum class PayloadKind : std::uint8_t { routed_datagram, probe, quic, unknown };
std::string_view to_string(PayloadKind kind);

/// Looks at the first octet only. An empty payload is unknown.
constexpr PayloadKind classify(Bytes udp_payload) {
  if (udp_payload.empty()) return PayloadKind::unknown;
  const auto first = udp_payload[0];
  if ((first & 0x40U) != 0) return PayloadKind::quic;
  if (first == kRoutedDatagramType) return PayloadKind::routed_datagram;
  if (first == kProbeType) return PayloadKind::probe;
  return PayloadKind::unknown;
}

}  // namespace ztna::wire
