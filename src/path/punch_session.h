// Hole punching of one tunnel, one end: probes to the peer's candidates, answers to its probes, the best address that
// answered (docs/protocol.md 5, docs/direct-paths.md; the checks of RFC 8445 7 without STUN).
//
// Both ends run the same machine; only the Agent acts on the result. Sans-IO: after every call send what poll() gives,
// and call poll() again at deadline(). Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/counters.h"
#include "base/random.h"
#include "base/time.h"
#include "path/outgoing.h"
#include "path/probe_policy.h"
#include "wire/control/signaling.h"
#include "wire/ids.h"
#include "wire/probe.h"
#include "wire/role.h"

namespace ztna::path {

/// What became of one received probe.
enum class ProbeFate : std::uint8_t {
  answered,       // request: a response is on its way
  replayed,       // request: its transaction was answered before
  taken,          // response: to a request of ours
  duplicate,      // response: the request was answered before
  wrong_session,  // not of this session
  forged,         // the mac is wrong: also our own probe, reflected
  unknown_transaction,
  wrong_source,  // response: not from where the request went
  wrong_kind,    // neither request nor response
  bad_source,    // request: from an address that is never sent to (ProbePolicy::judge_source)
  over_limit,    // request: the session has answered its share
  ended,         // the session does not answer any more
  count_
};
std::string_view to_string(ProbeFate fate);
using ProbeFates = CounterSet<ProbeFate>;

/// One remote address of a session, for diagnostics.
struct Check {
  SocketAddress address;
  wire::CandidateKind kind = wire::CandidateKind::host;
  std::uint32_t priority = 0;
  ProbeVerdict verdict = ProbeVerdict::allowed;  // otherwise never sent to
  unsigned sent = 0;                             // requests
  unsigned received = 0;                         // authentic requests from this address
  std::optional<Duration> rtt;                   // of the first answer; nothing: never answered
};

class PunchSession {
 public:
  struct Config {
    wire::Role role = wire::Role::agent;
    wire::SessionId session;
    wire::ProbeMacFunction mac;  // HMAC-SHA256/128 under this session's key; kept for the session's life
    ProbePolicy policy;
  };

  static constexpr Duration kPace = 20ms;        // between requests of one session (RFC 8445 14.2: Ta)
  static constexpr unsigned kMaxProbes = 5;      // requests to one address that never answered, triggered ones included
  static constexpr std::size_t kMaxRemote = 16;  // candidates that are probed
  static constexpr std::size_t kMaxPeerReflexive = 8;  // and addresses learnt from requests
  static constexpr std::size_t kMaxPortsPerIp = 3;     // candidates of one IP: many ports must not add up to a flood
  static constexpr std::size_t kMaxAnswers = 64;       // responses of one session
  static constexpr Duration kWindow = 50ms;            // after the first answer better ones are waited for
  static constexpr Duration kMinimumTime = 3s;         // without answer: how long a late peer is waited for
  static constexpr Duration kMaximumTime = 5s;         //
  static constexpr Duration kLinger = 10s;             // answers requests for so long after it succeeded or failed

  /// Waits: nothing is sent before start(), but requests are answered (the peer may have started earlier).
  PunchSession(Config config, Random& random, TimePoint now);

  /// Adds what the peer offers; again for trickled candidates. Known addresses are ignored.
  void add_remote(std::span<const wire::Candidate> candidates, TimePoint now);
  /// Probing begins at `at` (StartPunching: now + delay), or with the first authentic request if that comes earlier.
  /// Once.
  void start(TimePoint at);
  /// One received probe. Only an authentic one changes anything but a counter.
  ProbeFate receive(const SocketAddress& from, const wire::Probe& probe, TimePoint now);
  /// What is due at `now`. Calling it twice with the same time, or before deadline(), does nothing.
  std::vector<Outgoing> poll(TimePoint now);
  /// When poll() has work next; kNever once the session has ended.
  TimePoint deadline() const;

  enum class State : std::uint8_t {
    waiting,   // for start()
    punching,  // no answer so far, or still inside the window after the first
    reached,   // selected() is set; may still improve
    failed,    // nothing answered in time; a late request can still lead to `reached`
    ended,     // kLinger is over: nothing is sent or answered
  };
  State state() const { return state_; }

  struct Reached {
    SocketAddress address;
    wire::CandidateKind kind = wire::CandidateKind::host;
    Duration rtt{};
    friend bool operator==(const Reached&, const Reached&) = default;
  };
  /// The best address that answered: the lowest RTT; when two are within kTie of each other the one with the more
  /// direct kind (host, port-mapped, peer-reflexive, server-reflexive), then IPv6, then the higher priority. Set when
  /// the window after the first answer is over; afterwards replaced only by one that is clearly better (kSwitchMargin).
  const std::optional<Reached>& selected() const { return selected_; }
  /// True once after each change of selected(), of state() to `failed`, and when it ended without having been started.
  bool take_change();
  /// Difference of RTTs that is no difference: 1 ms or a tenth.
  static constexpr Duration kTie = 1ms;
  static constexpr Duration kSwitchMargin = 5ms;  // below: jitter

  /// All remote addresses, refused ones included, in the order they were learnt.
  std::vector<Check> checks() const;
  const ProbeFates& fates() const { return fates_; }
  /// Our address as the peer saw it in its last response (a peer-reflexive local candidate).
  const std::optional<SocketAddress>& observed() const { return observed_; }
  const wire::SessionId& id() const { return config_.session; }
  std::uint64_t requests_sent() const { return requests_sent_; }

 private:
  struct Remote {
    Check check;
    bool offered = false;     // by the peer; otherwise learnt from a request
    TimePoint next = kNever;  // of its next request
    TimePoint last_sent{};    // meaningful once sent
    bool triggered = false;   // its next request goes first
  };
  struct Request {
    std::size_t remote = 0;
    TimePoint sent{};
    bool answered = false;
  };

  void begin(TimePoint at);
  void schedule(std::span<const std::size_t> fresh, TimePoint from);
  Remote* find(const SocketAddress& address);
  bool is_replay(const SocketAddress& from, const wire::Probe& probe) const;
  ProbeFate take_request(const SocketAddress& from, const wire::Probe& probe, TimePoint now);
  ProbeFate take_response(const SocketAddress& from, const wire::Probe& probe, TimePoint now);
  void trigger(Remote& remote, TimePoint now);
  void send_request(Remote& remote, TimePoint now, std::vector<Outgoing>& out);
  bool may_probe(const Remote& remote) const;
  Remote* next_due(TimePoint now);
  TimePoint next_request() const;
  TimePoint fails_at() const;
  void consider(TimePoint now);
  void select();
  void run_timers(TimePoint now);

  Config config_;
  Random& random_;
  State state_ = State::waiting;
  TimePoint created_;
  TimePoint start_ = kNever;
  TimePoint next_slot_{};  // pace
  TimePoint window_end_ = kNever;
  TimePoint end_ = kNever;  // of lingering
  TimePoint last_request_{};
  TimePoint answer_due_ = kNever;
  std::vector<Remote> remotes_;
  std::vector<IpAddress> peer_reflexive_;  // IPs of the peer's server-reflexive candidates
  std::size_t probed_candidates_ = 0;
  std::size_t learnt_ = 0;
  std::map<wire::TransactionId, Request> requests_;
  std::multimap<wire::TransactionId, SocketAddress> answered_;  // requests, with where the answer went
  std::vector<Outgoing> answers_;
  std::optional<Reached> selected_;
  std::optional<SocketAddress> observed_;
  bool changed_ = false;
  std::uint64_t requests_sent_ = 0;
  ProbeFates fates_;
};
std::string_view to_string(PunchSession::State state);

}  // namespace ztna::path
