#include "connector/service.h"

#include <algorithm>

namespace ztna::connector {

std::string_view to_string(Transport transport) { return transport == Transport::tcp ? "tcp" : "udp"; }

std::string_view to_string(Refusal refusal) {
  switch (refusal) {
    case Refusal::wrong_protocol: return "wrong_protocol";
    case Refusal::wrong_port: return "wrong_port";
    case Refusal::wrong_service_ip: return "wrong_service_ip";
  }
  return "unknown";
}

bool Service::takes_address(const IpAddress& dst) const {
  if (definition_.pinned.empty()) return true;
  bool family_is_pinned = false;
  for (const auto& ip : definition_.pinned) {
    if (ip == dst) return true;
    family_is_pinned = family_is_pinned || ip.family() == dst.family();
  }
  if (family_is_pinned) return false;
  return std::ranges::any_of(
      registered_, [&](const auto& entry) { return std::ranges::find(entry.second, dst) != entry.second.end(); });
}

tl::expected<std::uint16_t, Refusal> decide(const Service& service, Transport transport, std::uint16_t dialled) {
  const auto& definition = service.definition();
  bool transport_known = false;
  for (const auto& range : definition.ports) {
    if (range.transport != transport) continue;
    transport_known = true;
    if (dialled >= range.first && dialled <= range.last) {
      return definition.backend_port == 0 ? dialled : definition.backend_port;
    }
  }
  return tl::unexpected{transport_known ? Refusal::wrong_port : Refusal::wrong_protocol};
}

tl::expected<std::uint16_t, Refusal> decide(const Service& service, Transport transport, const SocketAddress& dialled) {
  if (!service.takes_address(dialled.ip)) return tl::unexpected{Refusal::wrong_service_ip};
  return decide(service, transport, dialled.port);
}

Service* ServiceTable::find(const wire::ServiceId& id) const {
  const auto found = services_.find(id);
  return found == services_.end() ? nullptr : found->second.get();
}

ServiceTable::Change ServiceTable::replace(std::vector<ServiceDefinition> definitions) {
  Change change;
  std::map<wire::ServiceId, std::unique_ptr<Service>> next;
  for (auto& definition : definitions) {
    if (next.contains(definition.id)) continue;
    const auto known = services_.find(definition.id);
    if (known == services_.end()) {
      change.added.push_back(definition.id);
    } else if (known->second->definition() == definition) {
      next.emplace(definition.id, std::move(known->second));
      services_.erase(known);
      continue;
    } else {
      change.changed.push_back(definition.id);
    }
    const auto id = definition.id;
    next.emplace(id, std::make_unique<Service>(std::move(definition)));
  }
  for (auto& [id, service] : services_) {
    if (!next.contains(id)) change.removed.push_back(id);
    change.old.push_back(std::move(service));
  }
  services_ = std::move(next);
  return change;
}

}  // namespace ztna::connector
