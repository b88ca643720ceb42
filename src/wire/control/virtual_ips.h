// Virtual addresses of a service: `count (1, 0 to 2), count x ip`, at most one of each family (docs/protocol.md 3).
#pragma once

#include <vector>

#include "base/address.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace ztna::wire {

using VirtualIps = std::vector<IpAddress>;

/// More than 2, or two of one family, is malformed.
VirtualIps read_virtual_ips(Reader& r);
/// Writes the first two at most.
void write_virtual_ips(Writer& w, const VirtualIps& ips);

}  // namespace ztna::wire
