// The App Connector without its sockets: dials out to Intermediates, takes Agents' tunnels, forwards to backends.
//
//   Connector connector{options, ports};
//   connector.start(now);
//   per batch of inputs: connector.receive(...) and events of backends, then connector.flush(now);
//   at connector.deadline(): connector.on_deadline(now), then flush(now).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "connector/agent_tunnel.h"
#include "connector/direct_paths.h"
#include "connector/routes.h"
#include "connector/upstream.h"
#include "quic/endpoint.h"
#include "tunnel/hub.h"

namespace ztna::connector {

struct ConnectorOptions {
  std::vector<HostPort> servers;  // Intermediates; at least one
  std::vector<ServiceDefinition> services;
  std::string software = "ztna-connector";
  wire::InstanceId instance;  // random for each run
  Limits limits;
  bool verify_peer = true;  // false: --no-verify-peer
  DirectOptions direct;
  quic::EndpointOptions endpoint;
  std::shared_ptr<const quic::TlsContext> control_tls;  // client side, ALPN ztna-v1
  std::shared_ptr<const quic::TlsContext> tunnel_tls;   // server side, ALPN ztna-tunnel-v1
  WallTime tunnel_end = WallTime::max();                // when the certificate in it ends
  Duration offline_grace = 5min;
};

/// What the machine offers. All must outlive the Connector.
struct ConnectorPorts {
  tunnel::UdpPort& udp;
  BackendFactory& backends;
  tunnel::Resolver& resolver;
  Random& random;
  std::function<WallTime()> wall_time;
  tunnel::SideSockets* side = nullptr;  // null: no birthday search as the opener
};

class Connector final : private quic::Acceptor, private TunnelOwner, private UpstreamOwner, private DirectPathsOwner {
 public:
  static constexpr Duration kTick = 1s;
  /// What still flows at a drain may go on for this long; then the tunnels are closed (3 s in all).
  static constexpr Duration kDrain = 2500ms;
  /// Something has left or come: tunnels are looked at so much later, before the shortest silence makes one doubtful.
  static constexpr Duration kLookForDoubts = 50ms;
  static constexpr Duration kBetweenLooks = 10ms;  // all tunnels are looked at each time
  /// Above this many octets of packets for Agents the program should flush before it reads on.
  static constexpr std::size_t kFlushAbove = 2U << 20U;
  static constexpr std::size_t kMaxRoutesPerTunnel = 8;  // one for each Intermediate
  /// Octets that an Agent may send on one stream unasked: 320 Mbit/s for one stream at 100 ms. See also
  /// Limits::backlog_per_agent.
  static constexpr std::uint64_t kStreamWindow = 4U << 20U;

  Connector(ConnectorOptions options, ConnectorPorts ports);
  ~Connector() override;

  void start(TimePoint now);
  /// A row of UDP payloads from the socket, see tunnel::Hub::receive.
  void receive(const SocketAddress& from, Bytes row, std::size_t segment, TimePoint now,
               tunnel::SocketId socket = tunnel::kMainSocket);
  /// Tells the time to what happens next (events of backends, the resolver).
  void set_now(TimePoint now) { now_ = now; }
  /// After each batch of inputs.
  void flush(TimePoint now);
  bool wants_flush() const { return arena_.used() > kFlushAbove; }
  TimePoint deadline() const;
  void on_deadline(TimePoint now);
  /// Addresses or routes of this machine are others than before. `hosts`: its addresses now, if they can be told.
  void network_changed(TimePoint now, std::optional<std::vector<path::HostAddress>> hosts = std::nullopt);
  /// Addresses that a router gave us, each for the port of the UDP socket.
  void set_mapped(std::vector<SocketAddress> mapped, TimePoint now);

  struct Reload {
    std::vector<ServiceDefinition> services;
    std::shared_ptr<const quic::TlsContext> control_tls;
    std::shared_ptr<const quic::TlsContext> tunnel_tls;
    Limits limits;
    WallTime tunnel_end = WallTime::max();
    Duration offline_grace = 5min;
    DirectOptions direct;
  };
  /// Live tunnels stay; services that are gone or changed are closed in them. Certificates count from the next
  /// connection on.
  void reload(Reload next, TimePoint now);

  /// Takes nothing new; when what flows has ended, or after kDrain, closes all. Flush and on_deadline as before, until
  /// drained().
  void drain(TimePoint now);
  bool drained() const { return drained_; }

  struct State {
    bool ready = false;
    std::string text;
  };
  /// For /readyz and the service manager: ready when an Intermediate has registered all services.
  State state() const;
  std::size_t tunnels() const { return tunnels_.size(); }
  /// Call once; the Connector must outlive `metrics`. Names: docs/metrics.md.
  void declare_metrics(Metrics& metrics) const;

  const CounterSet<PacketFate>& fates() const { return fates_; }
  const CounterSet<StreamFate>& stream_fates() const { return stream_fates_; }
  const CounterSet<tunnel::DatagramFate>& datagram_fates() const { return datagram_fates_; }
  const CounterSet<identity::IdentityFault>& refused_agents() const { return refused_agents_; }
  const CounterSet<TunnelEnd>& tunnel_ends() const { return tunnel_counts_.ends; }
  const DirectPaths& direct_paths() const { return *direct_; }
  const tunnel::Hub& hub() const { return *hub_; }
  const quic::Endpoint& endpoint() const { return *endpoint_; }

 private:
  /// What the endpoint holds beside tunnels: control connections, and tunnels that have ended and still drain.
  static constexpr std::size_t kOtherConnections = 64;
  void set_limits(const Limits& limits);

  // quic::Acceptor
  Admit admit(const quic::Path& path, bool validated, TimePoint now) override;
  Result<Accepted> accept(quic::Connection& connection, const quic::Path& path, TimePoint now) override;
  // TunnelOwner
  void on_tunnel_verified(AgentTunnel& tunnel) override;
  void on_tunnel_path_changed(AgentTunnel& tunnel, const quic::Path& path) override;
  void on_tunnel_closed(AgentTunnel& tunnel) override;
  void on_tunnel_dirty(AgentTunnel& tunnel) override { dirty_.push_back(tunnel.id()); }
  // UpstreamOwner
  void on_route_opened(Upstream& upstream, const wire::RouteOpened& route, const SocketAddress& intermediate) override;
  void on_route_closed(Upstream& upstream, const wire::RouteClosed& route) override;
  void on_revoked(const std::string& name) override;
  void on_upstream_ready(Upstream& upstream) override;
  void on_upstream_changed(Upstream& upstream) override;
  bool on_signaling(Upstream& upstream, const wire::ControlMessage& message) override;
  // DirectPathsOwner
  quic::Connection* established_connection(const wire::TunnelId& tunnel) override;
  bool has_route(const wire::TunnelId& tunnel, std::size_t upstream) override;
  void send_to(std::size_t upstream, const wire::ControlMessage& message) override;
  void send_by_routes(const wire::TunnelId& tunnel, const wire::ControlMessage& message) override;

  void plan_looks();
  void look_for_doubts();
  AgentTunnel* find(const wire::TunnelId& id);
  template <typename Which>
  void close_tunnels(Which&& which, wire::CloseCode code, std::string_view why);
  void tick();
  void look_for_intermediates();
  void close_all();
  void close_routes();
  void end_drain();

  ConnectorOptions options_;
  ConnectorPorts ports_;
  TimePoint now_{};
  TimePoint begun_{};
  TimePoint next_tick_ = kNever;
  TimePoint look_for_doubts_at_ = kNever;
  std::uint64_t rows_then_ = 0;  // of the hub, when looks were last planned
  bool draining_ = false;
  bool drained_ = false;
  TimePoint drain_until_ = kNever;
  TimePoint last_online_{};  // an Intermediate was there

  CounterSet<PacketFate> fates_;
  CounterSet<StreamFate> stream_fates_;
  CounterSet<tunnel::DatagramFate> datagram_fates_;
  CounterSet<identity::IdentityFault> refused_agents_;
  CounterSet<identity::IdentityFault> refused_intermediates_;
  UdpCounts udp_counts_;
  TcpCounts tcp_counts_;
  TunnelCounts tunnel_counts_;
  RegistrationCounts registration_counts_;
  Counter routes_opened_;
  Counter uptime_seconds_;

  std::unique_ptr<quic::Endpoint> endpoint_;
  std::optional<tunnel::Hub> hub_;
  std::optional<Routes> routes_;
  std::optional<DirectPaths> direct_;
  PacketArena arena_;
  UdpBatch batch_;
  BackendNames names_;
  Quotas quotas_;
  ServiceTable services_;
  UpstreamShared upstream_shared_;
  TunnelShared tunnel_shared_;
  std::vector<std::unique_ptr<Upstream>> upstreams_;
  std::map<wire::TunnelId, std::unique_ptr<AgentTunnel>> tunnels_;
  std::vector<wire::TunnelId> dirty_;
  std::vector<wire::TunnelId> closing_;                // closed; their routes end once the close has left
  std::vector<std::unique_ptr<AgentTunnel>> retired_;  // closed, destroyed outside of callbacks
};

}  // namespace ztna::connector
