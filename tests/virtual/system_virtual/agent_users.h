// What users of an AgentWorld do.
#pragma once

#include <algorithm>

#include "virtual/system_virtual/agent_world.h"

namespace ztna::agent::testing {

/// A user's connection, handed in and accepted. Null: it did not come so far.
inline TcpEvents* connect(AgentWorld& world, Wire& socket, std::uint16_t from = 5000) {
  world.out(tcp({world.user.ip, from}, {world.service.ip, 80}, wire::ip::TcpFlags::kSyn));
  if (!world.run_until([&] { return !world.tun.written.empty(); })) return nullptr;
  const auto syn = world.in().back();
  if (syn.view().protocol != wire::ip::Protocol::tcp || syn.view().dst_port != 40'000) return nullptr;
  return world.agent->accepted(syn.view().source(), std::make_unique<PlayedPort>(socket), world.now());
}

/// The user writes all that it has, as fast as the Agent reads.
inline void feed(AgentWorld& world, Wire& socket, TcpEvents& events) {
  for (int i = 0; i < 30'000 && !socket.to_agent.empty(); ++i) {
    events.on_readable();
    world.run_for(1ms);
  }
  events.on_readable();
}

inline bool echoed(AgentWorld& world, std::size_t payload) {
  const auto sent = udp(world.user, world.service, payload);
  world.out(sent);
  return world.run_until([&] {
    return std::ranges::any_of(world.tun.written, [&](const auto& w) { return w.view().l4_payload.size() == payload; });
  });
}

}  // namespace ztna::agent::testing
