// Which socket of an SO_REUSEPORT group gets a datagram (docs/architecture.md): the worker whose index is in the
// packet.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

namespace ztna::os {

/// Attaches a classic BPF program to the group that `fd` belongs to. Sockets have the index of their bind order, so
/// bind worker 0 first. Steers by one octet modulo `workers`:
///   first octet 0x2F          octet 2, the first of the route id (docs/protocol.md 2)
///   bit 0x80 set (long header) octet 6, the first of the destination connection id (RFC 9000 17.2)
///   else                      octet 1, the first of the destination connection id (RFC 9000 17.3)
/// A datagram too short for its octet goes to socket 0. `workers` is 1 to 256. Errors: invalid_argument, io.
Result<void> attach_worker_steering(int fd, unsigned workers);

/// The same choice in C++, for packets that a worker got although they belong to another (one GRO batch may mix).
unsigned worker_of(Bytes payload, unsigned workers);

}  // namespace ztna::os
