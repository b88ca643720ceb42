// Echo (ping) to a service's address is answered here, on the backend's behalf.
#pragma once

#include "connector/packet_arena.h"
#include "connector/service.h"
#include "wire/ip/packet_view.h"

namespace ztna::connector {

/// The reply to an echo request whose lengths and checksums are right, from the arena; empty if `request` is none.
Bytes answer_echo(const wire::ip::PacketView& request, PacketArena& arena);

}  // namespace ztna::connector
