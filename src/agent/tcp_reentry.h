// Kernel re-entry (docs/architecture.md): TCP of the user's applications is terminated by the Agent's own kernel.
//
//   user .254:u -> service:80          out of the TUN; rewritten and written back as
//   .253:p      -> .254:L              L is the Agent's listening socket, p stands for the connection
//   .254:L      -> .253:p              the kernel's answer, out of the TUN; rewritten and written back as
//   service:80  -> .254:u
//
// The first SYN is held until the owner says what the backend answered. Here are packets and the flow table only;
// streams and sockets are the owner's.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include "agent/error_sender.h"
#include "agent/packet_fate.h"
#include "agent/ports.h"
#include "base/id.h"
#include "base/time.h"
#include "wire/ip/packet_view.h"
#include "wire/service_id.h"

namespace ztna::agent {

/// Names a flow for its whole life and never another one.
using FlowId = Id<struct FlowTag, std::uint64_t>;

class TcpReentryOwner {
 public:
  virtual ~TcpReentryOwner() = default;
  /// A SYN is held: ask for the backend, then call connected() or one of the refusals.
  virtual void on_flow_begun(FlowId flow, const wire::ServiceId& service, const SocketAddress& dialled) = 0;
  /// False: only flows that live go on.
  virtual bool takes_new_flows() const { return true; }
  /// The flow is gone (the user or the kernel gave up, or it grew old); whatever stands for it must be reset.
  virtual void on_flow_ended(FlowId flow) = 0;
};

class TcpReentry {
 public:
  static constexpr std::size_t kMaxFlows = 32'768;
  static constexpr std::size_t kMaxHeld = 8'192;
  static constexpr std::uint16_t kFirstPort = 1'024;
  static constexpr Duration kHeldTimeout = 130s;    // the kernel's SYN timer ends after 127 s
  static constexpr Duration kAcceptTimeout = 20s;   // from the handed-in SYN to accept()
  static constexpr Duration kClosingTimeout = 10s;  // after FIN in both directions, for what is retransmitted
  static constexpr Duration kResetTimeout = 1s;
  static constexpr Duration kIdleTimeout = 600s;  // keep-alive of the accepted socket shows itself every minute
  static constexpr Duration kSweep = 1s;

  /// `tun`, `errors` and `owner` must outlive it.
  TcpReentry(Addresses own, TunPort& tun, ErrorSender& errors, TcpReentryOwner& owner)
      : own_(own), tun_(tun), errors_(errors), owner_(owner) {}

  /// The port of the listening socket of a family. Before it, no flow of that family begins.
  void set_listener(Family family, std::uint16_t port) { listener(family) = port; }

  /// A segment from the TUN's own address to a service's. Changed in place.
  TunFate from_user(const wire::ip::PacketView& view, const PacketOffload& offload, MutableBytes packet,
                    const wire::ServiceId& service, TimePoint now);
  /// A segment to the re-entry address. Changed in place.
  TunFate from_listener(const wire::ip::PacketView& view, const PacketOffload& offload, MutableBytes packet,
                        TimePoint now);

  // What the owner learned of a held flow. Unknown ids (the flow ended meanwhile) are ignored; none calls
  // on_flow_ended.
  void connected(FlowId flow, TimePoint now);    // hands the SYN to the listening socket
  void refuse(FlowId flow);                      // RST to the user
  void unreachable(FlowId flow, TimePoint now);  // ICMP host unreachable
  void prohibited(FlowId flow, TimePoint now);   // ICMP administratively prohibited
  void forget(FlowId flow);                      // silence: the next SYN begins anew

  /// An accepted socket's peer: the flow it is of, or nothing: then it is a stranger's and must be aborted.
  std::optional<FlowId> accepted(const SocketAddress& peer, TimePoint now);

  /// Hands the listening socket a SYN of our own, which its answer ends: see listener_answered(). For `doctor`: a
  /// firewall of this machine may drop what re-enters.
  void check_listener(Family family);
  /// A SYN of `doctor` to this port of a service, which none can have, is answered by a SYN of our own, and what comes
  /// then by RST: a connection says that packets get to services' addresses and back, since a firewall that refuses
  /// them cannot make one.
  static constexpr std::uint16_t kCheckPort = 0;
  /// Whether the kernel answered the last check; nothing: the family has no listener, or was not checked.
  std::optional<bool> listener_answered(Family family) const;

  void expire(TimePoint now);
  /// The machine slept for so long: timers of connections stood still meanwhile, as the kernel's do.
  void slept(Duration duration);
  TimePoint deadline() const { return flows_.empty() ? kNever : next_sweep_; }

  std::size_t flows() const { return flows_.size(); }
  std::size_t held() const { return held_; }
  const Counter& foreign_accepts() const { return foreign_accepts_; }
  const Counter& begun() const { return begun_; }

 private:
  enum class State : std::uint8_t {
    held,      // SYN kept, waiting for the backend
    entering,  // SYN handed to the listening socket
    open,      // accepted
    closing,   // FIN both ways, or RST: only what is retransmitted
  };
  struct Key {
    SocketAddress user, service;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& k) const noexcept {
      return std::hash<SocketAddress>{}(k.user) * 31 + std::hash<SocketAddress>{}(k.service);
    }
  };
  struct Flow {
    FlowId id;
    Key key;
    std::uint16_t port = 0;  // at the re-entry address
    State state = State::held;
    bool fin_user = false;
    bool fin_listener = false;
    std::uint32_t isn = 0;
    TimePoint expires;
    ByteVector syn;  // while held
    PacketOffload offload;
  };
  struct ListenerCheck {
    std::uint16_t port = 0;  // at the re-entry address, below those of flows; 0: never checked
    bool answered = false;
  };
  using PortMap = std::unordered_map<std::uint16_t, Flow*>;

  std::optional<std::uint16_t>& listener(Family family) { return listeners_[family == Family::v4 ? 0 : 1]; }
  PortMap& ports(Family family) { return ports_[family == Family::v4 ? 0 : 1]; }
  TunFate begin(const wire::ip::PacketView& view, const wire::ip::TcpView& tcp, const PacketOffload& offload,
                const wire::ServiceId& service, TimePoint now);
  TunFate answer_check(const wire::ip::PacketView& view, const wire::ip::TcpView& tcp);
  std::optional<std::uint16_t> free_port(Family family);
  bool hand_in(const Flow& flow, const wire::ip::PacketView& view, const PacketOffload& offload, MutableBytes packet);
  void note(Flow& flow, const wire::ip::TcpView& tcp, bool from_user, TimePoint now);
  Flow* find(FlowId id);
  Flow* find_held(FlowId id);
  void drop(Flow& flow);  // no callback
  void end(Flow& flow);   // drop and tell the owner
  bool evict_closing();

  Addresses own_;
  TunPort& tun_;
  ErrorSender& errors_;
  TcpReentryOwner& owner_;
  std::array<std::optional<std::uint16_t>, 2> listeners_;
  std::array<ListenerCheck, 2> checks_;
  std::array<PortMap, 2> ports_;
  std::array<std::uint16_t, 2> next_port_{kFirstPort, kFirstPort};
  std::unordered_map<Key, std::unique_ptr<Flow>, KeyHash> flows_;
  std::unordered_map<FlowId, Flow*> ids_;
  std::uint64_t next_id_ = 1;
  std::size_t held_ = 0;
  TimePoint next_sweep_ = kNever;
  Counter foreign_accepts_, begun_;
};

}  // namespace ztna::agent
