// Who is connected, which services there are, and which routes are open: the state that all workers share.
// Pure bookkeeping: calls take events and give back messages to deliver; they never call out. Thread-safe (one mutex:
// control plane only; relayed packets read the RouteTable).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/counters.h"
#include "base/random.h"
#include "base/rate.h"
#include "base/time.h"
#include "identity/identity.h"
#include "intermediate/actions.h"
#include "intermediate/address_pool.h"
#include "intermediate/candidate_check.h"
#include "intermediate/route_table.h"
#include "intermediate/signaling.h"
#include "wire/control/message.h"
#include "wire/ids.h"

namespace ztna::intermediate {

struct RegistryLimits {
  std::size_t registrations_per_client = 256;
  std::size_t routes_per_agent = 256;
  /// An Agent keeps one tunnel to a Connector, but asks for a route for each service until the first one is up.
  std::size_t routes_per_pair = 64;
  /// Far above one Agent's: none may fill a Connector.
  std::size_t routes_per_connector = 65'536;
  std::size_t services = 10'000;
  SignalingLimits signaling;
};

/// Refused requests, one counter each.
enum class Rejection : std::uint8_t {
  not_permitted,
  bad_service_id,
  address_conflict,
  limit,
  wrong_role,
  draining,
  pool_exhausted,
  no_such_service,  // route request for a service that nobody offers
  not_yours,        // route of somebody else
  count_
};
std::string_view to_string(Rejection rejection);

/// What became of PathReports; one increment a message.
enum class PathReportEnd : std::uint8_t {
  forwarded,
  peer_away,  // the other end has no control connection now
  no_route,   // of its tunnel
  not_yours,  // of somebody else's tunnel
  count_
};
std::string_view to_string(PathReportEnd end);

struct RegistryCounters {
  Counter registrations;  // accepted RegisterAgent and RegisterConnector
  Counter registration_rejections;
  Counter routes_opened;
  Counter clients;   // gauge
  Counter services;  // gauge: offered now
  Counter direct;    // gauge: routes whose tunnel is on a direct path, as an end has said last
  CounterSet<Rejection> rejections;
  CounterSet<PathReportEnd> path_reports;
};

class Registry {
 public:
  /// How long a route outlives a lost control connection: covers a reconnect.
  static constexpr Duration kRouteGrace = 10s;
  /// How long the services of a Connector that came again stay listed until it has registered them again.
  static constexpr Duration kStaleServices = 5s;
  /// Between two Catalogs to one session; a later one comes with tick().
  static constexpr Duration kCatalogEvery = 1s;
  /// How long after the first client Connectors may still be on their way back to a restarted Intermediate.
  static constexpr Duration kRestartGrace = 5s;

  /// `routes` and `random` must outlive the registry.
  Registry(RegistryLimits limits, std::vector<Pool> pools, RouteTable& routes, Random& random)
      : limits_(limits), pool_(std::move(pools)), routes_(routes), random_(random), signaling_(limits.signaling) {}

  /// Where clients reach us, as far as it is known beforehand; the addresses that they do reach are added. Before the
  /// first client.
  void set_own_addresses(OwnAddresses own) {
    const std::lock_guard lock{mutex_};
    own_ = std::move(own);
  }
  OwnAddresses own_addresses() const {
    const std::lock_guard lock{mutex_};
    return own_;
  }

  /// Hello came: the client replaces an older connection of the same identity.
  Actions client_up(SessionRef session, const identity::Identity& identity, const wire::InstanceId& instance,
                    const quic::Path& path, TimePoint now);
  /// The control connection's validated path changed.
  void client_moved(SessionRef session, const quic::Path& path);
  Actions client_down(SessionRef session, TimePoint now);

  /// A message of a client that is up, and the smoothed round trip of its connection (0: not known). Error: the message
  /// makes no sense from it (protocol violation).
  Result<Actions> message(SessionRef session, const wire::ControlMessage& message, TimePoint now, Duration rtt = {});

  /// Ends grace periods; call about once a second.
  Actions tick(TimePoint now);
  /// From now on registrations are refused; returns Drain for every client.
  Actions drain(Duration until_close);

  /// Hold it around a call and the posting of what the call returned, so that messages of several workers to one client
  /// leave in the order of the calls. Never lock it from within a call.
  std::mutex& delivery_order() { return order_; }

  const RegistryCounters& counters() const { return counters_; }
  const SignalingCounters& signaling_counters() const { return signaling_.counters(); }
  /// What an end of the tunnel has reported last, while it has a route; nothing: no report yet, or no route.
  std::optional<wire::PathReport> last_path_report(const wire::TunnelId& tunnel) const;
  /// Addresses for the state file; restore before the first client.
  std::vector<std::pair<wire::ServiceId, wire::VirtualIps>> addresses() const;
  void restore(const wire::ServiceId& service, const wire::VirtualIps& addresses);

 private:
  struct Client {
    std::string name;  // identity.uri()
    identity::Identity identity;
    wire::InstanceId instance;
    std::optional<SessionRef> session;
    quic::Path path;
    TimePoint gone_at{};               // when the session was lost
    std::set<wire::ServiceId> offers;  // Connector
    std::set<wire::ServiceId> stale;   // of `offers`: not registered again on this connection
    std::set<wire::ServiceId> lost;    // of `stale`: of an earlier run of the program, so that no route goes there
    TimePoint stale_until = kNever;
    bool wants_all = false;  // Agent
    std::set<wire::ServiceId> wants;
    TimePoint catalog_next{};  // earliest
    bool catalog_due = false;
    std::set<wire::TunnelId> tunnels;
    Rate signaling_starts{Signaling::kStartsPerSecond, Signaling::kStartBurst};  // Agent
  };
  struct Route {
    std::string agent, connector;  // client names
    wire::ServiceId service;
    wire::RouteId agent_end, connector_end;
    std::optional<wire::PathReport> path;  // the last report of either end
  };

  Client* client_of(SessionRef session);
  Result<void> on(Client& client, const wire::RegisterAgent& m, Actions& out);
  Result<void> on(Client& client, const wire::RegisterConnector& m, Actions& out);
  Result<void> on(Client& client, const wire::RouteRequest& m, Actions& out);
  Result<void> on(Client& client, const wire::RouteClosed& m, Actions& out);
  Result<void> on(Client& client, const wire::PathReport& m, Actions& out);
  Result<void> on(Client& client, const wire::CandidateOffer& m, Actions& out);
  Result<void> on(Client& client, const wire::CandidateAnswer& m, Actions& out);
  Result<void> on(Client& client, const wire::PunchingResult& m, Actions& out);
  Result<void> on(Client& client, const wire::SignalingError& m, Actions& out);
  /// False: refused, and `client` is told.
  template <typename Message>
  bool may_name_candidates(const Client& client, const Message& m, Actions& out);
  /// `m` without the server-reflexive candidates that are not what is observed of `client`.
  template <typename Message>
  Message without_claims(const Client& client, Message m);
  Signaling::Sender sender(const Client& client) const { return {*client.session, rtt_, client.path.remote}; }
  void set_path(Route& route, const std::optional<wire::PathReport>& report);
  void learn_own_address(const IpAddress& local);
  void refuse(const Client& client, const std::string& service, wire::RegistrationStatus status, std::string text,
              Actions& out);
  void refuse_route(const Client& client, const wire::TunnelId& tunnel, wire::RouteCloseReason reason, Rejection why,
                    Actions& out);
  static bool interested(const Client& client, const wire::ServiceId& service);
  void send_catalog(Client& client, Actions& out);
  void end_what_is_not_permitted(Client& client, Actions& out);
  void announce(const wire::ServiceId& service, Actions& out);
  void withdraw(Client& connector, const wire::ServiceId& service, wire::ServiceDownReason why, Actions& out);
  bool may_come_back(const std::string& connector) const;
  /// The tunnel's own route takes no new place. `full`: somebody offers the service, and has no place left.
  Client* choose_connector(const wire::ServiceId& service, const std::string& preferred, const Client& agent,
                           const wire::TunnelId& tunnel, bool& full);
  wire::RouteId new_route_id(const Client& owner);
  bool open_route(const wire::TunnelId& tunnel, Client& agent, Client& connector, const wire::ServiceId& service,
                  Actions& out);
  /// Tells both sides, except those named.
  void close_route(const wire::TunnelId& tunnel, wire::RouteCloseReason why,
                   std::initializer_list<const Client*> except, Actions& out);
  void close_routes_of(Client& client, wire::RouteCloseReason why, Actions& out);
  void update_gauges();

  RegistryLimits limits_;
  std::mutex order_;  // taken before mutex_
  mutable std::mutex mutex_;
  AddressPool pool_;
  RouteTable& routes_;
  Random& random_;
  bool draining_ = false;
  TimePoint now_{};                        // of the call in progress
  Duration rtt_{};                         // of the message's connection
  TimePoint started_ = kNever;             // first client
  std::map<std::string, Client> clients_;  // by identity URI; nodes are stable
  std::map<SessionRef, std::string> sessions_;
  std::map<wire::ServiceId, std::set<std::string>> offered_by_;
  std::unordered_map<wire::TunnelId, Route> open_;
  OwnAddresses own_;
  Signaling signaling_;
  RegistryCounters counters_;
};

}  // namespace ztna::intermediate
