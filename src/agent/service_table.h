// Which services there are and at which virtual addresses: the split tunnel's table.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/ports.h"
#include "base/address.h"
#include "base/result.h"
#include "wire/control/codes.h"
#include "wire/service_id.h"

namespace ztna::agent {

/// Who said where the service is.
enum class ServiceSource : std::uint8_t {
  config,        // pinned: the Intermediate cannot move it
  intermediate,  // RegistrationAck, Catalog, ServiceUp
};
std::string_view to_string(ServiceSource source);

struct Service {
  wire::ServiceId id;
  std::optional<IpAddress> v4, v6;
  ServiceSource source = ServiceSource::intermediate;
  bool configured = false;  // named by the configuration: stays when a Catalog does not list it
  bool registered = false;  // the Intermediate acknowledged it, in this control connection
  bool up = true;           // false after ServiceDown
  wire::ServiceDownReason down_reason = wire::ServiceDownReason::withdrawn;

  /// Down, and nobody wants it so: the Intermediate has lost its Connector.
  bool connector_gone() const { return !up && down_reason == wire::ServiceDownReason::connector_gone; }
  const std::optional<IpAddress>& address(Family family) const { return family == Family::v4 ? v4 : v6; }
};

class ServiceTable {
 public:
  /// `own` (the TUN's and re-entry addresses) can never be a service's.
  explicit ServiceTable(Addresses own) : own_(own) {}

  /// Adds a service of the configuration, with pinned addresses or none. Errors: conflict (an address that another
  /// service or the Agent has), invalid_argument (two addresses of one family).
  Result<Service*> configure(const wire::ServiceId& id, const std::vector<IpAddress>& pinned);

  /// The Intermediate says that a service is there, and where. Pinned addresses stay. The service is up. Errors as
  /// configure(); the table is as before then.
  Result<Service*> set(const wire::ServiceId& id, const std::vector<IpAddress>& addresses);

  /// ServiceDown: keeps its addresses, so that packets to it are told so. False: unknown.
  bool down(const wire::ServiceId& id, wire::ServiceDownReason reason);
  void remove(const wire::ServiceId& id);

  Service* by_address(const IpAddress& address);
  Service* by_id(const wire::ServiceId& id);
  const std::map<wire::ServiceId, Service>& all() const { return services_; }
  std::map<wire::ServiceId, Service>& all() { return services_; }
  std::size_t size() const { return services_.size(); }

 private:
  Result<void> check(const wire::ServiceId& id, const std::vector<IpAddress>& addresses) const;
  void take_addresses(Service& service, const std::vector<IpAddress>& addresses);
  void drop_address(std::optional<IpAddress>& address);

  Addresses own_;
  std::map<wire::ServiceId, Service> services_;  // nodes stay in place: addresses_ points into it
  std::unordered_map<IpAddress, Service*> addresses_;
};

}  // namespace ztna::agent
