// Which services an Agent may use, and where they are (docs/protocol.md 3).
#pragma once

#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/control/codes.h"
#include "wire/control/message_type.h"
#include "wire/control/virtual_ips.h"
#include "wire/service_id.h"
#include "wire/writer.h"

namespace ztna::wire {

struct ServiceUp {
  static constexpr MessageType kType = MessageType::service_up;

  ServiceId service;
  VirtualIps virtual_ips;

  static Result<ServiceUp> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const ServiceUp&, const ServiceUp&) = default;
};

struct ServiceDown {
  static constexpr MessageType kType = MessageType::service_down;

  ServiceId service;
  ServiceDownReason reason = ServiceDownReason::withdrawn;

  static Result<ServiceDown> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const ServiceDown&, const ServiceDown&) = default;
};

/// One part of the list; the receiver takes it as a whole when `last` came.
struct Catalog {
  static constexpr MessageType kType = MessageType::catalog;

  struct Entry {
    ServiceId service;
    VirtualIps virtual_ips;
    friend bool operator==(const Entry&, const Entry&) = default;
  };

  bool last = true;
  std::vector<Entry> entries;

  static Result<Catalog> parse(Bytes body);
  /// The body may be longer than kMaxBody: append_frame() sends a long list as several messages.
  void encode(Writer& w) const;
  friend bool operator==(const Catalog&, const Catalog&) = default;
};

}  // namespace ztna::wire
