// What the Intermediate says of ends: its own, and a certificate's (docs/protocol.md 3).
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/control/message_type.h"
#include "wire/writer.h"

namespace ztna::wire {

struct Drain {
  static constexpr MessageType kType = MessageType::drain;

  std::uint32_t close_in_ms = 0;

  static Result<Drain> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const Drain&, const Drain&) = default;
};

struct Revoked {
  static constexpr MessageType kType = MessageType::revoked;

  std::string name;  // whose certificate

  static Result<Revoked> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const Revoked&, const Revoked&) = default;
};

}  // namespace ztna::wire
