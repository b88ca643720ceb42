#include "tunnel/nat_watch.h"

#include <utility>

namespace ztna::tunnel {

void NatWatch::update(const LocalCandidates& local, bool anew, TimePoint now) {
  for (const auto family : {Family::v4, Family::v6}) {
    auto& side = of(family);
    Basis next{local.nat_targets(family), local.own(family), local.observed(family)};
    if (!next.targets) {
      // The Intermediate is out of reach: what was found holds until the network changes.
      if (anew) {
        side.discovery.reset();
        side.basis = {};
      }
      continue;
    }
    if (!anew && next == side.basis) continue;
    side.basis = std::move(next);
    side.discovery.start(*side.basis.targets, side.basis.own, now);
  }
}

path::NatDiscovery::Fate NatWatch::receive(const SocketAddress& from, const wire::Probe& probe, TimePoint now) {
  return of(from.ip.family()).discovery.receive(from, probe, now);
}

std::vector<path::Outgoing> NatWatch::poll(TimePoint now) {
  auto out = v4_.discovery.poll(now);
  for (auto& probe : v6_.discovery.poll(now)) out.push_back(std::move(probe));
  return out;
}

bool NatWatch::take_change() {
  const bool v4 = v4_.discovery.take_change();
  const bool v6 = v6_.discovery.take_change();
  return v4 || v6;
}

}  // namespace ztna::tunnel
