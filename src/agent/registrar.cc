#include "agent/registrar.h"

#include <algorithm>
#include <set>

#include "base/log.h"

namespace ztna::agent {

std::string_view to_string(RegistrationEvent event) {
  switch (event) {
    case RegistrationEvent::acknowledged: return "acknowledged";
    case RegistrationEvent::refused: return "refused";
    case RegistrationEvent::address_conflict: return "address_conflict";
    case RegistrationEvent::count_: break;
  }
  return "unknown";
}

Result<void> Registrar::want(const std::vector<WantedService>& services) {
  const bool was_all = std::exchange(all_, services.empty());
  std::set<wire::ServiceId> wanted;
  for (const auto& service : services) wanted.insert(service.id);
  std::vector<wire::ServiceId> gone;
  for (const auto& [id, service] : table_.all()) {
    if (service.configured && !wanted.contains(id)) gone.push_back(id);
    if (!service.configured && !all_ && !wanted.contains(id)) gone.push_back(id);
  }
  for (const auto& id : gone) {
    tunnels_.remove(id);
    table_.remove(id);
    refused_.erase(id.str());
  }
  for (const auto& service : services) {
    const auto* known = table_.by_id(service.id);
    const bool is_new = known == nullptr || !known->registered;
    if (auto ok = table_.configure(service.id, service.pinned); !ok) return fail(ok.error());
    if (is_new) register_service(service.id.str());
  }
  if (all_ && !was_all) register_service(std::string{wire::kAllServices});
  return {};
}

void Registrar::register_service(const std::string& service) {
  if (control_.ready()) control_.send(wire::RegisterAgent{service});
}

void Registrar::control_ready() {
  all_acknowledged_ = false;
  catalog_.clear();
  refused_.clear();
  if (all_) return register_service(std::string{wire::kAllServices});
  for (const auto& [id, service] : table_.all()) {
    if (service.configured) register_service(id.str());
  }
}

void Registrar::control_lost() {
  all_acknowledged_ = false;
  for (auto& [id, service] : table_.all()) service.registered = false;
  for (auto& [id, refused] : refused_) refused.next_try = kNever;
}

bool Registrar::take(const wire::ControlMessage& message, TimePoint now) {
  if (const auto* ack = std::get_if<wire::RegistrationAck>(&message)) {
    on_ack(*ack);
  } else if (const auto* nack = std::get_if<wire::RegistrationNack>(&message)) {
    on_nack(*nack, now);
  } else if (const auto* up = std::get_if<wire::ServiceUp>(&message)) {
    const auto* known = table_.by_id(up->service);
    if (all_ || (known != nullptr && known->configured)) {
      log::info("service is up", {{"service", up->service.str()}});
      set(up->service, up->virtual_ips, true);
    }
  } else if (const auto* down = std::get_if<wire::ServiceDown>(&message)) {
    if (table_.down(down->service, down->reason)) {
      log::info("service is down", {{"service", down->service.str()}, {"why", wire::to_string(down->reason)}});
      if (down->reason == wire::ServiceDownReason::connector_gone) {
        tunnels_.connector_gone(down->service);
      } else {
        tunnels_.service_down(down->service, down->reason == wire::ServiceDownReason::not_permitted);
      }
    }
  } else if (const auto* catalog = std::get_if<wire::Catalog>(&message)) {
    on_catalog(*catalog);
  } else {
    return false;
  }
  return true;
}

void Registrar::set(const wire::ServiceId& id, const std::vector<IpAddress>& addresses, bool registered) {
  // An address that was given to another service is no longer the old one's, which was kept only because it might
  // return.
  for (const auto& address : addresses) {
    const auto* holder = table_.by_address(address);
    if (holder == nullptr || holder->id == id || holder->up || holder->configured) continue;
    const auto gone = holder->id;
    tunnels_.remove(gone);
    table_.remove(gone);
  }
  const auto service = table_.set(id, addresses);
  if (!service) {
    events_.add(RegistrationEvent::address_conflict);
    log::error("cannot use the service's address", {{"service", id.str()}, {"why", service.error().text}});
    return;
  }
  (*service)->registered = (*service)->registered || registered;
  if (!(*service)->v4 && !(*service)->v6) {
    log::warn("service has no virtual address", {{"service", id.str()}});
  }
  tunnels_.service_up(id);
}

void Registrar::on_ack(const wire::RegistrationAck& ack) {
  events_.add(RegistrationEvent::acknowledged);
  refused_.erase(ack.service);
  if (ack.service == wire::kAllServices) {
    all_acknowledged_ = true;  // Catalog says more
    return;
  }
  const auto id = wire::ServiceId::parse(ack.service);
  if (!id) return;
  auto* known = table_.by_id(*id);
  if (known == nullptr) return;  // no longer wanted
  if (ack.virtual_ips.empty()) {
    // Nobody offers it just now, perhaps because the Intermediate was restarted: what is known of it stays, ServiceUp
    // says more.
    known->registered = true;
    log::info("service registered, no Connector offers it yet", {{"service", id->str()}});
    return;
  }
  for (const auto& address : ack.virtual_ips) {
    if (known->source == ServiceSource::config && known->address(address.family()) != address) {
      log::debug("service is pinned to another address than the Intermediate's",
                 {{"service", id->str()}, {"intermediate", to_string(address)}});
    }
  }
  set(*id, ack.virtual_ips, true);
  log::info("service registered", {{"service", id->str()}});
}

void Registrar::on_nack(const wire::RegistrationNack& nack, TimePoint now) {
  events_.add(RegistrationEvent::refused);
  auto& refused = refused_.try_emplace(nack.service, Refused{"", tunnel::Backoff{random_}, kNever}).first->second;
  const auto text = nack.text.empty() ? std::string{wire::to_string(nack.status)}
                                      : fmt::format("{}: {}", wire::to_string(nack.status), nack.text);
  if (refused.text != text) {
    log::warn("registration refused", {{"service", nack.service}, {"why", text}});
    refused.text = text;
  }
  refused.next_try = now + refused.backoff.next(now);
  const auto id = wire::ServiceId::parse(nack.service);
  if (!id) return;
  if (auto* service = table_.by_id(*id)) {
    service->registered = false;
    using Status = wire::RegistrationStatus;
    const bool denied = nack.status == Status::not_permitted || nack.status == Status::wrong_role ||
                        nack.status == Status::bad_service_id;
    if (!denied) return;  // a limit, a drain: it may work in a moment
    table_.down(*id, wire::ServiceDownReason::not_permitted);
    tunnels_.service_down(*id, true);
  }
}

void Registrar::on_catalog(const wire::Catalog& part) {
  const auto room = kMaxServices - std::min(kMaxServices, catalog_.size());
  catalog_.insert(catalog_.end(), part.entries.begin(),
                  part.entries.begin() + static_cast<std::ptrdiff_t>(std::min(room, part.entries.size())));
  if (!part.last) return;
  const auto list = std::exchange(catalog_, {});
  std::set<wire::ServiceId> listed;
  for (const auto& entry : list) listed.insert(entry.service);
  // What is not listed may only be late: after a restart of the Intermediate its Connector has perhaps not registered
  // again. So its tunnel and addresses stay; without a tunnel that is heard users are told that it is not there.
  for (const auto& [id, service] : table_.all()) {
    if (service.configured || listed.contains(id) || !service.up) continue;
    table_.down(id, wire::ServiceDownReason::connector_gone);
    tunnels_.connector_gone(id);
  }
  for (const auto& entry : list) {
    if (const auto* known = table_.by_id(entry.service); all_ || (known != nullptr && known->configured)) {
      set(entry.service, entry.virtual_ips, true);
    }
  }
  log::info("catalog received", {{"services", list.size()}});
}

TimePoint Registrar::deadline() const {
  TimePoint first = kNever;
  for (const auto& [id, refused] : refused_) first = std::min(first, refused.next_try);
  return first;
}

void Registrar::on_deadline(TimePoint now) {
  for (auto& [id, refused] : refused_) {
    if (now < refused.next_try) continue;
    refused.next_try = kNever;
    register_service(id);
  }
}

bool Registrar::registered() const {
  return (all_ && all_acknowledged_) ||
         std::ranges::any_of(table_.all(), [](const auto& entry) { return entry.second.registered; });
}

std::string Registrar::refusal(const std::string& service) const {
  const auto found = refused_.find(service);
  return found == refused_.end() ? std::string{} : found->second.text;
}

}  // namespace ztna::agent
