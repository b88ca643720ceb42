// The Agent's door between TUN and tunnels: checks every packet, gives it to whom it belongs, counts its fate. Default
// is deny.
#pragma once

#include <vector>

#include "agent/error_sender.h"
#include "agent/live_flows.h"
#include "agent/packet_fate.h"
#include "agent/pinger.h"
#include "agent/ports.h"
#include "agent/reassembly.h"
#include "agent/service_table.h"
#include "agent/tcp_reentry.h"
#include "agent/tunnels.h"

namespace ztna::agent {

/// Where the gate puts UDP packets and echo requests: Tunnels::send.
class PacketCarrier {
 public:
  virtual ~PacketCarrier() = default;
  virtual std::optional<TunFate> carry(const wire::ServiceId& service, TunFate kind, Bytes packet) = 0;
  /// False: only flows that live go on (Tunnels::takes_new_flows).
  virtual bool takes_new_flows() const { return true; }
  /// Of a service that is down because its Connector is gone from the Intermediate: whether its tunnel lives all the
  /// same (Tunnels::serves).
  virtual bool serves(const wire::ServiceId&) const { return false; }
};

class PacketGate {
 public:
  /// All must outlive the gate.
  PacketGate(Addresses own, ServiceTable& services, TcpReentry& reentry, PacketCarrier& carrier, Pinger& pinger,
             ErrorSender& errors, TunPort& tun)
      : own_(own),
        services_(services),
        reentry_(reentry),
        carrier_(carrier),
        pinger_(pinger),
        errors_(errors),
        tun_(tun) {}

  /// A packet that the kernel routed into the TUN. TCP may be a super-packet; UDP must have been cut into single
  /// packets. Changed in place; UDP and ICMP are borrowed until flushed().
  void from_tun(const PacketOffload& offload, MutableBytes packet, TimePoint now);
  /// A packet of the Agent's own (a ping): goes where the user's go, and is not counted.
  void send_own(const wire::ServiceId& service, ByteVector packet);
  /// The end of a packet's waiting (Tunnels): counted now.
  void waiting_over(TunFate fate, Bytes packet, TimePoint now);

  /// A packet of `service` that came out of a tunnel.
  void from_tunnel(const wire::ServiceId& service, Bytes packet, TimePoint now);
  void from_tunnel_without_service() { tunnel_fates_.add(TunnelFate::unknown_handle); }

  void flushed() {
    joined_.clear();
    own_packets_.clear();
  }
  void expire(TimePoint now) { reassembly_.expire(now); }
  TimePoint deadline() const { return reassembly_.deadline(); }

  const CounterSet<TunFate>& tun_fates() const { return tun_fates_; }
  const CounterSet<TunnelFate>& tunnel_fates() const { return tunnel_fates_; }
  const Reassembly& reassembly() const { return reassembly_; }

 private:
  std::optional<TunFate> sort(const PacketOffload& offload, MutableBytes packet, TimePoint now);
  std::optional<TunFate> carry(const wire::ip::PacketView& view, const Service& service, TimePoint now);
  std::optional<TunFate> join(const wire::ip::PacketView& view, TimePoint now);
  TunnelFate admit(const wire::ServiceId& service, Bytes packet, TimePoint now);

  Addresses own_;
  ServiceTable& services_;
  TcpReentry& reentry_;
  PacketCarrier& carrier_;
  Pinger& pinger_;
  ErrorSender& errors_;
  TunPort& tun_;
  LiveFlows live_flows_;
  Reassembly reassembly_;
  std::vector<ByteVector> own_packets_, joined_;  // borrowed by the tunnel until flushed()
  CounterSet<TunFate> tun_fates_;
  CounterSet<TunnelFate> tunnel_fates_;
};

}  // namespace ztna::agent
