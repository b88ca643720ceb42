// A keyed checksum in the place of HMAC-SHA256: same shape, no library. Good enough to tell keys, roles and contents
// apart in tests.
#pragma once

#include <cstdint>

#include "wire/probe.h"

namespace ztna::test {

inline wire::ProbeMacFunction fake_mac(std::uint64_t key) {
  return [key](Bytes input) {
    wire::ProbeMac mac{};
    std::uint64_t hash = 0xCBF2'9CE4'8422'2325ULL ^ key;
    for (std::size_t i = 0; i < mac.size(); ++i) {
      for (const auto octet : input) hash = (hash ^ octet) * 0x100'0000'01B3ULL;
      hash ^= hash >> 29;
      mac[i] = static_cast<std::uint8_t>(hash >> 56);
    }
    return mac;
  };
}

}  // namespace ztna::test
