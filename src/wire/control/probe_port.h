// ProbePort: where the Intermediate answers keyless probes beside its own port (docs/protocol.md 3, 5).
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/control/message_type.h"
#include "wire/writer.h"

namespace ztna::wire {

struct ProbePort {
  static constexpr MessageType kType = MessageType::probe_port;

  std::uint16_t port = 0;  // UDP; 0 is malformed

  static Result<ProbePort> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const ProbePort&, const ProbePort&) = default;
};

}  // namespace ztna::wire
