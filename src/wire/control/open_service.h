// Services of a tunnel: messages of its control stream (docs/protocol.md 4).
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/control/codes.h"
#include "wire/control/message_type.h"
#include "wire/ids.h"
#include "wire/writer.h"

namespace ztna::wire {

struct OpenService {
  static constexpr MessageType kType = MessageType::open_service;

  ServiceHandle handle;  // never 0: malformed
  std::string service;   // as sent: give it to ServiceId::parse; a bad one is answered with bad_service_id

  static Result<OpenService> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const OpenService&, const OpenService&) = default;
};

struct ServiceOpened {
  static constexpr MessageType kType = MessageType::service_opened;

  ServiceHandle handle;
  RegistrationStatus status = RegistrationStatus::ok;

  static Result<ServiceOpened> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const ServiceOpened&, const ServiceOpened&) = default;
};

struct CloseService {
  static constexpr MessageType kType = MessageType::close_service;

  ServiceHandle handle;
  ServiceCloseReason reason = ServiceCloseReason::asked_for;

  static Result<CloseService> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const CloseService&, const CloseService&) = default;
};

}  // namespace ztna::wire
