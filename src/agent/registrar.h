// Registration at the Intermediate and what it says of services: fills the service table, retries what was refused.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/service_table.h"
#include "agent/tunnels.h"
#include "base/counters.h"
#include "base/random.h"
#include "tunnel/backoff.h"
#include "wire/control/message.h"

namespace ztna::agent {

/// A service that the configuration names.
struct WantedService {
  wire::ServiceId id;
  std::vector<IpAddress> pinned;  // empty: where the Intermediate says
};

enum class RegistrationEvent : std::uint8_t {
  acknowledged,
  refused,           // RegistrationNack
  address_conflict,  // the Intermediate's address is taken by another service, or by the Agent: not used
  count_
};
std::string_view to_string(RegistrationEvent event);

class Registrar {
 public:
  /// More services than this in a Catalog are not taken.
  static constexpr std::size_t kMaxServices = 16'384;

  /// All must outlive it.
  Registrar(ServiceTable& table, Tunnels& tunnels, ControlPort& control, Random& random)
      : table_(table), tunnels_(tunnels), control_(control), random_(random) {}

  /// The configuration's services; none: all that the certificate permits. Again after a reload: what is new is
  /// registered, what is gone is forgotten. Errors: as ServiceTable::configure; nothing is changed for the services
  /// after the bad one.
  Result<void> want(const std::vector<WantedService>& services);
  bool wants_all() const { return all_; }

  void control_ready();
  void control_lost();
  /// False: not a message of registration or services.
  bool take(const wire::ControlMessage& message, TimePoint now);

  TimePoint deadline() const;
  void on_deadline(TimePoint now);

  /// Why a service (or "*") is refused at present; empty: it is not.
  std::string refusal(const std::string& service) const;
  /// Whether the Intermediate, in this control connection, took at least one of the registrations (or "*").
  bool registered() const;
  const CounterSet<RegistrationEvent>& events() const { return events_; }

 private:
  struct Refused {
    std::string text;
    tunnel::Backoff backoff;
    TimePoint next_try = kNever;
  };
  void register_service(const std::string& service);
  void on_ack(const wire::RegistrationAck& ack);
  void on_nack(const wire::RegistrationNack& nack, TimePoint now);
  void on_catalog(const wire::Catalog& part);
  void set(const wire::ServiceId& id, const std::vector<IpAddress>& addresses, bool registered);

  ServiceTable& table_;
  Tunnels& tunnels_;
  ControlPort& control_;
  Random& random_;
  bool all_ = true;
  bool all_acknowledged_ = false;  // "*", in this control connection
  std::map<std::string, Refused> refused_;
  std::vector<wire::Catalog::Entry> catalog_;  // parts until the last one
  CounterSet<RegistrationEvent> events_;
};

}  // namespace ztna::agent
