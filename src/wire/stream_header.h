// Beginning of a TCP stream in a tunnel, and the Connector's answer (docs/protocol.md 4.2).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/address.h"
#include "base/bytes.h"
#include "wire/ids.h"
#include "wire/parsed.h"

namespace ztna::wire {

/// `0x30 | service handle | family | port`, from the Agent.
struct StreamHeader {
  static constexpr std::uint8_t kType = 0x30;
  static constexpr std::size_t kSize = 6;

  ServiceHandle handle;
  Family family = Family::v4;
  std::uint16_t port = 0;  // that the user's application dialed

  /// Takes the first kSize octets of the stream; what follows is the connection's. Errors: truncated (wait for more;
  /// only an error when the stream ends), unknown_type (first octet), malformed (handle or port 0, bad family). A bad
  /// octet is told before the rest has come.
  static Parsed<StreamHeader> parse(Bytes in);
  std::array<std::uint8_t, kSize> encode() const;
  friend bool operator==(const StreamHeader&, const StreamHeader&) = default;
};

/// First octet from the Connector. After another result than `connected` it finishes the stream.
enum class StreamResult : std::uint8_t {
  connected = 0,
  refused = 1,      // the Agent sends RST
  unreachable = 2,  // ICMP host unreachable
  timed_out = 3,    // silence
  denied = 4,       // RST
  limit = 5,        // RST
};
std::string_view to_string(StreamResult result);
/// Error: malformed (no such result).
Parsed<StreamResult> parse_stream_result(std::uint8_t octet);

/// Codes of RESET_STREAM and STOP_SENDING.
enum class StreamResetCode : std::uint8_t {
  tcp_reset = 1,      // the TCP connection was reset
  local_failure = 2,  // malformed header, no memory, shutting down
};
std::string_view to_string(StreamResetCode code);

}  // namespace ztna::wire
