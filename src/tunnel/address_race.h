// Which addresses of an Intermediate are dialled, in which order and how long after each other, so that the faster
// address family wins and a dead one costs nothing (RFC 8305, "Happy Eyeballs").
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/time.h"

namespace ztna::tunnel {

/// One address of a race and when it is dialled, reckoned from the race's beginning.
struct Heat {
  IpAddress address;
  Duration after{};
  friend bool operator==(const Heat&, const Heat&) = default;
};

/// What IPv6 is ahead when nothing is known. A handshake takes three or four round trips, so a difference of more than
/// about 1 ms of round trip decides, and on a tie IPv6 is used, as it is between candidates.
inline constexpr Duration kRaceHeadStart = 4ms;
/// What the family that won lately is ahead (RFC 8305 section 5: Connection Attempt Delay): an Intermediate that all
/// its clients dial again at once makes each handshake once.
inline constexpr Duration kRaceAttemptDelay = 250ms;
/// For how long a winner is believed to be the faster one still.
inline constexpr Duration kRaceMemory = 10min;

/// One address of each family of `addresses` (the resolver's order); `turn` counts the races, and each takes a family's
/// next one. `favourite`: the family that won lately.
std::vector<Heat> plan_race(std::span<const IpAddress> addresses, std::size_t turn, std::optional<Family> favourite);

}  // namespace ztna::tunnel
