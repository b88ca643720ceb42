// What the registry asks its caller to do after a call: messages to deliver, connections to close.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "wire/close_code.h"
#include "wire/control/message.h"

namespace ztna::intermediate {

/// A live control connection: ids are never used again, so a late message to a dead one goes nowhere.
struct SessionRef {
  std::uint8_t worker = 0;
  std::uint64_t id = 0;
  friend auto operator<=>(const SessionRef&, const SessionRef&) = default;
};

/// What has to be sent after a call.
struct Delivery {
  SessionRef to;
  wire::ControlMessage message;
};
/// A control connection to close.
struct Kick {
  SessionRef session;
  wire::CloseCode code = wire::CloseCode::no_error;
  std::string why;
};
struct Actions {
  std::vector<Delivery> deliveries;
  std::vector<Kick> kicks;
};

}  // namespace ztna::intermediate
