// Application close codes of control connections and tunnels (docs/protocol.md 6).
#pragma once

#include <cstdint>
#include <string_view>

namespace ztna::wire {

enum class CloseCode : std::uint8_t {
  no_error = 0,
  protocol_violation = 1,
  unsupported_version = 2,
  denied = 3,
  draining = 4,
  replaced = 5,  // by a newer registration of the same identity
  revoked = 6,
  certificate_expired = 7,
  limit = 8,
  internal = 9,
};
/// A code without a name (CONNECTION_CLOSE carries any number) gives "unknown".
std::string_view to_string(CloseCode code);
std::string_view close_code_name(std::uint64_t code);

}  // namespace ztna::wire
