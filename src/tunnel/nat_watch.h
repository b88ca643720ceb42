// NAT discovery of both families, begun again whenever what it measured may have changed (path/nat_discovery.h).
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "path/nat_discovery.h"
#include "tunnel/local_candidates.h"

namespace ztna::tunnel {

class NatWatch {
 public:
  /// `random` must outlive it.
  explicit NatWatch(Random& random) : v4_{path::NatDiscovery{random}, {}}, v6_{path::NatDiscovery{random}, {}} {}

  /// Measures each family for which targets, own addresses or the observed address are others than at the last
  /// measurement; with `anew` (the network changed) all.
  void update(const LocalCandidates& local, bool anew, TimePoint now);
  path::NatDiscovery::Fate receive(const SocketAddress& from, const wire::Probe& probe, TimePoint now);
  std::vector<path::Outgoing> poll(TimePoint now);
  TimePoint deadline() const { return std::min(v4_.discovery.deadline(), v6_.discovery.deadline()); }
  /// True once after a measurement ended.
  bool take_change();

  const path::NatReport& report(Family family) const { return of(family).discovery.report(); }
  /// What an offer says.
  path::NatKind kind() const { return path::offered_kind(report(Family::v4), report(Family::v6)); }

 private:
  struct Basis {
    std::optional<path::NatDiscovery::Targets> targets;
    std::vector<SocketAddress> own;
    std::vector<SocketAddress> observed;
    friend bool operator==(const Basis&, const Basis&) = default;
  };
  struct Side {
    path::NatDiscovery discovery;
    Basis basis;  // of the last measurement
  };
  Side& of(Family family) { return family == Family::v4 ? v4_ : v6_; }
  const Side& of(Family family) const { return family == Family::v4 ? v4_ : v6_; }

  Side v4_, v6_;
};

}  // namespace ztna::tunnel
