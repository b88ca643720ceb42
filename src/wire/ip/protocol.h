// Protocol numbers (IANA) as they stand in IPv4 `Protocol` and IPv6 `Next Header`.
#pragma once

#include <cstdint>

namespace ztna::wire::ip {

enum class Protocol : std::uint8_t {
  hop_by_hop = 0,
  icmp = 1,
  tcp = 6,
  udp = 17,
  routing = 43,
  fragment = 44,
  esp = 50,
  authentication = 51,
  icmpv6 = 58,
  no_next_header = 59,
  destination_options = 60,
};

}  // namespace ztna::wire::ip
