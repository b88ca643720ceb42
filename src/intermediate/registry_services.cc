// Registration of services, and telling Agents of them.
#include <algorithm>

#include "base/log.h"
#include "intermediate/registry.h"

namespace ztna::intermediate {
namespace {

using Status = wire::RegistrationStatus;

Rejection rejection_of(Status status) {
  switch (status) {
    case Status::not_permitted: return Rejection::not_permitted;
    case Status::bad_service_id: return Rejection::bad_service_id;
    case Status::address_conflict: return Rejection::address_conflict;
    case Status::limit: return Rejection::limit;
    case Status::wrong_role: return Rejection::wrong_role;
    case Status::draining: return Rejection::draining;
    default: return Rejection::pool_exhausted;
  }
}

}  // namespace

void Registry::refuse(const Client& client, const std::string& service, Status status, std::string text, Actions& out) {
  counters_.registration_rejections.add();
  counters_.rejections.add(rejection_of(status));
  log::warn("registration refused", {{"client", client.identity.text()},
                                     {"service", identity::printable(service)},
                                     {"status", wire::to_string(status)},
                                     {"why", text}});
  out.deliveries.push_back({*client.session, wire::RegistrationNack{status, service, std::move(text)}});
}

Result<void> Registry::on(Client& client, const wire::RegisterAgent& m, Actions& out) {
  if (client.identity.role != identity::Role::agent) {
    refuse(client, m.service, Status::wrong_role, "the certificate is not an agent's", out);
    return {};
  }
  if (draining_) {
    refuse(client, m.service, Status::draining, "the Intermediate is shutting down", out);
    return {};
  }
  if (m.service == wire::kAllServices) {
    client.wants_all = true;
    counters_.registrations.add();
    out.deliveries.push_back({*client.session, wire::RegistrationAck{m.service, {}}});
    client.catalog_due = true;
    if (now_ >= client.catalog_next) send_catalog(client, out);
    return {};
  }
  const auto service = wire::ServiceId::parse(m.service);
  if (!service) {
    refuse(client, m.service, Status::bad_service_id, service.error().text, out);
  } else if (!client.identity.permits(*service)) {
    refuse(client, m.service, Status::not_permitted, "the certificate does not permit this service", out);
  } else if (!client.wants.contains(*service) && client.wants.size() >= limits_.registrations_per_client) {
    refuse(client, m.service, Status::limit, "too many services for one client", out);
  } else {
    client.wants.insert(*service);
    counters_.registrations.add();
    wire::RegistrationAck ack{m.service, {}};
    if (offered_by_.contains(*service)) ack.virtual_ips = *pool_.find(*service);
    out.deliveries.push_back({*client.session, std::move(ack)});
  }
  return {};
}

Result<void> Registry::on(Client& client, const wire::RegisterConnector& m, Actions& out) {
  if (client.identity.role != identity::Role::connector) {
    refuse(client, m.service, Status::wrong_role, "the certificate is not a connector's", out);
    return {};
  }
  if (draining_) {
    refuse(client, m.service, Status::draining, "the Intermediate is shutting down", out);
    return {};
  }
  const auto service = wire::ServiceId::parse(m.service);
  if (!service) {
    refuse(client, m.service, Status::bad_service_id, service.error().text, out);
    return {};
  }
  if (!client.identity.permits(*service)) {
    refuse(client, m.service, Status::not_permitted, "the certificate does not permit this service", out);
    return {};
  }
  if (!client.offers.contains(*service) &&
      (client.offers.size() - client.stale.size() >= limits_.registrations_per_client ||
       (!offered_by_.contains(*service) && offered_by_.size() >= limits_.services))) {
    refuse(client, m.service, Status::limit, "too many services", out);
    return {};
  }
  const auto addresses = pool_.assign(*service, m.pinned);
  if (!addresses) {
    const bool conflict = addresses.error().code == Errc::conflict;
    refuse(client, m.service, conflict ? Status::address_conflict : Status::pool_exhausted, addresses.error().text,
           out);
    return {};
  }
  pool_.idle(*service, false);
  const bool known = client.offers.contains(*service) && !client.lost.contains(*service);
  client.offers.insert(*service);
  client.stale.erase(*service);
  client.lost.erase(*service);
  offered_by_[*service].insert(client.name);
  counters_.registrations.add();
  out.deliveries.push_back({*client.session, wire::RegistrationAck{m.service, *addresses}});
  if (!known) {
    log::info("service registered", {{"service", service->str()}, {"connector", client.identity.name}});
    announce(*service, out);  // also when it was up before: an Agent that waits for a route asks again at once
  }
  return {};
}

bool Registry::interested(const Client& client, const wire::ServiceId& service) {
  return client.session && client.identity.role == identity::Role::agent && client.identity.permits(service) &&
         (client.wants_all || client.wants.contains(service));
}

/// Costs a walk over all services: not more often than kCatalogEvery.
void Registry::send_catalog(Client& client, Actions& out) {
  client.catalog_due = false;
  client.catalog_next = now_ + kCatalogEvery;
  wire::Catalog catalog;
  for (const auto& [service, connectors] : offered_by_) {
    if (client.identity.permits(service)) catalog.entries.push_back({service, *pool_.find(service)});
  }
  out.deliveries.push_back({*client.session, std::move(catalog)});
}

void Registry::announce(const wire::ServiceId& service, Actions& out) {
  for (const auto& [name, client] : clients_) {
    if (interested(client, service))
      out.deliveries.push_back({*client.session, wire::ServiceUp{service, *pool_.find(service)}});
  }
}

void Registry::withdraw(Client& connector, const wire::ServiceId& service, wire::ServiceDownReason why, Actions& out) {
  const wire::ServiceId id = service;  // `service` may live in a set that changes here
  connector.offers.erase(id);
  connector.stale.erase(id);
  connector.lost.erase(id);
  const auto offered = offered_by_.find(id);
  if (offered == offered_by_.end()) return;
  offered->second.erase(connector.name);
  if (!offered->second.empty()) return;
  offered_by_.erase(offered);
  pool_.idle(id, true);
  log::info("service withdrawn",
            {{"service", id.str()}, {"connector", connector.identity.name}, {"why", to_string(why)}});
  for (const auto& [name, client] : clients_) {
    if (interested(client, id)) out.deliveries.push_back({*client.session, wire::ServiceDown{id, why}});
  }
}

}  // namespace ztna::intermediate
