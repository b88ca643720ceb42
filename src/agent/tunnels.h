// Which service goes through which tunnel: asks the Intermediate for routes, shares one tunnel among the services of a
// Connector, gets new routes after a lost control connection, and keeps what waits meanwhile.
//
// tunnels.cc: what users send, and time; tunnels_routes.cc: the Intermediate's words; tunnels_events.cc: the tunnels'
// words; tunnels_renewal.cc: one tunnel in place of another.
//
// A service is served by a Link:
//
//   idle --(something waits)--> routing --RouteOpened--> opening --ServiceOpened--> open
//    ^                             |                        |                        |
//    +---- pause, then again ------+--- RouteClosed --------+--- tunnel closed ------+
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/tunnel_client.h"
#include "agent/waiting.h"
#include "base/random.h"
#include "wire/control/message.h"

namespace ztna::agent {

/// The control connection, as Tunnels needs it.
class ControlPort {
 public:
  virtual ~ControlPort() = default;
  virtual bool ready() const = 0;
  virtual bool send(const wire::ControlMessage& message) = 0;
  virtual void suspect() = 0;
  /// Sends something, so that the Intermediate sees our address as it is now.
  virtual void be_seen() = 0;
  /// Where routed datagrams go, and come from. Only while ready().
  virtual SocketAddress intermediate() const = 0;
  virtual Duration rtt() const = 0;
};

class TunnelsOwner {
 public:
  virtual ~TunnelsOwner() = default;
  /// A packet of this service came out of a tunnel.
  virtual void on_packet(const wire::ServiceId& service, Bytes packet) = 0;
  virtual void on_packet_without_service() = 0;
  /// The Connector's answer to a flow; nothing: the stream failed without one.
  virtual void on_flow_result(FlowId flow, std::optional<wire::StreamResult> result) = 0;
  /// There is no tunnel for the flow. `denied`: because somebody said no.
  virtual void on_flow_unreachable(FlowId flow, bool denied) = 0;
  /// A packet that waited: its fate now. With queue_timeout or refused the user has not been told.
  virtual void on_waiting_over(TunFate fate, Bytes packet) = 0;
};

/// Who moves tunnels between relay and direct paths.
class TunnelPaths {
 public:
  virtual ~TunnelPaths() = default;
  virtual void tunnel_ready(TunnelClient& tunnel) = 0;
  virtual void tunnel_closed(const wire::TunnelId& tunnel) = 0;
  /// The tunnel has this route now. Errors: as TunnelClient::take_route, which it calls.
  virtual Result<void> take_route(TunnelClient& tunnel, const tunnel::RelayLeg& leg) = 0;
  virtual void route_lost(const wire::TunnelId& tunnel) = 0;
  virtual void validated(TunnelClient& tunnel, bool ok) = 0;
};

enum class TunnelEvent : std::uint8_t {
  opened,          // tunnels that came up
  failed,          // that never did
  closed,          // that were up
  rerouted,        // got another route
  renewed,         // another took over, because a certificate was renewed
  route_refused,   // RouteClosed in answer to a RouteRequest
  peer_restarted,  // the Connector had lost its state
  service_refused,
  count_
};
std::string_view to_string(TunnelEvent event);

/// What tunnels are dialled with.
struct TunnelTls {
  std::shared_ptr<const quic::TlsContext> context;
  ByteVector certificate;           // our own leaf, DER
  WallTime ends = WallTime::max();  // when it does
};

class Tunnels final : public TunnelClientOwner {
 public:
  static constexpr Duration kFirstPause = 200ms;
  static constexpr Duration kLongestPause = 2s;
  static constexpr Duration kRouteTimeout = 3s;    // no answer to a RouteRequest
  static constexpr Duration kRerouteSilence = 3s;  // a tunnel deaf for so long gets another route
  static constexpr Duration kDeafAfter = 1s;  // a tunnel deaf for so long does not serve what is down: see serves()
  static constexpr Duration kSuspectEvery = 1s;
  static constexpr Duration kDefaultOfflineGrace = 5min;

  // Renewal. Certificates are looked at every kCertificateLook; a tunnel whose Connector's ends within kBeforeExpiry is
  // replaced if the Connector has a newer one; a tunnel is closed kAfterExpiry after the earlier end.
  static constexpr Duration kCertificateLook = 30s;
  static constexpr std::chrono::seconds kBeforeExpiry{300};
  static constexpr std::chrono::seconds kAfterExpiry{3600};
  static constexpr Duration kFirstReplacePause = 5s;
  static constexpr Duration kLongestReplacePause = 5min;
  static constexpr Duration kLinger = 5s;  // a replaced tunnel still brings answers that were under way

  enum class LinkState : std::uint8_t { idle, routing, opening, open };
  struct LinkInfo {
    wire::ServiceId service;
    LinkState state = LinkState::idle;
    const TunnelClient* tunnel = nullptr;
    std::size_t waiting_packets = 0;
    std::size_t waiting_flows = 0;
    std::string last_error;
  };

  /// All must outlive it.
  Tunnels(TunnelContext& context, Random& random, ControlPort& control, TunnelsOwner& owner)
      : context_(context), random_(random), control_(control), owner_(owner) {}
  ~Tunnels() override;

  /// Null: all stay on the relay. Must outlive it, or be taken back.
  void set_paths(TunnelPaths* paths) { paths_ = paths; }
  /// Tunnels begin with these. If the certificate is another one, each tunnel that there is gets a successor for what
  /// is new.
  void set_tls(TunnelTls tls);
  void set_offline_grace(Duration grace) { offline_grace_ = grace; }
  /// False: revocation has been out of reach for too long; what lives goes on, nothing new may begin.
  bool takes_new_flows() const { return offline_since_ == kNever || context_.now - offline_since_ < offline_grace_; }

  /// One whole packet to a service, borrowed until the next Endpoint::flush(). `kind` is its fate when it is sent.
  /// Nothing: it waits, on_waiting_over() comes.
  std::optional<TunFate> send(const wire::ServiceId& service, TunFate kind, Bytes packet);
  void begin_flow(FlowId flow, const wire::ServiceId& service, const SocketAddress& dialled);
  /// The user is gone.
  void end_flow(FlowId flow);
  /// Gives a flow its accepted socket; null: the flow has no stream any more, the socket was aborted.
  TcpEvents* attach(FlowId flow, std::unique_ptr<tunnel::TcpPort> port);

  void control_ready();
  void control_lost();
  void on_route_opened(const wire::RouteOpened& message);
  void on_route_closed(const wire::RouteClosed& message);
  /// The Intermediate sees us elsewhere than before: see TunnelClient.
  void seen_elsewhere();
  /// The service is there (again): what waits or looks for a route tries at once.
  void service_up(const wire::ServiceId& service);
  /// The Intermediate has lost the service's Connector, which may live all the same: see serves(). Otherwise as
  /// service_down().
  void connector_gone(const wire::ServiceId& service);
  /// What waits for it is told at once; connections that are open go on.
  void service_down(const wire::ServiceId& service, bool denied);
  /// It is no longer known.
  void remove(const wire::ServiceId& service);
  void connector_revoked(const std::string& name);

  /// Once a batch, before Endpoint::flush().
  void flush();
  /// After Endpoint::flush(): nothing is borrowed any more.
  /// True: what it has said to the Intermediate wants another flush.
  bool flushed();
  TimePoint deadline() const;
  void on_deadline();
  void close_all(wire::CloseCode code, std::string_view why);

  std::size_t size() const { return tunnels_.size(); }
  std::size_t sessions() const;
  std::size_t unfinished() const;  // TunnelClient::unfinished
  std::vector<const TunnelClient*> tunnels() const;
  /// Whether packets of the service are being answered: its Connector may have lost nothing but the Intermediate.
  bool serves(const wire::ServiceId& service) const;
  std::optional<LinkInfo> link(const wire::ServiceId& service) const;
  const CounterSet<TunnelEvent>& events() const { return events_; }

 private:
  struct Link {
    Link(const wire::ServiceId& s, WaitingBudget& budget) : service(s), waiting(budget) {}
    wire::ServiceId service;
    LinkState state = LinkState::idle;
    std::optional<wire::TunnelId> asked;  // routing
    TimePoint asked_until = kNever;
    TimePoint suspect_at = kNever;              // no answer by then: is the Intermediate still there?
    TunnelClient* tunnel = nullptr;             // opening, open
    std::optional<wire::ServiceHandle> handle;  // sent in OpenService
    struct Next {
      TunnelClient* tunnel;
      wire::ServiceHandle handle;
    };
    std::optional<Next> next;  // the successor of `tunnel` was asked for the service
    Duration pause = kFirstPause;
    TimePoint next_try{};
    Waiting waiting;
    std::string last_error;
    bool connector_gone = false;  // says the Intermediate; see serves()
  };
  struct Held {
    std::unique_ptr<TunnelClient> client;
    bool was_ready = false;
    TimePoint asked_until = kNever;  // RouteRequest for the same tunnel is under way
    TimePoint next_route = kNever;   // when to ask for another route
    Duration pause = kFirstPause;
    /// Packets that had been received when it got another route for its silence. Each route costs a connection id, and
    /// a peer that does not hear gives no new ones: no further route until something has come.
    std::optional<std::uint64_t> received_at_reroute;

    // Renewal (tunnels_renewal.cc).
    WallTime own_end = WallTime::max();  // of our own certificate, as the tunnel has it
    bool own_renewed = false;            // we have another one now
    TimePoint replace_at = kNever;       // when to ask for a successor's route
    Duration replace_pause = kFirstReplacePause;
    std::optional<wire::TunnelId> successor;                  // asked for, coming up, or taking over
    TimePoint successor_until = kNever;                       // its RouteRequest is under way
    std::optional<TimePoint> retired;                         // since when nothing new goes here
    std::map<wire::ServiceHandle, wire::ServiceId> services;  // that the successor has now
  };
  struct Stream {
    TunnelClient* tunnel = nullptr;
    TcpSession* session = nullptr;
    wire::ServiceId service;
    SocketAddress dialled;
  };
  using HeldMap = std::map<wire::TunnelId, Held>;

  Link& link_of(const wire::ServiceId& service);
  void want(Link& link);
  void ask(Link& link);
  void failed(Link& link, std::string_view why, bool denied, bool at_once);
  void join(Link& link, TunnelClient& tunnel);
  TunnelClient* tunnel_to(const wire::RouteOpened& route);
  void start(Link& link, const wire::RouteOpened& message);
  Result<TunnelClient*> dial(const wire::RouteOpened& message, const wire::ServiceId& service);
  void reroute(Held& held);
  void route_again(Held& held, const wire::RouteOpened& message);
  void open_waiting(Link& link);
  void refuse_what_asks(const wire::ServiceId& service);
  void open_stream(Link& link, const WaitingFlow& flow);
  void close_route(const wire::TunnelId& tunnel, wire::RouteCloseReason why);
  Link* link_by(const TunnelClient& tunnel, wire::ServiceHandle handle);
  Held* held_by(const wire::TunnelId& id);
  const Link* link_on(const TunnelClient& tunnel) const;

  // tunnels_renewal.cc
  void look_at_certificates();
  TimePoint renewal_deadline(const Held& held) const;
  void renewal_due(Held& held);
  void start_successor(Held& old, const wire::RouteOpened& message);
  void successor_failed(Held& old);
  void take_over(Held& old, TunnelClient& successor);
  void hand_over(Link& link, wire::RegistrationStatus status);
  void retire_if_unused(Held& held);
  Held* predecessor_of(const wire::TunnelId& successor);
  Link* link_moving_to(const TunnelClient& tunnel, wire::ServiceHandle handle);

  // TunnelClientOwner
  void on_tunnel_ready(TunnelClient& tunnel) override;
  void on_service_opened(TunnelClient& tunnel, wire::ServiceHandle handle, wire::RegistrationStatus status) override;
  void on_service_closed(TunnelClient& tunnel, wire::ServiceHandle handle, wire::ServiceCloseReason why) override;
  void on_tunnel_packet(TunnelClient& tunnel, wire::ServiceHandle handle, Bytes packet) override;
  void on_tcp_result(TunnelClient& tunnel, FlowId flow, std::optional<wire::StreamResult> result) override;
  void on_tcp_over(TunnelClient& tunnel, FlowId flow) override;
  void on_streams_available(TunnelClient& tunnel) override;
  void on_path_validated(TunnelClient& tunnel, bool ok) override;
  void on_tunnel_closed(TunnelClient& tunnel, const quic::CloseReason& reason, std::vector<FlowId> asking) override;

  TunnelContext& context_;
  Random& random_;
  ControlPort& control_;
  TunnelsOwner& owner_;
  TunnelPaths* paths_ = nullptr;
  TunnelTls tls_;
  Duration offline_grace_ = kDefaultOfflineGrace;
  TimePoint offline_since_ = kNever;  // no Intermediate since
  TimePoint next_certificate_look_ = kNever;
  WaitingBudget waiting_budget_;
  std::map<wire::ServiceId, Link> links_;
  Link* last_used_ = nullptr;  // packets come in rows for one service
  Link* last_heard_ = nullptr;
  HeldMap tunnels_;
  std::vector<wire::TunnelId> closing_;                   // whose route is to be closed
  std::vector<std::unique_ptr<TunnelClient>> graveyard_;  // closed; destroyed outside of their callbacks
  std::unordered_map<FlowId, Stream> streams_;
  std::vector<ByteVector> sent_;  // packets that waited, borrowed by the connection until flushed()
  TimePoint next_suspicion_{};
  CounterSet<TunnelEvent> events_;
};

}  // namespace ztna::agent
