// An independent, slow judge of IP packets: lengths and checksums, octet by octet.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace ztna::os {

inline std::uint16_t read16(Bytes p, std::size_t at) { return static_cast<std::uint16_t>(p[at] << 8U | p[at + 1]); }

inline std::uint32_t sum16(Bytes p, std::uint32_t sum) {
  for (std::size_t i = 0; i < p.size(); ++i) {
    sum += i % 2 == 0 ? static_cast<std::uint32_t>(p[i] << 8U) : p[i];
    sum = (sum & 0xFFFFU) + (sum >> 16U);
  }
  return sum;
}

/// Empty when the packet (IPv4 without options or IPv6, TCP or UDP) is flawless; else what is wrong.
inline std::string packet_problem(Bytes p) {
  if (p.size() < 20) return "short";
  const bool v6 = p[0] >> 4U == 6;
  const std::size_t l4 = v6 ? 40 : 20;
  if (p.size() < l4 + 8) return "short";
  const std::size_t total = v6 ? read16(p, 4) + std::size_t{40} : read16(p, 2);
  if (total != p.size()) return "IP length";
  if (!v6 && sum16(p.first(20), 0) != 0xFFFF) return "IP checksum";
  const std::uint8_t protocol = v6 ? p[6] : p[9];
  const Bytes l4_octets = p.subspan(l4);
  if (protocol == 17 && read16(l4_octets, 4) != l4_octets.size()) return "UDP length";
  if (protocol == 17 && read16(l4_octets, 6) == 0) return "UDP checksum missing";
  std::uint32_t sum =
      sum16(v6 ? p.subspan(8, 32) : p.subspan(12, 8), protocol + static_cast<std::uint32_t>(l4_octets.size()));
  sum = (sum & 0xFFFFU) + (sum >> 16U);
  if (sum16(l4_octets, sum) != 0xFFFF) return "transport checksum";
  return "";
}

}  // namespace ztna::os
