// Direct paths of all tunnels: for each one a path::PathManager, which says when to punch, to move and to fall back;
// here is what carries it out: signaling through the Intermediate, hole punching (tunnel/punching.h), migration of the
// tunnel's connection.
//
//   tunnel is up -> CandidateOffer -> Intermediate -> Connector
//                <- CandidateAnswer, StartPunching; further Offers as candidates appear
//   probes both ways; the best address that answers -> migrate, validate first -> PunchingResult
//   the NATs let nothing through but a birthday search: the same messages, then tunnel/searching.h (direct_search.cc)
//   the path dies -> migrate to the relay at once, and all of it again after a while
//
// Sans-IO, driven by the Agent. Nothing here is needed for a tunnel to work over the relay.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/snapshot.h"
#include "agent/tunnel_client.h"
#include "agent/tunnels.h"
#include "base/metrics.h"
#include "path/path_manager.h"
#include "path/search_pause.h"
#include "tunnel/punching.h"

namespace ztna::agent {

struct DirectOptions {
  bool enabled = true;
  bool birthday = true;  // false: no birthday search
  tunnel::LocalOptions local;
};

class DirectPaths final : public TunnelPaths, private tunnel::PunchingOwner {
 public:
  /// All must outlive it.
  DirectPaths(TunnelContext& context, tunnel::UdpPort& udp, Random& random, ControlPort& control, DirectOptions options,
              tunnel::SideSockets* side = nullptr);
  ~DirectPaths() override;

  void set_options(DirectOptions options);
  /// For addresses of this host and mappings of its router: see tunnel::Punching. Call flush afterwards.
  tunnel::Punching& punching() { return punching_; }
  const tunnel::Punching& punching() const { return punching_; }

  // -- the Intermediate --------------------------------------------------------------------------------------------
  void control_ready();
  void control_lost();
  /// What the control connection knows; whenever it came up, went down, or was told an address or port. True: it sees
  /// us elsewhere than before.
  bool set_intermediate(const tunnel::IntermediateView& view);
  /// False: not a message of direct paths.
  bool take(const wire::ControlMessage& message);
  /// Addresses or routes of this machine are others than before: after punching().set_hosts().
  /// `how`: which of its inputs each manager gets.
  void network_changed(void (path::PathManager::*how)(TimePoint now) = &path::PathManager::network_changed);
  /// The machine slept.
  void slept();

  // -- TunnelPaths -------------------------------------------------------------------------------------------------
  void tunnel_ready(TunnelClient& tunnel) override;
  void tunnel_closed(const wire::TunnelId& tunnel) override;
  Result<void> take_route(TunnelClient& tunnel, const tunnel::RelayLeg& leg) override;
  void route_lost(const wire::TunnelId& tunnel) override;
  void validated(TunnelClient& tunnel, bool ok) override;

  // -- time --------------------------------------------------------------------------------------------------------
  /// After Endpoint::flush().
  void flushed();
  TimePoint deadline() const;
  void on_deadline();  // follow with flush

  // -- for people --------------------------------------------------------------------------------------------------
  PathStatus status(const TunnelClient& tunnel, TimePoint now) const;
  NatStatus nat() const;
  void describe(Metrics& metrics) const;

 private:
  /// What became of the last session that ended.
  struct Record {
    path::NatKind peer;
    std::size_t offered = 0;
    std::size_t answered = 0;  // candidates of the Connector
    std::vector<path::Check> checks;
  };
  struct Entry {
    Entry(TunnelClient& t, bool enabled) : tunnel(&t), manager(enabled) {}
    TunnelClient* tunnel;
    path::PathManager manager;
    std::optional<wire::SessionId> session;
    wire::PunchingMethod method = wire::PunchingMethod::candidates;  // of that session
    path::SearchPause pause;                                         // between birthday searches
    std::optional<tunnel::SearchEnd> searched;  // what became of the last one, or why there was none
    Record record;                              // of the session under way, else of the last one
    quic::ConnectionStats before;               // when it had come to the path it is on
    TimePoint loss_from = kNever;               // `before` is taken again then; kNever: it has been
    bool driving = false;                       // inside drive(): nested calls leave the work to it
    bool rerouting = false;                     // the migration under way ends a validation that is begun again
    bool gone = false;
  };
  using Entries = std::map<wire::TunnelId, Entry>;

  Entry* entry(const wire::TunnelId& tunnel);
  Entry* entry_of(const wire::SessionId& session);
  void drive(Entry& entry);
  void act(Entry& entry, const path::PathAction& action);
  void begin_session(Entry& entry);
  void end_session(Entry& entry);
  void offer(Entry& entry);
  void changed_path(Entry& entry, path::PathCause cause);
  void report_path(const Entry& entry);
  path::RelayReason reason_of(const Entry& entry) const;
  // direct_search.cc
  bool may_search(Entry& entry);
  bool begin_search(Entry& entry);
  void start_search(Entry& entry, const wire::StartPunching& start);
  void search_refused(Entry& entry, wire::SignalingErrorCode code);
  void search_over(Entry& entry, tunnel::SearchEnd end);
  void stop_search(Entry& entry);
  path::RelayReason reason_without_search(const Entry& entry, path::RelayReason reason) const;
  std::string search_text(const Entry& entry) const;
  void count();

  // tunnel::PunchingOwner
  void on_punched(const wire::SessionId& session, const wire::TunnelId& tunnel,
                  const path::PunchSession& punch) override;
  void on_not_punched(const wire::SessionId& session, const wire::TunnelId& tunnel,
                      const path::PunchSession& punch) override;
  void on_local_changed() override;
  void on_search_found(const wire::SessionId& session, const wire::TunnelId& tunnel,
                       const path::BirthdaySearch::Found& found) override;
  void on_search_failed(const wire::SessionId& session, const wire::TunnelId& tunnel, tunnel::SearchEnd why) override;

  TunnelContext& context_;
  ControlPort& control_;
  DirectOptions options_;
  tunnel::Punching punching_;
  Entries entries_;
  std::optional<SocketAddress> observed_v4_, observed_v6_;
  CounterSet<path::PathCause> changes_;
  std::array<Counter, static_cast<std::size_t>(path::RelayReason::count_)> relayed_;  // gauges, by reason
  Counter tunnels_relayed_, tunnels_direct_, direct_rtt_us_, relay_rtt_us_;
  Counter stray_messages_;
};

}  // namespace ztna::agent
