#include "tunnel/address_race.h"

#include <array>

namespace ztna::tunnel {

std::vector<Heat> plan_race(std::span<const IpAddress> addresses, std::size_t turn, std::optional<Family> favourite) {
  const auto first = favourite.value_or(Family::v6);
  const auto second = first == Family::v6 ? Family::v4 : Family::v6;
  std::vector<Heat> heats;
  for (const auto family : std::array{first, second}) {
    std::vector<IpAddress> own;
    for (const auto& address : addresses) {
      if (address.family() == family) own.push_back(address);
    }
    if (own.empty()) continue;
    const auto behind = favourite ? kRaceAttemptDelay : kRaceHeadStart;
    heats.push_back({own[turn % own.size()], heats.empty() ? Duration{} : behind});
  }
  return heats;
}

}  // namespace ztna::tunnel
