// Direct paths from the Connector's side: answers the Agents' offers, punches, and tells when a direct path has gone
// deaf. The Agent drives: it begins sessions, and it alone can migrate the tunnel (docs/protocol.md 3, 5).
//
//   CandidateOffer -> begin, CandidateAnswer; further ones, both ways, as candidates appear
//   CandidateOffer of a birthday search -> CandidateAnswer, if it is allowed and of use; StartPunching -> the search
//   StartPunching  -> probes; the first answer or its absence -> PunchingResult
//   the tunnel is on a direct path that is deaf (path/path_health.h) -> PathReport
//
// A session belongs to the Intermediate that brought its first offer, and to a tunnel that has a route there.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/counters.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/time.h"
#include "path/path_health.h"
#include "path/search_pause.h"
#include "tunnel/punching.h"
#include "wire/control/message.h"

namespace ztna::connector {

struct DirectOptions {
  bool enabled = true;
  bool birthday = true;  // false: no birthday search
  tunnel::LocalOptions local;
};

/// What becomes of an Agent's CandidateOffer.
enum class OfferOutcome : std::uint8_t {
  answered,           // began a session
  continued,          // further candidates of one
  disabled,           // by the configuration
  no_tunnel,          // no such tunnel is established
  not_yours,          // the tunnel has no route at this Intermediate, or the session is another's
  limit,              // too many sessions
  searching,          // began a birthday search
  birthday_disabled,  // by the configuration
  birthday_paused,    // the tunnel's last search is not long enough ago
  birthday_no_use,    // the two NATs allow a plain session, or nothing
  failed,             // no key to be had
  count_
};
std::string_view to_string(OfferOutcome outcome);

/// What is wrong with a direct path that an Agent is told of: path::PathHealth without `alive`.
enum class PathTrouble : std::uint8_t { silent, unacknowledged, large_lost, count_ };
std::string_view to_string(PathTrouble trouble);

class DirectPathsOwner {
 public:
  virtual ~DirectPathsOwner() = default;
  /// The tunnel's connection, if it is established. Null: no such tunnel.
  virtual quic::Connection* established_connection(const wire::TunnelId& tunnel) = 0;
  /// Whether Intermediate `upstream` has opened a route for the tunnel's own Agent.
  virtual bool has_route(const wire::TunnelId& tunnel, std::size_t upstream) = 0;
  /// Nothing happens when its control connection is down.
  virtual void send_to(std::size_t upstream, const wire::ControlMessage& message) = 0;
  /// To every Intermediate that has a route for the tunnel.
  virtual void send_by_routes(const wire::TunnelId& tunnel, const wire::ControlMessage& message) = 0;
};

class DirectPaths final : private tunnel::PunchingOwner {
 public:
  static constexpr Duration kLook = 50ms;          // while packets flow, direct paths are looked at so often
  static constexpr Duration kReportAgain = 500ms;  // while a path stays deaf and the Agent stays on it

  /// All must outlive it. `now`: of the input that is being handled.
  DirectPaths(DirectOptions options, tunnel::UdpPort& udp, Random& random, const TimePoint& now,
              DirectPathsOwner& owner, tunnel::SideSockets* side = nullptr);

  void set_options(DirectOptions options);
  void network_changed();
  bool enabled() const { return enabled_; }
  /// For addresses of this host, mappings of its router, Intermediates.
  tunnel::Punching& punching() { return punching_; }
  const tunnel::Punching& punching() const { return punching_; }

  /// A message of signaling from Intermediate `upstream`. False: not one, or not one for a Connector.
  bool take(std::size_t upstream, const wire::ControlMessage& message);

  /// The tunnel's packets go this way now. `remote`: of the Agent, if direct.
  void path_changed(const wire::TunnelId& tunnel, bool direct, const SocketAddress& remote);
  void tunnel_closed(const wire::TunnelId& tunnel);

  /// After each batch in which packets left or came.
  void flushed();
  TimePoint deadline() const { return std::min(punching_.deadline(), look_at_); }
  void on_deadline();
  /// About once a second.
  void tick();

  const CounterSet<OfferOutcome>& offers() const { return offers_; }
  const CounterSet<PathTrouble>& reports() const { return reports_; }
  std::size_t direct_tunnels() const { return direct_.size(); }
  void declare_metrics(Metrics& metrics) const;

 private:
  struct Known {
    std::size_t upstream = 0;
    wire::TunnelId tunnel;
    path::NatKind told;  // of us, in the last answer
    bool result_sent = false;
    std::optional<path::BirthdaySide> side;  // of a birthday search
  };
  struct Direct {
    bool deaf = false;  // as told to the Agent
    TimePoint reported{};
  };

  OfferOutcome take_offer(std::size_t upstream, const wire::CandidateOffer& offer);
  // direct_search.cc
  OfferOutcome take_search(std::size_t upstream, const wire::CandidateOffer& offer);
  void start_search(Known& known, const wire::StartPunching& start);
  void answer(const wire::SessionId& session, Known& known, bool first);
  void send_result(const wire::SessionId& session, wire::PunchingOutcome outcome, const SocketAddress& reached);
  void look();
  Known* known(const wire::SessionId& session, std::size_t upstream);

  // tunnel::PunchingOwner
  void on_punched(const wire::SessionId& session, const wire::TunnelId& tunnel,
                  const path::PunchSession& punch) override;
  void on_not_punched(const wire::SessionId& session, const wire::TunnelId& tunnel,
                      const path::PunchSession& punch) override;
  void on_local_changed() override;
  void on_search_found(const wire::SessionId& session, const wire::TunnelId& tunnel,
                       const path::BirthdaySearch::Found& found) override;
  void on_search_failed(const wire::SessionId& session, const wire::TunnelId& tunnel, tunnel::SearchEnd why) override;

  bool enabled_;
  bool birthday_;
  const TimePoint& now_;
  DirectPathsOwner& owner_;
  tunnel::Punching punching_;
  std::map<wire::SessionId, Known> known_;
  std::map<wire::TunnelId, Direct> direct_;
  std::map<wire::TunnelId, path::SearchPause> pauses_;
  TimePoint look_at_ = kNever;
  CounterSet<OfferOutcome> offers_;
  CounterSet<PathTrouble> reports_;
  Counter direct_now_, moved_to_direct_, moved_to_relay_, stray_messages_;
};

}  // namespace ztna::connector
