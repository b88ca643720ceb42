#include "agent/service_table.h"

namespace ztna::agent {

std::string_view to_string(ServiceSource source) { return source == ServiceSource::config ? "config" : "intermediate"; }

Result<void> ServiceTable::check(const wire::ServiceId& id, const std::vector<IpAddress>& addresses) const {
  bool seen_v4 = false, seen_v6 = false;
  for (const auto& address : addresses) {
    bool& seen = address.is_v4() ? seen_v4 : seen_v6;
    if (seen) {
      return fail(Errc::invalid_argument, "service {}: two addresses of one family, {} is the second", id.str(),
                  to_string(address));
    }
    seen = true;
    if (address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_link_local()) {
      return fail(Errc::invalid_argument, "service {}: {} cannot be a service's address", id.str(), to_string(address));
    }
    for (const auto& own : {own_.tun_v4, own_.reentry_v4, own_.tun_v6, own_.reentry_v6}) {
      if (own == address) {
        return fail(Errc::conflict, "service {}: {} is an address of the agent itself", id.str(), to_string(address));
      }
    }
    const auto found = addresses_.find(address);
    if (found != addresses_.end() && found->second->id != id) {
      return fail(Errc::conflict, "service {}: {} belongs to service {} already", id.str(), to_string(address),
                  found->second->id.str());
    }
  }
  return {};
}

void ServiceTable::drop_address(std::optional<IpAddress>& address) {
  if (address) addresses_.erase(*address);
  address.reset();
}

void ServiceTable::take_addresses(Service& service, const std::vector<IpAddress>& addresses) {
  drop_address(service.v4);
  drop_address(service.v6);
  for (const auto& address : addresses) {
    (address.is_v4() ? service.v4 : service.v6) = address;
    addresses_[address] = &service;
  }
}

Result<Service*> ServiceTable::configure(const wire::ServiceId& id, const std::vector<IpAddress>& pinned) {
  if (auto ok = check(id, pinned); !ok) return fail(ok.error());
  auto& service = services_.try_emplace(id, Service{.id = id}).first->second;
  service.configured = true;
  if (!pinned.empty()) {
    service.source = ServiceSource::config;
    take_addresses(service, pinned);
  }
  return &service;
}

Result<Service*> ServiceTable::set(const wire::ServiceId& id, const std::vector<IpAddress>& addresses) {
  const auto found = services_.find(id);
  const bool pinned = found != services_.end() && found->second.source == ServiceSource::config;
  if (!pinned) {
    if (auto ok = check(id, addresses); !ok) return fail(ok.error());
  }
  auto& service = found != services_.end() ? found->second : services_.emplace(id, Service{.id = id}).first->second;
  if (!pinned) take_addresses(service, addresses);
  service.up = true;
  return &service;
}

bool ServiceTable::down(const wire::ServiceId& id, wire::ServiceDownReason reason) {
  auto* service = by_id(id);
  if (service == nullptr) return false;
  service->up = false;
  service->down_reason = reason;
  return true;
}

void ServiceTable::remove(const wire::ServiceId& id) {
  const auto found = services_.find(id);
  if (found == services_.end()) return;
  drop_address(found->second.v4);
  drop_address(found->second.v6);
  services_.erase(found);
}

Service* ServiceTable::by_address(const IpAddress& address) {
  const auto found = addresses_.find(address);
  return found == addresses_.end() ? nullptr : found->second;
}

Service* ServiceTable::by_id(const wire::ServiceId& id) {
  const auto found = services_.find(id);
  return found == services_.end() ? nullptr : &found->second;
}

}  // namespace ztna::agent
