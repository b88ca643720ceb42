#include "intermediate/address_pool.h"

#include <algorithm>
#include <array>

namespace ztna::intermediate {
namespace {

/// FNV-1a: the same on every machine and in every release, which std::hash is not.
std::uint64_t stable_hash(std::string_view text) {
  std::uint64_t h = 14695981039346656037ULL;
  for (const char c : text) h = (h ^ static_cast<std::uint8_t>(c)) * 1099511628211ULL;
  return h;
}

/// How many host numbers a pool has: all of IPv4's but the last (broadcast); of IPv6 the last 16 bits suffice.
std::uint64_t slots(const Prefix& prefix) {
  const unsigned bits = (prefix.base.is_v4() ? 32U : 128U) - prefix.length;
  return (std::uint64_t{1} << std::min(bits, 16U)) - 1;
}

IpAddress nth(const Prefix& prefix, std::uint64_t number) {
  if (prefix.base.is_v4()) return IpAddress::v4(prefix.base.v4_host_order() + static_cast<std::uint32_t>(number));
  std::array<std::uint8_t, 16> octets{};
  std::ranges::copy(prefix.base.octets(), octets.begin());
  octets[14] = static_cast<std::uint8_t>(octets[14] | (number >> 8U));
  octets[15] = static_cast<std::uint8_t>(octets[15] | number);
  return IpAddress::v6(octets);
}

}  // namespace

Result<wire::VirtualIps> AddressPool::assign(const wire::ServiceId& service, const wire::VirtualIps& pinned) {
  // Everything is judged first: a refused request changes nothing.
  wire::VirtualIps result;
  if (const auto found = assigned_.find(service); found != assigned_.end()) result = found->second;
  wire::VirtualIps given_back;
  std::vector<wire::ServiceId> victims;
  for (const auto& address : pinned) {
    if (reserved(address)) return fail(Errc::conflict, "{} is reserved for Agents", to_string(address));
    const auto owner = owner_.find(address);
    if (owner != owner_.end() && owner->second != service) {
      return fail(Errc::conflict, "{} belongs to service {}", to_string(address), owner->second.str());
    }
    const auto same = std::ranges::find(result, address.family(), &IpAddress::family);
    if (same == result.end()) {
      result.push_back(address);
    } else if (*same != address) {
      const bool pinned_too = std::ranges::find(pinned, *same) != pinned.end();
      if (pinned_too || !idle_.contains(service)) {
        return fail(Errc::conflict, "the service already has {}, not {}", to_string(*same), to_string(address));
      }
      given_back.push_back(*same);
      *same = address;
    }
  }
  for (const auto& pool : pools_) {
    const auto family = pool.prefix.base.family();
    if (std::ranges::find(result, family, &IpAddress::family) != result.end()) continue;
    if (const auto address = free_in(pool, service)) {
      result.push_back(*address);
    } else if (const auto victim = reclaimable(pool, service)) {
      result.push_back(victim->second);
      if (std::ranges::find(victims, victim->first) == victims.end()) victims.push_back(victim->first);
    } else {
      return fail(address.error());
    }
  }
  for (const auto& victim : victims) forget(victim);
  for (const auto& address : given_back) owner_.erase(address);
  std::ranges::sort(result);
  for (const auto& address : result) owner_.insert_or_assign(address, service);
  assigned_.insert_or_assign(service, result);
  return result;
}

void AddressPool::restore(const wire::ServiceId& service, const wire::VirtualIps& addresses) {
  wire::VirtualIps kept;
  for (const auto& address : addresses) {
    const bool inside = std::ranges::any_of(pools_, [&](const Pool& pool) { return pool.prefix.contains(address); });
    if (!inside || reserved(address) || owner_.contains(address)) continue;
    kept.push_back(address);
    owner_.emplace(address, service);
  }
  if (kept.empty()) return;
  assigned_.insert_or_assign(service, std::move(kept));
  idle_.insert(service);
}

void AddressPool::idle(const wire::ServiceId& service, bool is_idle) {
  if (is_idle && assigned_.contains(service)) {
    idle_.insert(service);
  } else {
    idle_.erase(service);
  }
}

const wire::VirtualIps* AddressPool::find(const wire::ServiceId& service) const {
  const auto found = assigned_.find(service);
  return found == assigned_.end() ? nullptr : &found->second;
}

Result<IpAddress> AddressPool::free_in(const Pool& pool, const wire::ServiceId& service) const {
  const auto count = slots(pool.prefix);
  const auto start = stable_hash(service.str()) % count;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto number = (start + i) % count;
    if (number == 0) continue;  // the network's own address
    const auto address = nth(pool.prefix, number);
    if (!reserved(address) && !owner_.contains(address)) return address;
  }
  return fail(Errc::exhausted, "no free address in {}", to_string(pool.prefix));
}

bool AddressPool::reserved(const IpAddress& address) const {
  return std::ranges::any_of(
      pools_, [&](const Pool& pool) { return std::ranges::find(pool.reserved, address) != pool.reserved.end(); });
}

std::optional<std::pair<wire::ServiceId, IpAddress>> AddressPool::reclaimable(const Pool& pool,
                                                                              const wire::ServiceId& service) const {
  for (const auto& id : idle_) {
    const auto* addresses = find(id);
    if (id == service || addresses == nullptr) continue;
    for (const auto& address : *addresses) {
      if (pool.prefix.contains(address)) return std::pair{id, address};
    }
  }
  return std::nullopt;
}

void AddressPool::forget(const wire::ServiceId& service) {
  for (const auto& address : assigned_.at(service)) owner_.erase(address);
  assigned_.erase(service);
  idle_.erase(service);
}

}  // namespace ztna::intermediate
