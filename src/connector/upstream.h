// One Intermediate, as a Connector uses it: registers every service there, and hands routes on (docs/protocol.md 3).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/counters.h"
#include "base/random.h"
#include "base/time.h"
#include "connector/service.h"
#include "identity/identity.h"
#include "tunnel/backoff.h"
#include "tunnel/control_client.h"
#include "wire/control/message.h"

namespace ztna::connector {

class Upstream;
class UpstreamOwner {
 public:
  virtual ~UpstreamOwner() = default;
  virtual void on_route_opened(Upstream& upstream, const wire::RouteOpened& route,
                               const SocketAddress& intermediate) = 0;
  virtual void on_route_closed(Upstream& upstream, const wire::RouteClosed& route) = 0;
  virtual void on_revoked(const std::string& name) = 0;
  /// Its control connection came up, perhaps at another address than before.
  virtual void on_upstream_ready(Upstream& upstream) = 0;
  /// What its control connection knows has changed: it went down, or came up and was told our address.
  virtual void on_upstream_changed(Upstream& upstream) = 0;
  /// A message of signaling for direct paths. False: it makes no sense for a Connector.
  virtual bool on_signaling(Upstream& upstream, const wire::ControlMessage& message) = 0;
};

struct RegistrationCounts {
  Counter registered;  // RegistrationAck
  Counter refused;     // RegistrationNack
  Counter reconnections;
};

/// What all Intermediates share. All must outlive them.
struct UpstreamShared {
  quic::Endpoint& endpoint;
  tunnel::Resolver& resolver;
  Random& random;
  ServiceTable& services;
  RegistrationCounts& counts;
  CounterSet<identity::IdentityFault>& refused_intermediates;
  const TimePoint& now;  // of the input that is being handled
  const std::function<WallTime()>& wall_time;
  const bool& verify_peer;
};

class Upstream final : private tunnel::ControlClientOwner {
 public:
  /// An idle Connector must notice that an Intermediate restarted within 3 s.
  static constexpr Duration kKeepAlive = 2s;

  Upstream(const UpstreamShared& shared, UpstreamOwner& owner, std::size_t index, tunnel::ControlClientOptions options,
           std::shared_ptr<const quic::TlsContext> tls);

  std::size_t index() const { return index_; }
  const HostPort& server() const { return options_.server; }
  tunnel::ControlClient& control() { return *control_; }
  const tunnel::ControlClient& control() const { return *control_; }

  void start() { control_->start(shared_.now); }
  void stop(std::string_view why) { control_->stop(why); }
  TimePoint deadline() const;
  void on_deadline();

  /// The service was added or defined anew.
  void add(const wire::ServiceId& service);
  /// Services were taken out. The protocol has no message for it: a new connection of this identity that does not
  /// register them is one. The others stay registered meanwhile.
  void remove(const std::vector<wire::ServiceId>& services);
  void set_tls(std::shared_ptr<const quic::TlsContext> tls);

  /// Services that this Intermediate has acknowledged on the connection in use.
  std::size_t registered() const;
  /// Why a service is not registered; empty when it is, or was not answered yet.
  std::string refusal() const;

 private:
  enum class State : std::uint8_t { unsent, asked, registered, refused };
  struct Registration {
    explicit Registration(Random& random) : backoff(random) {}
    State state = State::unsent;
    std::string why;
    TimePoint again = kNever;
    tunnel::Backoff backoff;
  };

  // tunnel::ControlClientOwner
  Result<void> verify_intermediate(Bytes leaf_der) override;
  void on_control_ready() override;
  void on_control_lost(const quic::CloseReason& reason) override;
  bool on_control_message(const wire::ControlMessage& message) override;

  void ask(const wire::ServiceId& id);
  bool take(const wire::RegistrationAck& ack);
  bool take(const wire::RegistrationNack& nack);
  Registration* find(const std::string& service, const wire::ServiceId*& id);

  const UpstreamShared& shared_;
  UpstreamOwner& owner_;
  std::size_t index_;
  tunnel::ControlClientOptions options_;
  std::unique_ptr<tunnel::ControlClient> control_;
  std::map<wire::ServiceId, Registration> registrations_;
  bool ever_ready_ = false;
};

}  // namespace ztna::connector
