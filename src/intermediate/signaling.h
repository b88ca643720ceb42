// Signaling sessions for direct paths (docs/protocol.md 3.1): one Agent and one Connector that have a route between
// them exchange candidates, begin to punch at the same moment, and tell each other what came of it. A session belongs
// to the two control connections that it was made for, and ends with either of them. Not thread-safe: the registry's
// lock covers it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>

#include "base/counters.h"
#include "base/rate.h"
#include "base/time.h"
#include "intermediate/actions.h"
#include "wire/control/signaling.h"
#include "wire/ids.h"

namespace ztna::intermediate {

/// How signaling sessions end; one increment a session.
enum class SignalingEnd : std::uint8_t {
  reached,   // both ends gave their result, and at least one has reached the other
  failed,    // both ends gave their result, and neither has
  given_up,  // an end sent SignalingError
  expired,   // no progress for kExpiry
  peer_gone,
  route_closed,
  count_
};
std::string_view to_string(SignalingEnd end);

/// Signaling messages that were refused; one increment a message.
enum class SignalingRefusal : std::uint8_t { unknown_session, not_yours, limit, peer_gone, bad_candidate, count_ };
std::string_view to_string(SignalingRefusal refusal);

struct SignalingLimits {
  std::size_t sessions = 65'536;
  /// An Agent has one tunnel to a Connector, and punches for all of them at once when its network changes.
  std::size_t sessions_per_agent = 64;
  std::size_t candidates_per_side = 64;  // of one session
  std::size_t lists_per_side = 32;       // Offers or Answers of one session
};

struct SignalingCounters {
  Counter sessions;  // opened
  Counter live;      // gauge
  CounterSet<SignalingEnd> ends;
  CounterSet<SignalingRefusal> refusals;
  Counter claims_dropped;  // server-reflexive candidates that were not what we observe of their sender
};

class Signaling {
 public:
  static constexpr Duration kExpiry = 5s;
  /// The farther end is not waited for longer: a round trip of this much is no path to punch for.
  static constexpr Duration kMaxDelay = 1s;
  /// Sessions that one Agent may begin: as many as it may have at once, then so many a second.
  static constexpr std::uint32_t kStartsPerSecond = 16;
  static constexpr std::uint32_t kStartBurst = 64;

  explicit Signaling(const SignalingLimits& limits) : limits_(limits) {}

  /// Who a message is from, the smoothed round trip of that control connection (0: not known), and from where its
  /// packets come, as its path was validated.
  struct Sender {
    SessionRef session;
    Duration rtt{};
    SocketAddress observed;
  };
  /// `connector` is at the other end of the open route of `m.tunnel`, whose Agent is the sender: the caller has checked
  /// it, and the candidates. `starts` is the sender's.
  void offer(const Sender& from, SessionRef connector, Rate& starts, const wire::CandidateOffer& m, TimePoint now,
             Actions& out);
  void answer(const Sender& from, const wire::CandidateAnswer& m, TimePoint now, Actions& out);
  void result(SessionRef from, const wire::PunchingResult& m, TimePoint now, Actions& out);
  /// Never answered, so that two programs cannot send errors for ever.
  void error(SessionRef from, const wire::SignalingError& m, TimePoint now, Actions& out);
  /// Answers a message of `session` with an error, and counts it.
  void refuse(SessionRef from, const wire::SessionId& session, SignalingRefusal why, std::string_view text,
              Actions& out);

  /// The validated path of its control connection changed.
  void client_moved(SessionRef client, const SocketAddress& observed);
  /// So many claims of a client were not passed on.
  void count_dropped_claims(std::size_t count) { counters_.claims_dropped.add(count); }
  /// The control connection has ended: the other ends of its sessions are told.
  void client_gone(SessionRef client, Actions& out);
  /// The route of `tunnel` has closed; `agent` had it.
  void route_closed(SessionRef agent, const wire::TunnelId& tunnel, Actions& out);
  /// Ends what made no progress; call about once a second.
  void tick(TimePoint now, Actions& out);

  std::size_t size() const { return sessions_.size(); }
  const SignalingCounters& counters() const { return counters_; }

 private:
  enum Side : std::size_t { kAgent, kConnector };
  struct End {
    SessionRef client;
    Duration rtt{};
    SocketAddress observed;
    std::size_t lists = 0;
    std::size_t candidates = 0;
    std::optional<wire::PunchingOutcome> outcome;
  };
  struct Session {
    wire::TunnelId tunnel;
    TimePoint progress_at{};
    bool started = false;
    std::array<End, 2> ends;
    End& end_of(SessionRef client) { return ends[ends[kAgent].client == client ? kAgent : kConnector]; }
    End& peer_of(SessionRef client) { return ends[ends[kAgent].client == client ? kConnector : kAgent]; }
  };

  /// A live session that `from` may speak in. Null: refused, and told unless `silent`.
  Session* find(SessionRef from, const wire::SessionId& id, TimePoint now, bool silent, Actions& out);
  template <typename Message>
  bool take_list(Session& session, const Sender& from, const Message& m, TimePoint now, Actions& out);
  void start(const wire::SessionId& id, Session& session, Actions& out);
  /// Tells the ends in `told` with `code`, if there is one.
  void end(const wire::SessionId& id, SignalingEnd how, std::optional<wire::SignalingErrorCode> code,
           std::string_view text, const std::set<SessionRef>& told, Actions& out);

  SignalingLimits limits_;
  std::unordered_map<wire::SessionId, Session> sessions_;
  std::map<SessionRef, std::set<wire::SessionId>> of_;  // both ends
  SignalingCounters counters_;
};

}  // namespace ztna::intermediate
