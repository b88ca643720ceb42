#include "wire/ids.h"

#include <fmt/format.h>

namespace ztna::wire {

std::string to_string(RouteId id) { return fmt::format("{:016x}", id.value); }
std::string to_string(const TunnelId& id) { return to_hex(id.value); }
std::string to_string(const SessionId& id) { return to_hex(id.value); }
std::string to_string(const InstanceId& id) { return to_hex(id.value); }
std::string to_string(const TransactionId& id) { return to_hex(id.value); }
std::string to_string(ServiceHandle id) { return std::to_string(id.value); }

}  // namespace ztna::wire
