// What a Connector offers, and the decision what of it a packet or stream may reach. Default is deny.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "base/address.h"
#include "wire/service_id.h"

namespace ztna::connector {

enum class Transport : std::uint8_t { tcp, udp };
std::string_view to_string(Transport transport);

/// Ports first..last of one transport, both included.
struct PortRange {
  Transport transport = Transport::tcp;
  std::uint16_t first = 0;
  std::uint16_t last = 0;
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

struct ServiceDefinition {
  wire::ServiceId id;
  std::string backend_host;        // name or IP literal, without brackets
  std::uint16_t backend_port = 0;  // 0: the port that the user dialled
  std::vector<PortRange> ports;    // what users may dial; empty: nothing but ICMP echo
  std::vector<IpAddress> pinned;   // --service-ip: at most one of each family
  friend bool operator==(const ServiceDefinition&, const ServiceDefinition&) = default;
};

/// Why the service does not take something.
enum class Refusal : std::uint8_t {
  wrong_protocol,  // no port of this transport at all
  wrong_port,
  wrong_service_ip,  // not an address that the service has
};
std::string_view to_string(Refusal refusal);

class Service {
 public:
  explicit Service(ServiceDefinition definition) : definition_(std::move(definition)) {}

  const ServiceDefinition& definition() const { return definition_; }
  const wire::ServiceId& id() const { return definition_.id; }

  /// What Intermediates have given out for it, one entry for each that registered it.
  void set_registered(std::size_t upstream, std::vector<IpAddress> virtual_ips) {
    registered_[upstream] = std::move(virtual_ips);
  }
  void clear_registered(std::size_t upstream) { registered_.erase(upstream); }
  bool registered() const { return !registered_.empty(); }

  /// Whether a packet to `dst` may be for this service. With a pinned address: only that one, or of the other family
  /// what an Intermediate gave out. Without one the Agent's user may have pinned an address, which only the Agent
  /// knows: then any.
  bool takes_address(const IpAddress& dst) const;

 private:
  ServiceDefinition definition_;
  std::map<std::size_t, std::vector<IpAddress>> registered_;
};

/// The backend's port for a packet or connection to port `dialled`.
tl::expected<std::uint16_t, Refusal> decide(const Service& service, Transport transport, std::uint16_t dialled);
/// The same for a packet, whose destination address counts too.
tl::expected<std::uint16_t, Refusal> decide(const Service& service, Transport transport, const SocketAddress& dialled);

/// All services of the configuration. A Service stays at its place in memory until a reload changes or removes it;
/// whoever holds a pointer is told first (see replace).
class ServiceTable {
 public:
  /// Null: no such service.
  Service* find(const wire::ServiceId& id) const;
  std::size_t size() const { return services_.size(); }
  const std::map<wire::ServiceId, std::unique_ptr<Service>>& all() const { return services_; }

  struct Change {
    std::vector<wire::ServiceId> added;
    std::vector<wire::ServiceId> removed;
    std::vector<wire::ServiceId> changed;       // same id, other definition
    std::vector<std::unique_ptr<Service>> old;  // removed and changed ones: still valid until this value goes
  };
  /// Takes the new list over; of two with one id the first counts. An unchanged definition keeps its Service.
  Change replace(std::vector<ServiceDefinition> definitions);

 private:
  std::map<wire::ServiceId, std::unique_ptr<Service>> services_;
};

}  // namespace ztna::connector
