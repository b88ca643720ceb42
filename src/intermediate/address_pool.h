// Virtual addresses of services: given out from pools, the same ones again for the same service.
#pragma once

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "wire/control/virtual_ips.h"
#include "wire/service_id.h"

namespace ztna::intermediate {

struct Pool {
  Prefix prefix;                    // at most one pool of each family
  std::vector<IpAddress> reserved;  // never given out: the Agents' own addresses
};

/// A service's slot is found from a hash of its id, so that a restarted Intermediate gives the same addresses even
/// without its state; restore() settles the rare collisions.
class AddressPool {
 public:
  explicit AddressPool(std::vector<Pool> pools) : pools_(std::move(pools)) {}

  /// Addresses of `service`: what it has, else `pinned` ones, else free ones of each pool that has no pinned address.
  /// Errors: conflict (a pinned address belongs to another service, is reserved, or the service has another one
  /// pinned), exhausted (no free slot). After an error all is as before.
  Result<wire::VirtualIps> assign(const wire::ServiceId& service, const wire::VirtualIps& pinned);
  /// From an earlier run. A taken or reserved address is skipped.
  void restore(const wire::ServiceId& service, const wire::VirtualIps& addresses);
  /// Nobody offers the service any more: its addresses may be given to another when nothing else is free.
  void idle(const wire::ServiceId& service, bool is_idle);

  /// Whether it lies in a pool, given out or not.
  bool covers(const IpAddress& address) const {
    return std::ranges::any_of(pools_, [&](const Pool& pool) { return pool.prefix.contains(address); });
  }
  const wire::VirtualIps* find(const wire::ServiceId& service) const;
  const std::unordered_map<wire::ServiceId, wire::VirtualIps>& all() const { return assigned_; }

 private:
  Result<IpAddress> free_in(const Pool& pool, const wire::ServiceId& service) const;
  bool reserved(const IpAddress& address) const;
  /// An idle service other than `service`, with its address in the pool.
  std::optional<std::pair<wire::ServiceId, IpAddress>> reclaimable(const Pool& pool,
                                                                   const wire::ServiceId& service) const;
  void forget(const wire::ServiceId& service);

  std::vector<Pool> pools_;
  std::unordered_map<wire::ServiceId, wire::VirtualIps> assigned_;
  std::unordered_map<IpAddress, wire::ServiceId> owner_;
  std::unordered_set<wire::ServiceId> idle_;
};

}  // namespace ztna::intermediate
