// Identifiers on the wire (docs/protocol.md 2 to 5).
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/id.h"

namespace ztna::wire {

/// Names one leg of a relayed path: worker (1 octet), random (7).
using RouteId = Id<struct RouteTag, std::uint64_t>;
constexpr std::uint8_t worker_of(RouteId id) { return static_cast<std::uint8_t>(id.value >> 56); }

/// Random, chosen by the Agent; both ends present it again to get a new route.
using TunnelId = Id<struct TunnelTag, std::array<std::uint8_t, 16>>;
/// A signaling session.
using SessionId = Id<struct SessionTag, std::array<std::uint8_t, 8>>;
/// One probe and its answer.
using TransactionId = Id<struct TransactionTag, std::array<std::uint8_t, 12>>;
/// A service within one tunnel: 1 to 65,535, chosen by the Agent.
using ServiceHandle = Id<struct ServiceHandleTag, std::uint16_t>;

/// Random for each run of a program: another one from the same peer means that it lost its state.
using InstanceId = Id<struct InstanceTag, std::array<std::uint8_t, 8>>;

/// Hexadecimal, as in logs.
std::string to_string(RouteId id);
std::string to_string(const TunnelId& id);
std::string to_string(const SessionId& id);
std::string to_string(const InstanceId& id);
std::string to_string(const TransactionId& id);
/// Decimal.
std::string to_string(ServiceHandle id);

}  // namespace ztna::wire

template <typename Tag, std::size_t N>
struct std::hash<ztna::Id<Tag, std::array<std::uint8_t, N>>> {
  std::size_t operator()(const ztna::Id<Tag, std::array<std::uint8_t, N>>& id) const noexcept {
    return std::hash<std::string_view>{}(ztna::as_text(id.value));
  }
};
