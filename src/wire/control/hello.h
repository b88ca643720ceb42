// Hello, the first message of each side (docs/protocol.md 3).
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/control/message_type.h"
#include "wire/ids.h"
#include "wire/writer.h"

namespace ztna::wire {

struct Hello {
  static constexpr MessageType kType = MessageType::hello;

  std::uint64_t version = kProtocolVersion;
  std::string software;  // name and version, for logs; UTF-8, at most 255 octets
  std::uint64_t features = 0;
  InstanceId instance;

  /// Of another version only `version` is read, so that the connection can be closed with unsupported_version.
  /// Errors, of this parser and all others of this folder: truncated; malformed (octets left over, a value that its
  /// table does not have, bad UTF-8). Each means protocol_violation (docs/protocol.md 6).
  static Result<Hello> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const Hello&, const Hello&) = default;
};

}  // namespace ztna::wire
