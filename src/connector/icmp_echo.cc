#include "connector/icmp_echo.h"

#include <algorithm>

#include "wire/ip/build.h"

namespace ztna::connector {

Bytes answer_echo(const wire::ip::PacketView& request, PacketArena& arena) {
  const auto reply = wire::ip::build_echo_reply(request);
  if (!reply) return {};
  const auto packet = arena.take(reply->size());
  std::ranges::copy(*reply, packet.begin());
  return packet;
}

}  // namespace ztna::connector
