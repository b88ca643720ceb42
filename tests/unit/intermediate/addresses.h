// Addresses as text.
#pragma once

#include <string_view>

#include "base/address.h"

namespace ztna::intermediate::testing {

inline IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
inline SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }

}  // namespace ztna::intermediate::testing
