// All hole punching of one program: sessions with their keys, probes in and out, NAT discovery, own candidates. Used by
// Agent and Connector; signaling messages are theirs.
//
//   Agent                                              Connector
//   begin(new_session(), tunnel, connection)           <- CandidateOffer: begin(session, tunnel, connection),
//   add_remote send CandidateOffer with take_untold()             send CandidateAnswer with take_untold()
//   <- CandidateAnswer: add_remote                     <- StartPunching: start
//   <- StartPunching: start                            on_punched, on_not_punched: send PunchingResult
//   on_punched: migrate; PunchingResult                on_local_changed: for each live session send what is untold
//   on_local_changed: as the Connector
//
// Sans-IO: probes leave through the UdpPort at once. Nothing that comes from outside changes more than a counter unless
// its mac is right, or it answers a request to an Intermediate.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/counters.h"
#include "base/random.h"
#include "base/rate.h"
#include "path/punch_session.h"
#include "path/silent_budget.h"
#include "quic/connection.h"
#include "quic/deadline_heap.h"
#include "tunnel/hub.h"
#include "tunnel/local_candidates.h"
#include "tunnel/nat_watch.h"
#include "tunnel/ports.h"
#include "tunnel/searching.h"

namespace ztna::tunnel {

/// The one counted fate of each path probe that arrived, of ordinary sessions and of birthday searches.
enum class PunchFate : std::uint8_t {
  answered,       // request: a response is on its way
  replayed,       // request: its transaction was answered before
  taken,          // response: to a request of ours
  duplicate,      // response: the request was answered before
  nat_discovery,  // an Intermediate's answer, taken
  malformed,
  unknown_session,      // of no session that lives: nothing was computed for it
  throttled,            // above the limits, before its mac was looked at
  forged,               // the mac is wrong: also our own probe, reflected
  unknown_transaction,  // response: to nothing that we sent
  wrong_source,         // response: not from where the request went
  wrong_kind,           // a request to an Intermediate
  bad_source,           // request: from an address that is never sent to
  over_limit,           // request: the session has answered its share
  ended,                // the session does not answer any more
  count_
};
std::string_view to_string(PunchFate arrival);

class PunchingOwner : public SearchingOwner {
 public:
  /// An address answered and was selected: session.punch.selected(). Again if a clearly better one answers later.
  virtual void on_punched(const wire::SessionId& session, const wire::TunnelId& tunnel,
                          const path::PunchSession& punch) = 0;
  /// Nothing answered in time. The session goes on answering for a while, so on_punched() may still follow.
  virtual void on_not_punched(const wire::SessionId& session, const wire::TunnelId& tunnel,
                              const path::PunchSession& punch) = 0;
  /// Own candidates or the kind of NAT are others than before: see take_untold(). Sessions may be begun and ended from
  /// inside all three.
  virtual void on_local_changed() = 0;
};

class Punching final : public ProbeHandler {
 public:
  static constexpr std::size_t kMaxSessions = 1024;
  // Of probes whose session lives: what is computed for them at most, whoever sends them. A session of two honest ends
  // needs 100 a second; the birthday search some more.
  static constexpr std::uint32_t kChecksPerSecond = 20'000;  // of all sessions, one mac each
  static constexpr std::uint32_t kCheckBurst = 4'000;
  static constexpr std::uint32_t kSessionChecksPerSecond = 400;
  static constexpr std::uint32_t kSessionCheckBurst = 400;
  static constexpr Duration kUnstarted = 15s;  // a session that never began is given up

  /// All must outlive it. `role`: this end's. `side`: null, and this end cannot be the opener of a birthday search.
  Punching(wire::Role role, UdpPort& udp, Random& random, PunchingOwner& owner, LocalOptions options = {},
           SideSockets* side = nullptr);
  ~Punching() override;

  // -- own addresses -------------------------------------------------------------------------------------------------
  void set_options(LocalOptions options, TimePoint now);
  void set_hosts(std::vector<path::HostAddress> hosts, TimePoint now);
  void set_mapped(std::vector<SocketAddress> mapped, TimePoint now);
  /// Whenever the control connection to it came up, went down, or brought ObservedAddress or ProbePort. `index` is the
  /// caller's name for it.
  void set_intermediate(std::size_t index, IntermediateView view, TimePoint now);
  void remove_intermediate(std::size_t index, TimePoint now);
  /// Measures the NAT again. Call after set_hosts() with the new addresses.
  void network_changed(TimePoint now);
  const LocalCandidates& local() const { return local_; }
  const NatWatch& nat() const { return nat_; }
  /// Birthday searches: they have sessions of their own, and outlive those here.
  Searching& searching() { return searching_; }
  const Searching& searching() const { return searching_; }

  // -- sessions ------------------------------------------------------------------------------------------------------
  wire::SessionId new_session();  // random
  /// A tunnel has one session: an older one ends. `connection` is used for the call only. Errors: conflict (id in use),
  /// exhausted (kMaxSessions), crypto (the handshake is not done).
  Result<void> begin(const wire::SessionId& session, const wire::TunnelId& tunnel, quic::Connection& connection,
                     TimePoint now);
  bool add_remote(const wire::SessionId& session, std::span<const wire::Candidate> candidates, TimePoint now);
  /// What a birthday search of this tunnel has found counts as a candidate of the peer: its hole may be open still.
  void add_remembered(const wire::SessionId& session, TimePoint now);
  /// `vouched`: where the Intermediate observes the peer (StartPunching). That IP asked for this session, so probes to
  /// it are not charged to what silent addresses get together (path::SilentBudget): nobody can use that up for it.
  bool start(const wire::SessionId& session, Duration delay, TimePoint now,
             const std::optional<SocketAddress>& vouched = std::nullopt);
  /// Those of our candidates that this was not called for yet: put them into an Offer or Answer. Empty when the session
  /// has ended.
  std::vector<wire::Candidate> take_untold(const wire::SessionId& session);
  void end(const wire::SessionId& session) { erase(session); }
  void end_tunnel(const wire::TunnelId& tunnel);

  /// Null: no such session, or it has ended. Borrowed until the next call.
  const path::PunchSession* find(const wire::SessionId& session) const;
  std::optional<wire::SessionId> session_of(const wire::TunnelId& tunnel) const;
  std::optional<wire::TunnelId> tunnel_of(const wire::SessionId& session) const;
  /// Those that still look for a way (not those that only answer late requests).
  std::vector<wire::SessionId> looking() const;
  std::size_t size() const { return sessions_.size(); }

  // -- driving -------------------------------------------------------------------------------------------------------
  void on_probe(SocketId socket, const SocketAddress& from, Bytes payload, TimePoint now) override;
  TimePoint deadline() const { return std::min({timers_.earliest(), nat_.deadline(), searching_.deadline()}); }
  void on_deadline(TimePoint now);

  const CounterSet<PunchFate>& arrivals() const { return arrivals_; }
  const Counter& probes_sent() const { return probes_sent_; }
  const Counter& probes_withheld() const { return probes_withheld_; }  // path::SilentBudget
  const Counter& sessions_begun() const { return sessions_begun_; }
  const Counter& sessions_punched() const { return sessions_punched_; }
  const Counter& sessions_failed() const { return sessions_failed_; }
  const Counter& live() const { return live_; }  // gauge

 private:
  struct Session;
  using Sessions = std::unordered_map<wire::SessionId, std::unique_ptr<Session>>;

  PunchFate arrival(SocketId socket, const SocketAddress& from, Bytes payload, TimePoint now);
  PunchFate take_nat(const SocketAddress& from, const wire::Probe& probe, TimePoint now);
  Session* get(const wire::SessionId& session);
  void erase(const wire::SessionId& session);
  bool make_room();
  /// Sends what is due and tells the owner what came of it: the session may be gone afterwards.
  void work(Session& session, TimePoint now);
  void work_nat(TimePoint now);
  bool forget_told(const SocketAddress& reflexive);
  void local_changed(bool candidates, bool anew, TimePoint now);
  void send(const std::vector<path::Outgoing>& probes, TimePoint now, const std::optional<IpAddress>& vouched = {});

  wire::Role role_;
  UdpPort& udp_;
  Random& random_;
  PunchingOwner& owner_;
  LocalCandidates local_;
  NatWatch nat_;
  Searching searching_;
  Sessions sessions_;
  std::map<wire::TunnelId, wire::SessionId> of_tunnel_;
  quic::DeadlineHeap<Session> timers_;
  path::SilentBudget silent_;
  Rate checks_{kChecksPerSecond, kCheckBurst};
  CounterSet<PunchFate> arrivals_;
  Counter probes_sent_, probes_withheld_, sessions_begun_, sessions_punched_, sessions_failed_, live_;
};

}  // namespace ztna::tunnel
