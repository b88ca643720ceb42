#include "connector/upstream.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/log.h"

namespace ztna::connector {

Upstream::Upstream(const UpstreamShared& shared, UpstreamOwner& owner, std::size_t index,
                   tunnel::ControlClientOptions options, std::shared_ptr<const quic::TlsContext> tls)
    : shared_(shared), owner_(owner), index_(index), options_(std::move(options)) {
  options_.keep_alive = kKeepAlive;
  control_ = std::make_unique<tunnel::ControlClient>(options_, shared_.endpoint, shared_.resolver, shared_.random,
                                                     std::move(tls), static_cast<tunnel::ControlClientOwner&>(*this));
  for (const auto& [id, service] : shared_.services.all()) registrations_.emplace(id, shared_.random);
}

TimePoint Upstream::deadline() const {
  auto earliest = control_->deadline();
  if (!control_->ready()) return earliest;
  for (const auto& [id, registration] : registrations_) earliest = std::min(earliest, registration.again);
  return earliest;
}

void Upstream::on_deadline() {
  control_->on_deadline(shared_.now);
  if (!control_->ready()) return;
  for (auto& [id, registration] : registrations_) {
    if (shared_.now >= registration.again) ask(id);
  }
}

void Upstream::add(const wire::ServiceId& service) {
  registrations_.erase(service);
  registrations_.emplace(service, shared_.random);
  if (control_->ready()) ask(service);
}

void Upstream::remove(const std::vector<wire::ServiceId>& services) {
  if (services.empty()) return;
  for (const auto& id : services) registrations_.erase(id);
  control_->renew(shared_.now);
}

void Upstream::set_tls(std::shared_ptr<const quic::TlsContext> tls) {
  control_->set_tls(std::move(tls));
  // Perhaps the new certificate permits what the old one did not.
  const bool was_refused =
      std::ranges::any_of(registrations_, [](const auto& entry) { return entry.second.state == State::refused; });
  if (was_refused) control_->renew(shared_.now);
}

std::size_t Upstream::registered() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(registrations_, [](const auto& r) { return r.second.state == State::registered; }));
}

std::string Upstream::refusal() const {
  for (const auto& [id, registration] : registrations_) {
    if (registration.state == State::refused) return id.str() + ": " + registration.why;
  }
  return {};
}

Result<void> Upstream::verify_intermediate(Bytes leaf_der) {
  if (!shared_.verify_peer) return {};
  const auto identity =
      identity::expect_role(identity::Identity::from_leaf(leaf_der, shared_.wall_time(), identity::Purpose::server),
                            identity::Role::intermediate);
  if (identity) return {};
  shared_.refused_intermediates.add(identity.error().fault);
  return fail(identity.error().code, "{}", identity.error().text);
}

void Upstream::on_control_ready() {
  if (std::exchange(ever_ready_, true)) shared_.counts.reconnections.add();
  owner_.on_upstream_ready(*this);
  for (const auto& [id, registration] : registrations_) ask(id);
}

void Upstream::on_control_lost(const quic::CloseReason&) {
  // Echo goes on being answered: tunnels outlive their Intermediate.
  for (auto& [id, registration] : registrations_) {
    registration.state = State::unsent;
    registration.again = kNever;
  }
  owner_.on_upstream_changed(*this);
}

void Upstream::ask(const wire::ServiceId& id) {
  auto& registration = registrations_.find(id)->second;
  registration.again = kNever;
  const auto* service = shared_.services.find(id);
  if (service == nullptr) return;
  const auto sent = control_->send(wire::RegisterConnector{id.str(), 0, service->definition().pinned});
  if (sent) registration.state = State::asked;  // else on_control_lost follows
}

bool Upstream::on_control_message(const wire::ControlMessage& message) {
  if (const auto* ack = std::get_if<wire::RegistrationAck>(&message)) return take(*ack);
  if (const auto* nack = std::get_if<wire::RegistrationNack>(&message)) return take(*nack);
  if (const auto* opened = std::get_if<wire::RouteOpened>(&message)) {
    const auto server = control_->server_address();
    if (opened->peer_role != wire::Role::agent || !server) return false;
    owner_.on_route_opened(*this, *opened, *server);
    return true;
  }
  if (const auto* closed = std::get_if<wire::RouteClosed>(&message)) {
    owner_.on_route_closed(*this, *closed);
    return true;
  }
  if (const auto* revoked = std::get_if<wire::Revoked>(&message)) {
    owner_.on_revoked(revoked->name);
    return true;
  }
  if (const auto* drain = std::get_if<wire::Drain>(&message)) {
    log::info("Intermediate is going to close", {{"server", options_.server.host}, {"in_ms", drain->close_in_ms}});
    return true;
  }
  if (std::holds_alternative<wire::ObservedAddress>(message)) {
    owner_.on_upstream_changed(*this);
    return true;
  }
  return owner_.on_signaling(*this, message);  // the rest is for other roles
}

Upstream::Registration* Upstream::find(const std::string& service, const wire::ServiceId*& id) {
  const auto parsed = wire::ServiceId::parse(service);
  if (!parsed) return nullptr;
  const auto found = registrations_.find(*parsed);
  if (found == registrations_.end()) return nullptr;
  id = &found->first;
  return &found->second;
}

bool Upstream::take(const wire::RegistrationAck& ack) {
  const wire::ServiceId* id = nullptr;
  auto* registration = find(ack.service, id);
  if (registration == nullptr) return true;  // of a service that a reload took out meanwhile
  registration->state = State::registered;
  registration->why.clear();
  registration->backoff.reset();
  shared_.counts.registered.add();
  std::string addresses;
  for (const auto& ip : ack.virtual_ips) {
    if (!addresses.empty()) addresses += ',';
    addresses += to_string(ip);
  }
  if (auto* service = shared_.services.find(*id)) service->set_registered(index_, ack.virtual_ips);
  log::info("service registered",
            {{"service", id->str()}, {"virtual_ip", addresses}, {"server", options_.server.host}});
  return true;
}

bool Upstream::take(const wire::RegistrationNack& nack) {
  const wire::ServiceId* id = nullptr;
  auto* registration = find(nack.service, id);
  if (registration == nullptr) return true;
  registration->state = State::refused;
  registration->why = fmt::format("{} ({})", to_string(nack.status), identity::printable(nack.text));
  const auto pause = registration->backoff.next(shared_.now);
  registration->again = shared_.now + pause;
  shared_.counts.refused.add();
  if (auto* service = shared_.services.find(*id)) service->clear_registered(index_);
  log::warn("service refused by the Intermediate", {{"service", id->str()},
                                                    {"status", wire::to_string(nack.status)},
                                                    {"why", identity::printable(nack.text)},
                                                    {"server", options_.server.host},
                                                    {"again_in_s", std::chrono::duration<double>(pause).count()}});
  return true;
}

}  // namespace ztna::connector
