// The Agent as a whole, without a socket, thread or clock: packets of TUN and UDP socket, accepted connections and
// `now` go in; packets and the next deadline come out.
//
// The program calls the inputs of a batch, then flush() once, and on_deadline() at deadline().
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/direct_paths.h"
#include "agent/doctor.h"
#include "agent/packet_gate.h"
#include "agent/pinger.h"
#include "agent/ports.h"
#include "agent/registrar.h"
#include "agent/service_table.h"
#include "agent/snapshot.h"
#include "agent/tcp_reentry.h"
#include "agent/tunnels.h"
#include "base/metrics.h"
#include "base/random.h"
#include "quic/endpoint.h"
#include "tunnel/control_client.h"
#include "tunnel/hub.h"
#include "tunnel/ports.h"

namespace ztna::agent {

struct AgentOptions {
  std::vector<HostPort> servers;        // at least one, in order of preference
  std::vector<WantedService> services;  // empty: all that the certificate permits
  Addresses addresses;
  std::string software = "ztna-agent/" ZTNA_VERSION;
  wire::InstanceId instance;
  bool check_server_name = true;
  Duration offline_grace = Tunnels::kDefaultOfflineGrace;
  DirectOptions direct;
  std::array<std::uint8_t, 32> reset_secret{};
};

/// What the Agent uses of the machine. All must outlive it.
struct AgentPorts {
  tunnel::UdpPort& udp;
  TunPort& tun;
  tunnel::Resolver& resolver;
  Random& random;
  std::function<WallTime()> wall_time;
  tunnel::SideSockets* side = nullptr;  // null: no birthday search as the opener
};

struct AgentTls {
  std::shared_ptr<const quic::TlsContext> control;  // ALPN ztna-v1
  std::shared_ptr<const quic::TlsContext> tunnel;   // ALPN ztna-tunnel-v1
  ByteVector certificate;                           // our leaf in them, DER
  WallTime ends = WallTime::max();                  // when it does
};

class Agent final : public TcpReentryOwner, public TunnelsOwner, public ControlPort, public PacketCarrier {
 public:
  /// With several servers: how long one may take before the next is dialled beside it. A handshake with Retry and Hello
  /// takes four round trips.
  static constexpr Duration kServerPatience = 1500ms;
  static constexpr Duration kLongestServerPatience = 30s;  // with three or more, of which none answers
  /// How long the kernel may take to answer a SYN that re-enters.
  static constexpr Duration kExaminePatience = 1s;
  /// A timer so late means that the machine slept: its network may be another one, and NATs have forgotten it.
  static constexpr Duration kOversleep = 5s;

  /// Errors: as ServiceTable::configure.
  static Result<std::unique_ptr<Agent>> create(AgentOptions options, AgentPorts ports, AgentTls tls);
  ~Agent() override;

  void start(TimePoint now);
  /// The port of the re-entry listener of a family.
  void set_listener(Family family, std::uint16_t port) { reentry_.set_listener(family, port); }

  // -- inputs ------------------------------------------------------------------------------------------------------
  /// As tunnel::Hub::receive().
  void udp_received(const SocketAddress& from, Bytes row, std::size_t segment, TimePoint now,
                    tunnel::SocketId socket = tunnel::kMainSocket);
  /// As PacketGate::from_tun(): TCP as it came, everything else as single packets. Borrowed until flush() returns, TCP
  /// for the call.
  void tun_packet(const PacketOffload& offload, MutableBytes packet, TimePoint now);
  /// A connection at a re-entry listener. Null: it was a stranger's, or its user is gone; the socket was aborted. Else
  /// valid as long as the port lives, and to be called as the port's want() says.
  TcpEvents* accepted(const SocketAddress& peer, std::unique_ptr<tunnel::TcpPort> port, TimePoint now);
  /// The addresses of this machine, for direct paths.
  void set_hosts(std::vector<path::HostAddress> hosts, TimePoint now);
  /// Addresses or routes of this machine changed: after set_hosts().
  void network_changed(TimePoint now);
  /// What routers gave us for direct paths (NAT-PMP, UPnP); replaces what was given before.
  void set_mapped(std::vector<SocketAddress> mapped, TimePoint now);

  void flush(TimePoint now);
  TimePoint deadline() const;
  void on_deadline(TimePoint now);  // follow with flush()

  // -- control -----------------------------------------------------------------------------------------------------
  /// New connections begin with these. If the certificate is another one, tunnels get successors (Tunnels::set_tls).
  void set_tls(AgentTls tls, TimePoint now);
  void set_offline_grace(Duration grace) { tunnels_.set_offline_grace(grace); }
  /// The configuration of direct paths changed.
  void set_direct(DirectOptions options, TimePoint now);
  /// The configuration's services changed. Errors: as Registrar::want.
  Result<void> set_services(const std::vector<WantedService>& services, TimePoint now);
  /// No new TCP connections; those that are open go on. The program waits a while until active_connections() is 0, then
  /// calls stop().
  void drain() { draining_ = true; }
  std::size_t active_connections() const { return tunnels_.unfinished(); }
  /// Closes everything; flush() sends the closes.
  void stop(TimePoint now);

  struct Pong {
    bool ok = false;
    Duration rtt{};
    bool relayed = true;
    IpAddress address;
    std::string connector;
    std::string problem;
  };
  /// An echo through the tunnel to the service's address. `done` is called once, perhaps before this returns.
  void ping(const std::string& service, std::function<void(const Pong&)> done, TimePoint now);

  /// Tries what cannot be read off, for `doctor`. `done` is called once, by flush(), kExaminePatience later at most.
  void examine(std::function<void(const DoctorFacts&)> done, TimePoint now);

  /// As of `now`: an idle Agent has not looked at the clock since its last event.
  Snapshot snapshot(TimePoint now) const;
  /// Metrics that read this object: it must outlive them.
  void describe(Metrics& metrics) const;
  /// For other threads: 1 while there is a control connection.
  const Counter& connected() const { return connected_; }
  /// For other threads: 1 while the Intermediate has taken at least one registration.
  const Counter& registered() const { return registered_; }

 private:
  /// One Intermediate, as configured. With several there are two of them while we look for another.
  class Uplink;

  Agent(AgentOptions options, AgentPorts ports, AgentTls tls);
  void at(TimePoint now);
  std::unique_ptr<Uplink> dial(std::size_t server, TimePoint now);
  void dial_next();
  std::size_t next_server() const;
  void finish_examination();
  ServiceStatus status_of(const Service& service, TimePoint now) const;
  tunnel::ControlClient* control() const;
  const HostPort& server_in_use() const;

  // What Uplinks say.
  Result<void> verify_intermediate(Bytes leaf_der) const;
  void on_control_ready(Uplink& uplink);
  void on_control_lost(const Uplink& uplink);
  void on_control_silent(const Uplink& uplink);
  void on_control_heard(const Uplink& uplink);
  bool on_control_message(const Uplink& uplink, const wire::ControlMessage& message);
  void on_drain(const wire::Drain& drain);
  // ControlPort
  bool ready() const override { return control() != nullptr && control()->ready(); }
  bool send(const wire::ControlMessage& message) override {
    return control() != nullptr && control()->send(message).has_value();
  }
  void suspect() override;
  void be_seen() override;
  SocketAddress intermediate() const override;
  Duration rtt() const override;
  /// It is up, or only the Intermediate has lost its Connector.
  bool is_reachable(const Service& service) const;
  // TcpReentryOwner
  void on_flow_begun(FlowId flow, const wire::ServiceId& service, const SocketAddress& dialled) override;
  void on_flow_ended(FlowId flow) override { tunnels_.end_flow(flow); }
  // TunnelsOwner
  void on_packet(const wire::ServiceId& service, Bytes packet) override { gate_.from_tunnel(service, packet, now_); }
  void on_packet_without_service() override { gate_.from_tunnel_without_service(); }
  void on_flow_result(FlowId flow, std::optional<wire::StreamResult> result) override;
  void on_flow_unreachable(FlowId flow, bool denied) override;
  void on_waiting_over(TunFate fate, Bytes packet) override { gate_.waiting_over(fate, packet, now_); }
  // PacketCarrier
  std::optional<TunFate> carry(const wire::ServiceId& service, TunFate kind, Bytes packet) override {
    return tunnels_.send(service, kind, packet);
  }
  // PacketCarrier and TcpReentryOwner
  bool takes_new_flows() const override { return tunnels_.takes_new_flows(); }
  bool serves(const wire::ServiceId& service) const override { return tunnels_.serves(service); }

  AgentOptions options_;
  AgentPorts ports_;
  AgentTls tls_;
  TimePoint now_{};
  TimePoint due_ = kNever;  // deadline() after the last flush()
  std::unique_ptr<quic::Endpoint> endpoint_;
  tunnel::Hub hub_;
  CounterSet<tunnel::DatagramFate> datagram_fates_;
  TunnelContext context_;
  ServiceTable services_;
  ErrorSender errors_;
  Pinger pinger_;
  TcpReentry reentry_;
  DirectPaths direct_;
  Tunnels tunnels_;
  Registrar registrar_;
  PacketGate gate_;
  std::unique_ptr<Uplink> uplink_;                    // in use
  std::unique_ptr<Uplink> next_uplink_;               // dialled beside it: its Intermediate stops, is silent or away
  std::vector<std::unique_ptr<Uplink>> old_uplinks_;  // closed; destroyed outside of their callbacks
  TimePoint server_patience_ = kNever;                // when to dial the next one
  Duration patience_ = kServerPatience;
  bool leaving_ = false;  // the Intermediate in use has said that it is going to stop
  std::vector<std::function<void(const DoctorFacts&)>> examinations_;
  TimePoint examine_until_ = kNever;
  bool draining_ = false;
  bool stopped_ = false;
  bool ever_ready_ = false;
  Counter connected_, registered_, reconnections_, tcp_connected_, tcp_failed_, flows_open_, tunnels_open_;
};

}  // namespace ztna::agent
