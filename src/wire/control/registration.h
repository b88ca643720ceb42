// Registration of Agents and Connectors at the Intermediate (docs/protocol.md 3).
//
// Service ids that a client sends are kept as they came: a bad one is answered with RegistrationNack, not with a close.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/control/codes.h"
#include "wire/control/message_type.h"
#include "wire/control/virtual_ips.h"
#include "wire/service_id.h"
#include "wire/writer.h"

namespace ztna::wire {

struct RegisterAgent {
  static constexpr MessageType kType = MessageType::register_agent;

  std::string service;  // as sent: kAllServices, or give it to ServiceId::parse

  static Result<RegisterAgent> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const RegisterAgent&, const RegisterAgent&) = default;
};

struct RegisterConnector {
  static constexpr MessageType kType = MessageType::register_connector;

  std::string service;  // as sent: give it to ServiceId::parse
  std::uint64_t capabilities = 0;
  VirtualIps pinned;

  static Result<RegisterConnector> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const RegisterConnector&, const RegisterConnector&) = default;
};

/// The status octet is always 0.
struct RegistrationAck {
  static constexpr MessageType kType = MessageType::registration_ack;

  std::string service;  // of the request: a service id or kAllServices
  VirtualIps virtual_ips;

  static Result<RegistrationAck> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const RegistrationAck&, const RegistrationAck&) = default;
};

struct RegistrationNack {
  static constexpr MessageType kType = MessageType::registration_nack;

  RegistrationStatus status = RegistrationStatus::not_permitted;  // never ok, nor no_such_service
  std::string service;                                            // as it was sent in the request
  std::string text;                                               // for people

  static Result<RegistrationNack> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const RegistrationNack&, const RegistrationNack&) = default;
};

}  // namespace ztna::wire
