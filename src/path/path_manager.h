// Which path one tunnel is on, and when to move it: a state machine of the Agent, the end that may migrate (RFC 9000
// section 9). Pure, on virtual time: what happened goes in, what to do comes out of poll().
//
//           tunnel_ready            punched                upgraded(true)
//   relay ------------> punching -----------> validating ----------------> direct
//    ^ ^                   |                      |                          |
//    | +--- not_punched, again after a pause -----+                          | silent, unacknowledged, large packets
//    lost,
//    +------------------------------ fall_back ------------------------------+ PathReport, disabled
//
// The relay is kept warm by the control connection, so falling back costs no round trip; without a relay (its
// Intermediate is gone) a tunnel stays where it is. A new network is no death: an idle tunnel is pinged, a new way is
// looked for beside the old one, and silence decides.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/address.h"
#include "base/counters.h"
#include "base/time.h"
#include "path/path_health.h"
#include "path/relay_reason.h"

namespace ztna::path {

enum class PathState : std::uint8_t {
  relay,
  punching,    // on the relay; a session is under way
  validating,  // on the relay; PATH_CHALLENGE is on its way over the direct path
  direct,
};
std::string_view to_string(PathState state);

/// Why a tunnel changed its path.
enum class PathCause : std::uint8_t {
  punched,          // to direct: an address answered and QUIC validated it
  better,           // from direct to direct: another address, after a change of network
  silent,           // to the relay: PathHealth
  unacknowledged,   //
  large_lost,       //
  peer_report,      // the Connector hears nothing on it
  network_changed,  // the path died with the network that it belonged to
  disabled,
  count_
};
std::string_view to_string(PathCause cause);
inline bool to_direct(PathCause cause) { return cause == PathCause::punched || cause == PathCause::better; }

/// What the owner has to do.
struct PathAction {
  enum class Kind : std::uint8_t {
    punch,      // begin a session: answer with punched() or not_punched()
    abandon,    // end the session that is under way; no answer is wanted
    upgrade,    // migrate to `to`, validate first: answer with upgraded()
    fall_back,  // migrate to the relay at once: answer with fell_back()
    ping,       // send something that is acknowledged
  };
  Kind kind = Kind::ping;
  SocketAddress to;
  friend bool operator==(const PathAction&, const PathAction&) = default;
};
std::string_view to_string(PathAction::Kind kind);

class PathManager {
 public:
  static constexpr Duration kKeepAlive = 15s;       // NATs forget UDP mappings after 30 s and more (RFC 4787 4.3)
  static constexpr Duration kFirstPause = 1s;       // after a path that worked: 1, 2, 4, 8, 8 s
  static constexpr Duration kLongestPause = 8s;     //
  static constexpr Duration kRecently = 5min;       // for so long after its death a path counts as one that worked
  static constexpr Duration kNeverPause = 5s;       // where none ever worked: 5, 10, 20, ... 300 s
  static constexpr Duration kLongestNever = 300s;   //
  static constexpr Duration kShortLife = 10s;       // a path that lived shorter doubles the next pause
  static constexpr Duration kSettle = 300ms;        // a younger path is not given up for a report of the one before it
  static constexpr Duration kBetweenSessions = 1s;  // however often the network changes
  static constexpr Duration kSessionLimit = 15s;    // a session or validation that nobody ended
  static constexpr Duration kOversleep = 2s;        // so late, and the machine slept: what was not heard proves nothing

  explicit PathManager(bool enabled = true) : enabled_(enabled) {}

  // -- what happened -----------------------------------------------------------------------------------------------
  /// The tunnel is up, on the relay.
  void tunnel_ready(TimePoint now);
  /// Whether messages reach the Connector.
  void set_signaling(bool possible, TimePoint now);
  /// Whether there is a route to fall back to.
  void set_relay(bool there, TimePoint now);
  void set_enabled(bool enabled, TimePoint now);
  /// This address answers, after `rtt`. Also taken when the session counts as failed: a late answer is an answer.
  void punched(const SocketAddress& address, Duration rtt, TimePoint now);
  void not_punched(RelayReason why, TimePoint now);
  /// PATH_RESPONSE came, or did not, or migrate() refused.
  void upgraded(bool ok, TimePoint now);
  /// The migration to the relay is done, or was refused (it is tried again in a moment).
  void fell_back(bool ok, TimePoint now);
  /// The Connector says whether it hears us on the direct path.
  void peer_report(bool heard, TimePoint now);
  /// Addresses or routes of this machine changed: from now on silence counts anew.
  void network_changed(TimePoint now);
  /// The Intermediate sees us elsewhere. If a NAT has rebound, the silence so far is what it did to the path, and
  /// counts.
  void seen_elsewhere(TimePoint now);
  /// The machine slept. NATs have forgotten it, and the Connector's retransmission timer has backed off beyond use;
  /// only a path from another address ends that (RFC 9002 6.2.1), so a direct path is left at once.
  void slept(TimePoint now);
  /// What the connection has seen; after each batch while direct() is true.
  void sample(const PathSample& sample, TimePoint now);

  // -- what to do --------------------------------------------------------------------------------------------------
  /// The next action; call until there is none, after every input and at deadline().
  std::optional<PathAction> poll(TimePoint now);
  TimePoint deadline() const;

  // -- how things are ----------------------------------------------------------------------------------------------
  PathState state() const;
  bool direct() const { return direct_; }
  /// The direct path that is in use, or was the last one.
  const SocketAddress& remote() const { return remote_; }
  /// What is being validated.
  const SocketAddress& candidate() const { return candidate_; }
  /// When the tunnel came to the path it is on.
  TimePoint since() const { return since_; }
  /// Why it is on the relay; meaningless while direct().
  RelayReason reason() const;
  /// Of the last fall back.
  const std::optional<PathCause>& last_cause() const { return last_cause_; }
  /// When the next session begins; kNever: none is planned.
  TimePoint next_try() const;
  unsigned sessions() const { return sessions_; }
  const CounterSet<PathCause>& changes() const { return changes_; }

 private:
  enum class Session : std::uint8_t { none, punching, validating };

  bool can_try() const { return ready_ && enabled_ && signaling_; }
  void end_session();
  void failed(RelayReason why, TimePoint now);
  void try_at_once(TimePoint now);
  void die(PathCause cause, TimePoint now);
  void look(TimePoint now);
  void notice_sleep(TimePoint now);
  TimePoint next_look() const;
  PathSample forgiven() const;
  Duration quiet() const;

  bool enabled_;
  bool ready_ = false;
  bool signaling_ = false;
  bool relay_ = false;

  bool direct_ = false;
  SocketAddress remote_;
  Duration punched_rtt_{};  // until the connection has measured its own
  TimePoint since_{};
  TimePoint worked_ = kNever;  // when a direct path was last given up; kNever: none ever was in use
  RelayReason reason_ = RelayReason::not_tried;
  std::optional<PathCause> last_cause_;

  Session session_ = Session::none;
  SocketAddress candidate_;  // being validated
  Duration candidate_rtt_{};
  TimePoint session_began_ = TimePoint::min();
  unsigned sessions_ = 0;
  Duration pause_{};
  TimePoint next_try_ = kNever;

  PathSample sample_;
  TimePoint judged_from_{};  // silence before it proves nothing: we slept, or the network has just changed
  TimePoint network_new_from_ = TimePoint::min();  // when it last changed under this path
  std::optional<PathCause> dying_;                 // fall back as soon as there is a relay
  TimePoint fall_back_at_ = kNever;
  TimePoint last_ping_{};
  TimePoint tail_pinged_{};  // for what payload before it
  bool ping_wanted_ = false;
  bool abandon_wanted_ = false;
  bool upgrade_wanted_ = false;
  bool fall_back_asked_ = false;  // fell_back() has not come yet
  TimePoint expected_ = kNever;   // deadline() as it was after the last poll()
  CounterSet<PathCause> changes_;
};

}  // namespace ztna::path
