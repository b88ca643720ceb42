// Addresses as text.
#pragma once

#include "base/address.h"

namespace ztna::os {

inline IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
inline SocketAddress at(const char* text) { return SocketAddress::parse(text).value(); }

}  // namespace ztna::os
