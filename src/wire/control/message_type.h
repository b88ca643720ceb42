// Types and limits of control messages (docs/protocol.md 3, 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ztna::wire {

/// Longest body of a control message, in octets.
inline constexpr std::size_t kMaxBody = 16'384;
inline constexpr std::uint64_t kProtocolVersion = 1;

enum class MessageType : std::uint8_t {
  observed_address = 0x01,
  probe_port = 0x02,
  register_agent = 0x10,
  register_connector = 0x11,
  registration_ack = 0x12,
  registration_nack = 0x13,
  candidate_offer = 0x20,
  candidate_answer = 0x21,
  start_punching = 0x22,
  punching_result = 0x23,
  signaling_error = 0x24,
  route_request = 0x30,
  route_opened = 0x31,
  route_closed = 0x32,
  path_report = 0x33,
  service_up = 0x38,
  service_down = 0x39,
  catalog = 0x3A,
  drain = 0x3B,
  revoked = 0x3C,
  hello = 0x3F,
  open_service = 0x40,  // 0x40 to 0x42: tunnels only
  service_opened = 0x41,
  close_service = 0x42,
};
/// "RegisterAgent"; "unknown" for a type without a name.
std::string_view to_string(MessageType type);

/// Unknown types from 0x80 on are skipped and counted, those below close the connection.
constexpr bool is_extension(std::uint8_t type) { return type >= 0x80; }

}  // namespace ztna::wire
