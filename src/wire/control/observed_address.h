// ObservedAddress: QUIC address discovery (docs/protocol.md 3).
#pragma once

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "wire/control/message_type.h"
#include "wire/writer.h"

namespace ztna::wire {

struct ObservedAddress {
  static constexpr MessageType kType = MessageType::observed_address;

  SocketAddress address;

  static Result<ObservedAddress> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const ObservedAddress&, const ObservedAddress&) = default;
};

}  // namespace ztna::wire
