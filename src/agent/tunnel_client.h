// The Agent's end of one tunnel to one Connector (docs/protocol.md 4): a QUIC connection, its control stream, datagrams
// and TCP streams. Which service is served by which tunnel, and over which route, is Tunnels' business.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/tcp_session.h"
#include "base/counters.h"
#include "identity/identity.h"
#include "path/path_doubt.h"
#include "quic/endpoint.h"
#include "tunnel/control_stream.h"
#include "tunnel/datagram_channel.h"
#include "tunnel/hub.h"
#include "tunnel/path_sample.h"
#include "wire/close_code.h"
#include "wire/control/codes.h"
#include "wire/control/route.h"
#include "wire/ids.h"
#include "wire/service_id.h"

namespace ztna::agent {

class TunnelClient;

class TunnelClientOwner {
 public:
  virtual ~TunnelClientOwner() = default;
  /// The Connector said Hello: services can be opened.
  virtual void on_tunnel_ready(TunnelClient& tunnel) = 0;
  virtual void on_service_opened(TunnelClient& tunnel, wire::ServiceHandle handle, wire::RegistrationStatus status) = 0;
  virtual void on_service_closed(TunnelClient& tunnel, wire::ServiceHandle handle, wire::ServiceCloseReason why) = 0;
  virtual void on_tunnel_packet(TunnelClient& tunnel, wire::ServiceHandle handle, Bytes packet) = 0;
  virtual void on_tcp_result(TunnelClient& tunnel, FlowId flow, std::optional<wire::StreamResult> result) = 0;
  /// The session is no longer there.
  virtual void on_tcp_over(TunnelClient& tunnel, FlowId flow) = 0;
  virtual void on_streams_available(TunnelClient& tunnel) = 0;
  /// go_direct() ended: the tunnel uses the direct path, or stays where it was.
  virtual void on_path_validated(TunnelClient& tunnel, bool ok) = 0;
  /// Over. `asking`: flows whose backend had not answered yet. Do not destroy the tunnel in this call.
  virtual void on_tunnel_closed(TunnelClient& tunnel, const quic::CloseReason& reason, std::vector<FlowId> asking) = 0;
};

/// What all tunnels share. References outlive the tunnels.
struct TunnelContext {
  quic::Endpoint& endpoint;
  tunnel::Hub& hub;
  const TimePoint& now;
  std::function<WallTime()> wall_time;
  CounterSet<tunnel::DatagramFate>& datagram_fates;
  std::string software;
  wire::InstanceId instance;
};

class TunnelClient final : public quic::ConnectionHandler, public TcpSession::Owner {
 public:
  static constexpr Duration kIdleTimeout = 15min;
  static constexpr Duration kHelloTimeout = 10s;
  static constexpr Duration kAskAfter = 1s;       // without a user's octet, on a tunnel that brought some: see ask()
  static constexpr Duration kMinSilence = 200ms;  // below: jitter and a busy machine
  /// After a fall back to the relay, when nothing came by it: the first packets may have gone to where the Connector
  /// was, or come from where the Intermediate does not expect us, until a NAT's rebinding is noticed. Sent again so
  /// late at the earliest, and so often at most.
  static constexpr Duration kMinRelaySilence = 150ms;
  static constexpr unsigned kRelayRenewals = 2;
  static constexpr Duration kOldRouteLife = 5s;  // how long a replaced route may still bring packets
  /// A connection id in use is changed after so long, at a moment when nothing was sent or came for
  /// kQuiet and nothing is in flight; when there is none, at the latest after kLatestRotation, at the price of a
  /// congestion reset.
  static constexpr Duration kRotateAfter = 5min;
  static constexpr Duration kLatestRotation = 10min;
  static constexpr Duration kQuiet = 2s;
  static constexpr Duration kRotateAgain = 10s;  // it was not possible
  static constexpr Duration kUnused = 5min;      // without a user's octet and a TCP connection for so long: see ping()

  /// `service`: the one that the route was asked for; the Connector's certificate must permit it.
  TunnelClient(TunnelContext& context, TunnelClientOwner& owner, const wire::TunnelId& id,
               const wire::RouteOpened& route, const wire::ServiceId& service);
  ~TunnelClient() override;

  /// Dials over the route. Error: as Endpoint::connect; the tunnel is then of no use.
  Result<void> dial(const tunnel::RelayLeg& leg, std::shared_ptr<const quic::TlsContext> tls, Duration rtt_hint);
  /// Another route for the same tunnel: packets go there from now on, unless they go directly. Errors: as
  /// Connection::migrate.
  Result<void> take_route(const tunnel::RelayLeg& leg);
  /// Begins to move to a direct path: TunnelClientOwner::on_path_validated comes. Errors: as Connection::migrate.
  Result<void> go_direct(const SocketAddress& remote);
  /// Back to the relay at once. Errors: not_found (no route is open), as Connection::migrate.
  Result<void> go_relay();
  /// Sends something that is acknowledged, unless nobody uses the tunnel: it shall end then, not be kept alive.
  void ping();
  /// Null once closed.
  quic::Connection* connection() const { return connection_; }
  /// A packet that must be acknowledged: silence() says what became of it.
  void probe();
  /// Another connection id on the same path, relay or direct: an immediate migration to a new name of it. It resets
  /// congestion control and, for a moment, the packet size. Errors: as Connection::migrate; the path stays as it was.
  Result<void> change_connection_id();
  void close(wire::CloseCode code, std::string_view why);

  const wire::TunnelId& id() const { return id_; }
  const std::string& peer_name() const { return peer_name_; }
  const wire::InstanceId& peer_instance() const { return peer_instance_; }
  const wire::ServiceId& first_service() const { return first_service_; }
  bool ready() const { return hello_seen_ && !closed_; }
  bool closed() const { return closed_; }
  /// Whether the Connector's certificate lets it offer the service; false before the handshake.
  bool permits(const wire::ServiceId& service) const { return identity_ && identity_->permits(service); }
  bool relayed() const;
  quic::ConnectionStats stats() const {
    return connection_ == nullptr ? quic::ConnectionStats{} : connection_->stats();
  }
  /// Smoothed, of the path that the tunnel is on; nothing before the first sample on it.
  std::optional<Duration> rtt() const;
  const std::string& connector() const { return connector_; }
  /// When the Connector's certificate ends; before the handshake: never.
  WallTime certificate_end() const { return identity_ ? identity_->not_after : WallTime::max(); }
  const std::optional<wire::RouteId>& route() const { return route_; }

  /// Asks the Connector for a service; ready() must be true. Returns its handle. Error: exhausted (65,535 were used),
  /// closed.
  Result<wire::ServiceHandle> open_service(const wire::ServiceId& service);
  void close_service(wire::ServiceHandle handle);
  tunnel::DatagramFate send_packet(wire::ServiceHandle handle, Bytes packet);
  /// Errors: exhausted (the Connector's stream limit; on_streams_available comes), closed.
  Result<TcpSession*> open_stream(FlowId flow, wire::ServiceHandle handle, const SocketAddress& dialled);
  std::size_t sessions() const { return sessions_.size(); }
  /// sessions(), and those whose last octets are still on their way to the Connector.
  std::size_t unfinished() const { return sessions_.size() + finishing_.size(); }

  /// Ends what is over and writes to sockets; once a batch, not from inside a callback.
  void flush();
  TimePoint deadline() const;
  void on_deadline();
  /// How long nothing has come although packets are in flight; zero when all is well. For Tunnels.
  Duration silence() const;
  /// True when the path has become doubtful (path/path_doubt.h): the Intermediate shall see where we are now.
  bool take_doubt();
  /// The Intermediate sees us elsewhere than before, and from now on relays what comes from there. What left before is
  /// lost: where it fills the congestion window of a relayed tunnel, nothing would leave until a retransmission timer
  /// does, which has backed off.
  void seen_elsewhere();

  // quic::ConnectionHandler
  Result<void> verify_peer(Bytes leaf_der) override;
  void on_established() override;
  void on_closed(const quic::CloseReason& reason) override;
  void on_stream_opened(quic::StreamId id) override;
  void on_stream_data(quic::StreamId id, Bytes octets, bool fin) override;
  void on_stream_drained(quic::StreamId id) override;
  void on_stream_reset(quic::StreamId id, std::uint64_t code) override;
  void on_stream_closed(quic::StreamId id) override;
  void on_stop_sending(quic::StreamId id, std::uint64_t code) override;
  void on_streams_available() override { owner_.on_streams_available(*this); }
  void on_datagram(Bytes payload) override;
  void on_path_validated(const quic::Path& path, bool ok) override;
  void on_path_changed(const quic::Path&) override { begin_rotation(); }

 private:
  bool take(const wire::TunnelMessage& message);
  TcpSession* session(quic::StreamId id);
  void watch();
  void look();
  void ask();
  /// A user's octets came.
  void note_heard() {
    note_use();
    if (ask_at_ == kNever) ask_at_ = context_.now + kAskAfter;
  }
  /// The connection id is new: counts from now.
  void begin_rotation();
  void moved_to_relay();
  Result<void> renew_relay();
  bool try_to_renew_relay();  // false: it is logged
  void begin_anew();
  void renew_silent_relay();
  TimePoint rotation_due() const;
  void rotate();
  /// A user's octets went or came. An id that nothing was linked to need not change, and an idle tunnel must end.
  void note_use() { used_ = true, last_used_ = context_.now; }

  // TcpSession::Owner
  void on_session_result(TcpSession& session, std::optional<wire::StreamResult> result) override;
  void on_session_touched(TcpSession& session) override;

  TunnelContext& context_;
  TunnelClientOwner& owner_;
  wire::TunnelId id_;
  std::string peer_name_;  // as the Intermediate says; untrusted
  wire::InstanceId peer_instance_;
  wire::ServiceId first_service_;
  std::string connector_;  // by its certificate
  std::optional<identity::Identity> identity_;

  quic::Connection* connection_ = nullptr;  // null before dial() and once closed
  std::optional<tunnel::TunnelControlStream> control_;
  std::optional<tunnel::DatagramChannel> datagrams_;
  std::optional<wire::RouteId> route_, old_route_;
  TimePoint old_route_ends_ = kNever;
  bool hello_seen_ = false;
  bool closed_ = false;
  bool validating_ = false;  // go_direct() is under way
  std::uint16_t last_handle_ = 0;
  std::unordered_map<quic::StreamId, std::unique_ptr<TcpSession>> sessions_;
  std::unordered_set<quic::StreamId> finishing_;  // of sessions that are over
  std::vector<TcpSession*> touched_;
  TimePoint hello_due_ = kNever;
  TimePoint next_expiry_ = kNever;  // of datagrams that were never joined
  TimePoint last_part_{};

  TimePoint look_at_ = kNever;  // liveness: when to see whether something has come
  TimePoint silent_since_ = kNever;
  std::uint64_t received_then_ = 0;
  TimePoint ask_at_ = kNever;  // liveness: when to see whether users' octets still come
  path::PathDoubt doubt_;
  TimePoint elsewhere_at_{};  // last seen_elsewhere()

  Duration relay_rtt_{};         // as it was when the tunnel left the relay; zero: never did
  TimePoint renew_at_ = kNever;  // after a fall back: has anything come?
  unsigned renewals_ = 0;
  std::uint64_t received_before_ = 0;  // packets, when the tunnel fell back

  bool used_ = false;  // since the connection id is in use
  TimePoint last_used_{};
  TimePoint rotate_from_ = kNever;
  TimePoint rotate_by_ = kNever;
};

}  // namespace ztna::agent
