#include "path/path_manager.h"

#include <algorithm>
#include <utility>

namespace ztna::path {
namespace {

constexpr Duration kTryAgain = 20ms;       // after a migration was refused: connection ids arrive within a round trip
constexpr Duration kPingAgain = 1s;        // on a path that is dead and without an alternative
constexpr Duration kShortestQuiet = 60ms;  // below: jitter
constexpr Duration kLongestQuiet = 200ms;
constexpr Duration kBetweenTailPings = 1s;

PathCause cause_of(PathHealth health) {
  switch (health) {
    case PathHealth::unacknowledged: return PathCause::unacknowledged;
    case PathHealth::large_lost: return PathCause::large_lost;
    default: return PathCause::silent;
  }
}

RelayReason reason_of(PathCause cause) {
  switch (cause) {
    case PathCause::large_lost: return RelayReason::mtu;
    case PathCause::network_changed: return RelayReason::network_changed;
    case PathCause::disabled: return RelayReason::disabled;
    default: return RelayReason::path_died;
  }
}

}  // namespace

std::string_view to_string(PathState state) {
  switch (state) {
    case PathState::relay: return "relay";
    case PathState::punching: return "punching";
    case PathState::validating: return "validating";
    case PathState::direct: return "direct";
  }
  return "unknown";
}

std::string_view to_string(PathCause cause) {
  switch (cause) {
    case PathCause::punched: return "punched";
    case PathCause::better: return "better";
    case PathCause::silent: return "silent";
    case PathCause::unacknowledged: return "unacknowledged";
    case PathCause::large_lost: return "large_lost";
    case PathCause::peer_report: return "peer_report";
    case PathCause::network_changed: return "network_changed";
    case PathCause::disabled: return "disabled";
    case PathCause::count_: break;
  }
  return "unknown";
}

std::string_view to_string(PathAction::Kind kind) {
  switch (kind) {
    case PathAction::Kind::punch: return "punch";
    case PathAction::Kind::abandon: return "abandon";
    case PathAction::Kind::upgrade: return "upgrade";
    case PathAction::Kind::fall_back: return "fall_back";
    case PathAction::Kind::ping: return "ping";
  }
  return "unknown";
}

// -- sessions --------------------------------------------------------------------------------------------------------

void PathManager::tunnel_ready(TimePoint now) {
  expected_ = kNever;
  if (std::exchange(ready_, true)) return;
  since_ = now;
  next_try_ = now;
}

void PathManager::set_signaling(bool possible, TimePoint now) {
  expected_ = kNever;
  if (std::exchange(signaling_, possible) == possible) return;
  if (possible) {
    // What failed for want of it is tried again; a pause after a real failure is kept.
    if (reason_ == RelayReason::signaling_failed && !direct_) try_at_once(now);
    return;
  }
  if (session_ != Session::punching) return;
  end_session();
  failed(RelayReason::signaling_failed, now);
}

void PathManager::set_enabled(bool enabled, TimePoint now) {
  expected_ = kNever;
  if (std::exchange(enabled_, enabled) == enabled) return;
  if (enabled) {
    reason_ = RelayReason::not_tried;
    try_at_once(now);
    return;
  }
  end_session();
  next_try_ = kNever;
  if (direct_) die(PathCause::disabled, now);
}

void PathManager::end_session() {
  if (session_ == Session::punching) abandon_wanted_ = true;
  session_ = Session::none;
  upgrade_wanted_ = false;
}

/// However a session ended without success: when is the next one?
void PathManager::failed(RelayReason why, TimePoint now) {
  session_ = Session::none;
  upgrade_wanted_ = false;
  if (direct_) {  // it was to find another way than the present one
    if (dying_) next_try_ = std::max(now, session_began_ + kLongestPause);
    return;
  }
  reason_ = why;
  const bool worked = worked_ != kNever && now - worked_ < kRecently;
  const auto longest = worked ? kLongestPause : kLongestNever;
  pause_ = pause_ == Duration{} ? (worked ? kFirstPause : kNeverPause) : std::min<Duration>(2 * pause_, longest);
  // Reckoned from the beginning of the session, which itself may take seconds: a path that is back is found within the
  // pause.
  next_try_ = std::max(now, session_began_ + pause_);
}

void PathManager::try_at_once(TimePoint now) {
  if (session_began_ != TimePoint::min()) now = std::max(now, session_began_ + kBetweenSessions);
  next_try_ = now;
}

void PathManager::punched(const SocketAddress& address, Duration rtt, TimePoint now) {
  expected_ = kNever;
  const bool late = session_ == Session::none && ready_ && enabled_ && !direct_;
  if (session_ != Session::punching && !late) return;
  if (direct_ && address == remote_ && !dying_) {  // still the best one
    session_ = Session::none;
    return;
  }
  session_ = Session::validating;
  session_began_ = now;
  candidate_ = address;
  candidate_rtt_ = rtt;
  upgrade_wanted_ = true;
}

void PathManager::not_punched(RelayReason why, TimePoint now) {
  expected_ = kNever;
  if (session_ == Session::punching) failed(why, now);
}

void PathManager::upgraded(bool ok, TimePoint now) {
  expected_ = kNever;
  if (session_ != Session::validating) return;
  if (!ok) return failed(RelayReason::not_validated, now);
  session_ = Session::none;
  changes_.add(direct_ ? PathCause::better : PathCause::punched);
  direct_ = true;
  remote_ = candidate_;
  punched_rtt_ = candidate_rtt_;
  since_ = judged_from_ = now;
  sample_ = {};
  sample_.since = now;
  sample_.heard = now;
  dying_.reset();
  fall_back_asked_ = false;
  network_new_from_ = TimePoint::min();
  fall_back_at_ = next_try_ = kNever;
  tail_pinged_ = now;
  // The server moves with the first packet that is more than a probe (RFC 9000 9.2): an idle tunnel has none.
  ping_wanted_ = true;
}

// -- the direct path -------------------------------------------------------------------------------------------------

void PathManager::set_relay(bool there, TimePoint now) {
  expected_ = kNever;
  relay_ = there;
  if (dying_ && relay_ && !fall_back_asked_) fall_back_at_ = now;
}

void PathManager::die(PathCause cause, TimePoint now) {
  if (!direct_ || dying_) return;
  dying_ = cause;
  last_ping_ = TimePoint{};
  if (relay_) {
    fall_back_at_ = now;
  } else {
    try_at_once(now);  // perhaps there is another direct way
  }
}

void PathManager::fell_back(bool ok, TimePoint now) {
  expected_ = kNever;
  if (!std::exchange(fall_back_asked_, false) || !direct_) return;
  if (!ok) {
    fall_back_at_ = now + kTryAgain;
    return;
  }
  const auto cause = dying_.value_or(PathCause::silent);
  changes_.add(cause);
  last_cause_ = cause;
  reason_ = reason_of(cause);
  direct_ = false;
  dying_.reset();
  fall_back_at_ = kNever;
  const auto lived = now - since_;
  since_ = worked_ = now;
  if (session_ == Session::validating) session_ = Session::none;  // the migration to the relay ended it
  pause_ = lived < kShortLife ? std::clamp<Duration>(2 * pause_, kFirstPause, kLongestPause) : kFirstPause;
  if (cause == PathCause::disabled || !enabled_) {
    next_try_ = kNever;
  } else if (cause == PathCause::network_changed) {
    try_at_once(now);
  } else {
    next_try_ = now + pause_;
  }
  ping_wanted_ = true;  // as after an upgrade: the Connector must learn of it though nothing is to be sent
}

void PathManager::peer_report(bool heard, TimePoint now) {
  expected_ = kNever;
  if (heard || !direct_ || now - since_ < kSettle) return;
  die(PathCause::peer_report, now);
}

void PathManager::network_changed(TimePoint now) {
  judged_from_ = now;
  seen_elsewhere(now);
}

void PathManager::seen_elsewhere(TimePoint now) {
  expected_ = kNever;
  if (!ready_) return;
  if (direct_) {
    network_new_from_ = now;
    ping_wanted_ = true;
  } else {
    pause_ = Duration{};  // what failed before failed elsewhere
  }
  if (session_ == Session::punching) end_session();  // it offers addresses that may be gone
  if (session_ == Session::none) try_at_once(now);
}

void PathManager::slept(TimePoint now) {
  network_changed(now);
  die(PathCause::network_changed, now);
}

/// A clock that jumped: timers are late because nothing ran.
void PathManager::notice_sleep(TimePoint now) {
  if (const auto due = std::exchange(expected_, kNever); due != kNever && now > due && now - due >= kOversleep)
    slept(now);
}

PathSample PathManager::forgiven() const {
  auto out = sample_;
  if (out.rtt <= Duration{}) out.rtt = punched_rtt_;
  if (out.waiting_since != kNever) out.waiting_since = std::max(out.waiting_since, judged_from_);
  if (out.large_since != kNever) out.large_since = std::max(out.large_since, judged_from_);
  return out;
}

void PathManager::sample(const PathSample& sample, TimePoint now) {
  if (!direct_) return;
  notice_sleep(now);
  sample_ = sample;
  if (dying_ && !fall_back_asked_ && !relay_ && judge(forgiven(), now) == PathHealth::alive &&
      sample_.heard > last_ping_ && last_ping_ != TimePoint{}) {
    dying_.reset();  // it answered after all, and nobody had another way meanwhile
    if (session_ == Session::none) next_try_ = kNever;
  }
}

/// How long nothing must have come before we ask whether the other side still sends.
Duration PathManager::quiet() const {
  const auto rtt = sample_.rtt > Duration{} ? sample_.rtt : punched_rtt_;
  return std::clamp<Duration>(rtt, kShortestQuiet, kLongestQuiet);
}

void PathManager::look(TimePoint now) {
  const auto now_sample = forgiven();
  if (const auto health = judge(now_sample, now); health != PathHealth::alive) {
    const bool heard_since = sample_.heard > network_new_from_;
    die(heard_since ? cause_of(health) : PathCause::network_changed, now);
    return;
  }
  if (now_sample.waiting_since != kNever) return;  // its acknowledgement tells
  const auto quiet_since = std::max(sample_.heard, last_ping_);
  if (now - quiet_since >= kKeepAlive) ping_wanted_ = true;
  // A receiver of a download has nothing in flight: when the stream of packets stops, one PING finds out whether the
  // path did. Without it only the Connector could tell, over the Intermediate.
  if (sample_.payload > tail_pinged_ && now - sample_.heard >= quiet() && now - tail_pinged_ >= kBetweenTailPings) {
    tail_pinged_ = now;
    ping_wanted_ = true;
  }
}

TimePoint PathManager::next_look() const {
  const auto now_sample = forgiven();
  auto next = next_judgement(now_sample);
  if (now_sample.waiting_since == kNever) {
    next = std::min(next, std::max(sample_.heard, last_ping_) + kKeepAlive);
    if (sample_.payload > tail_pinged_) {
      next = std::min(next, std::max(sample_.heard + quiet(), tail_pinged_ + kBetweenTailPings));
    }
  }
  return next;
}

// -- actions ---------------------------------------------------------------------------------------------------------

std::optional<PathAction> PathManager::poll(TimePoint now) {
  notice_sleep(now);
  if (direct_ && !dying_) look(now);
  const auto act = [&]() -> std::optional<PathAction> {
    if (direct_ && dying_ && !fall_back_asked_) {
      if (relay_ && now >= fall_back_at_) {
        fall_back_asked_ = true;
        fall_back_at_ = kNever;
        return PathAction{PathAction::Kind::fall_back, {}};
      }
      if (!relay_ && now - last_ping_ >= kPingAgain) ping_wanted_ = true;
    }
    if (std::exchange(ping_wanted_, false)) {
      last_ping_ = now;
      return PathAction{PathAction::Kind::ping, {}};
    }
    if (std::exchange(abandon_wanted_, false)) return PathAction{PathAction::Kind::abandon, {}};
    if (std::exchange(upgrade_wanted_, false)) return PathAction{PathAction::Kind::upgrade, candidate_};
    if (session_ != Session::none && now - session_began_ >= kSessionLimit) {
      const bool punching = session_ == Session::punching;
      failed(punching ? RelayReason::no_answer : RelayReason::not_validated, now);
      if (punching) return PathAction{PathAction::Kind::abandon, {}};
    }
    if (session_ == Session::none && now >= next_try_ && can_try() && !fall_back_asked_) {
      session_ = Session::punching;
      session_began_ = now;
      next_try_ = kNever;
      ++sessions_;
      return PathAction{PathAction::Kind::punch, {}};
    }
    return std::nullopt;
  }();
  if (!act) expected_ = std::max(deadline(), now);
  return act;
}

TimePoint PathManager::deadline() const {
  auto next = kNever;
  if (ping_wanted_ || abandon_wanted_ || upgrade_wanted_) return TimePoint{};
  if (direct_) {
    if (!dying_) {
      next = next_look();
    } else if (!fall_back_asked_) {
      next = relay_ ? fall_back_at_ : last_ping_ + kPingAgain;
    }
  }
  if (session_ != Session::none) {
    next = std::min(next, session_began_ + kSessionLimit);
  } else if (can_try() && !fall_back_asked_) {
    next = std::min(next, next_try_);
  }
  return next;
}

TimePoint PathManager::next_try() const { return session_ == Session::none && can_try() ? next_try_ : kNever; }

PathState PathManager::state() const {
  if (direct_) return PathState::direct;
  switch (session_) {
    case Session::punching: return PathState::punching;
    case Session::validating: return PathState::validating;
    case Session::none: break;
  }
  return PathState::relay;
}

RelayReason PathManager::reason() const {
  if (!enabled_) return RelayReason::disabled;
  if (session_ != Session::none && reason_ == RelayReason::not_tried) return RelayReason::punching;
  return reason_;
}

}  // namespace ztna::path
