// One Agent's tunnel, from the Connector's side (docs/protocol.md 4): who it is, which services it has open, and where
// its packets and streams go. The Agent's own certificate decides, whatever the Intermediate said.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "base/counters.h"
#include "base/rate.h"
#include "base/time.h"
#include "connector/packet_fate.h"
#include "connector/service.h"
#include "connector/service_use.h"
#include "connector/tcp_sessions.h"
#include "connector/tunnel_end.h"
#include "connector/udp_flows.h"
#include "identity/identity.h"
#include "path/path_doubt.h"
#include "quic/connection.h"
#include "tunnel/control_stream.h"
#include "tunnel/datagram_channel.h"
#include "wire/close_code.h"
#include "wire/control/codes.h"
#include "wire/control/message.h"
#include "wire/ids.h"

namespace ztna::connector {

struct TunnelCounts {
  Counter established;
  Counter active;           // now
  Counter services_denied;  // OpenService answered with something else than ok
  CounterSet<TunnelEnd> ends;
};

class AgentTunnel;
class TunnelOwner {
 public:
  virtual ~TunnelOwner() = default;
  /// The Agent is known by its certificate. Called before the tunnel counts against the Agent's quota, so that those it
  /// replaces can be closed.
  virtual void on_tunnel_verified(AgentTunnel& tunnel) = 0;
  /// The Agent's packets come on another path now.
  virtual void on_tunnel_path_changed(AgentTunnel& tunnel, const quic::Path& path) = 0;
  /// Over; the owner destroys it later, not from inside this.
  virtual void on_tunnel_closed(AgentTunnel& tunnel) = 0;
  /// Has octets for backends: call flush() after this batch of inputs.
  virtual void on_tunnel_dirty(AgentTunnel& tunnel) = 0;
};

/// What all tunnels share. All must outlive them.
struct TunnelShared {
  UdpShared udp;
  TcpShared tcp;
  ServiceTable& services;
  Quotas& quotas;
  CounterSet<PacketFate>& fates;
  CounterSet<tunnel::DatagramFate>& datagram_fates;
  CounterSet<identity::IdentityFault>& refused_agents;
  TunnelCounts& counts;
  const TimePoint& now;  // of the input that is being handled
  const std::function<WallTime()>& wall_time;
  const std::string& software;
  wire::InstanceId instance;
  const bool& draining;
};

class AgentTunnel final : public quic::ConnectionHandler, private PacketOutput, private ServiceLookup {
 public:
  static constexpr std::size_t kMaxServices = 1024;  // open at once
  /// OpenService and CloseService: an Agent may open all at once, close them, and go on at this rate.
  static constexpr std::uint32_t kRequestsPerSecond = 50;
  static constexpr std::uint32_t kRequestBurst = 2 * kMaxServices;
  static constexpr Duration kHelloTimeout = 10s;
  /// A tunnel whose certificate ended lives on at most this long.
  static constexpr std::chrono::seconds kAfterExpiry{3600};

  /// `own_end`: when our certificate in it ends.
  AgentTunnel(const TunnelShared& shared, TunnelOwner& owner, const wire::TunnelId& id, wire::InstanceId instance,
              WallTime own_end, quic::Connection& connection);
  ~AgentTunnel() override;

  const wire::TunnelId& id() const { return id_; }
  /// The Agent's name; empty before its certificate was seen. Not unique where there are several trust domains.
  const std::string& agent() const { return identity_.name; }
  /// The same with its trust domain: what the tunnel's certificate says, whoever relayed it.
  const std::string& agent_uri() const { return agent_uri_; }
  wire::InstanceId agent_instance() const { return agent_instance_; }
  bool established() const { return established_; }
  /// Stays true when it is closed.
  bool was_established() const { return was_established_; }
  bool closed() const { return connection_ == nullptr; }
  /// TCP connections whose octets still flow.
  std::size_t tcp_active() const { return tcp_ ? tcp_->active() : 0; }
  quic::Connection* connection() { return connection_; }
  /// When its path becomes doubtful if nothing else happens (path/path_doubt.h); kNever: nothing waits.
  TimePoint doubtful_from() const;
  /// True when it just has.
  bool take_doubt();

  void close(wire::CloseCode code, std::string_view why);
  /// Hands what streams brought to the backends.
  void flush();
  /// Call about once a second.
  void tick();
  /// A reload took the service out, or changed it: the Agent is told, its flows and connections end.
  void withdraw(const Service& service);

  // quic::ConnectionHandler
  Result<void> verify_peer(Bytes leaf_der) override;
  void on_established() override;
  void on_closed(const quic::CloseReason& reason) override;
  void on_stream_opened(quic::StreamId id) override;
  void on_stream_data(quic::StreamId id, Bytes octets, bool fin) override;
  void on_stream_drained(quic::StreamId id) override;
  void on_stream_reset(quic::StreamId id, std::uint64_t code) override;
  void on_stop_sending(quic::StreamId id, std::uint64_t code) override;
  void on_stream_closed(quic::StreamId id) override;
  void on_datagram(Bytes payload) override;
  void on_path_changed(const quic::Path& path) override;

 private:
  struct Opened {
    Service* service = nullptr;
    std::string name;  // the service's id; stays when the service goes
    TimePoint since{};
    ServiceUse use;
    bool was_relayed = false, was_direct = false;  // since it was opened
  };
  void note_path(Opened& opened) const { (relayed_ ? opened.was_relayed : opened.was_direct) = true; }

  bool send_packet(wire::ServiceHandle handle, Bytes packet) override;
  ServiceLookup::Found find_service(wire::ServiceHandle handle) override;

  bool take(const wire::TunnelMessage& message);
  bool take_hello(const wire::Hello& hello);
  void open_service(const wire::OpenService& request);
  void close_service(wire::ServiceHandle handle, std::string_view why);
  wire::RegistrationStatus open_status(const wire::OpenService& request, Service*& service) const;
  /// Empty: the packet was handed on, and is counted there.
  std::optional<PacketFate> take_packet(wire::ServiceHandle handle, Opened& opened, Bytes octets);
  std::optional<PacketFate> take_echo(wire::ServiceHandle handle, Opened& opened, const wire::ip::PacketView& packet);
  bool is_agents_source(const IpAddress& source);
  void log_access(const Opened& opened, std::string_view verdict, std::string_view why) const;
  std::string_view path_kind() const;

  const TunnelShared& shared_;
  TunnelOwner& owner_;
  wire::TunnelId id_;
  wire::InstanceId agent_instance_;
  WallTime own_end_;
  quic::Connection* connection_;  // null once closed
  identity::Identity identity_;
  std::string agent_uri_;
  AgentUsage* usage_ = nullptr;
  TimePoint begun_;
  bool established_ = false;
  Rate requests_{kRequestsPerSecond, kRequestBurst};
  bool was_established_ = false;
  bool identity_refused_ = false;
  bool hello_seen_ = false;
  bool relayed_ = true;
  bool dirty_ = false;
  path::PathDoubt doubt_;
  std::optional<tunnel::TunnelControlStream> control_;
  std::optional<tunnel::DatagramChannel> channel_;
  std::optional<UdpFlows> udp_;
  std::optional<TcpSessions> tcp_;
  std::map<wire::ServiceHandle, Opened> services_;
  std::unordered_set<wire::ServiceHandle> used_handles_;
  std::optional<IpAddress> source_v4_, source_v6_;
};

}  // namespace ztna::connector
