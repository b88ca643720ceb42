#include "path/punch_session.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "path/probe_auth.h"

namespace ztna::path {
namespace {

using wire::CandidateKind;
using wire::ProbeKind;

/// After the first, second, ... request to a silent address. The first waits are short, as a request may have come
/// before the peer's NAT was open.
constexpr Duration kRetransmit[] = {100ms, 150ms, 250ms, 500ms};
/// Addresses that stay silent while another one answered get no more than this.
constexpr unsigned kProbesAfterAnswer = 2;
/// How long an answer to the last request is waited for.
constexpr Duration kLastAnswer = 1s;
constexpr Duration kWaitForStart = 10s;
/// What a peer can make us remember, refused addresses included.
constexpr std::size_t kMaxKnown = 64;

unsigned detour(CandidateKind kind) {
  switch (kind) {
    case CandidateKind::host: return 0;
    case CandidateKind::port_mapped: return 1;
    case CandidateKind::peer_reflexive: return 2;
    case CandidateKind::server_reflexive: return 3;
  }
  return 4;
}

bool is_tie(Duration a, Duration b) {
  const auto difference = a > b ? a - b : b - a;
  return difference <= std::max<Duration>(PunchSession::kTie, std::min(a, b) / 10);
}

}  // namespace

PunchSession::PunchSession(Config config, Random& random, TimePoint now)
    : config_(std::move(config)), random_(random), created_(now) {}

void PunchSession::add_remote(std::span<const wire::Candidate> candidates, TimePoint now) {
  for (const auto& ip : reflexive_ips(candidates)) {
    if (peer_reflexive_.size() < kMaxRemote && std::ranges::find(peer_reflexive_, ip) == peer_reflexive_.end()) {
      peer_reflexive_.push_back(ip);
    }
  }
  std::vector<std::size_t> fresh;
  const auto admit = [&](std::size_t index) {
    auto& check = remotes_[index].check;
    check.verdict = config_.policy.judge(check.address, peer_reflexive_);
    if (check.verdict != ProbeVerdict::allowed) return;
    const auto same_ip = std::ranges::count_if(remotes_, [&](const Remote& r) {
      return &r.check != &check && r.check.address.ip == check.address.ip && r.check.verdict == ProbeVerdict::allowed;
    });
    if (probed_candidates_ >= kMaxRemote || static_cast<std::size_t>(same_ip) >= kMaxPortsPerIp) {
      check.verdict = ProbeVerdict::over_limit;
      return;
    }
    ++probed_candidates_;
    fresh.push_back(index);
  };
  // What was private of neither may be near, now that we know more of the peer's reflexive addresses.
  for (std::size_t i = 0; i < remotes_.size(); ++i) {
    if (remotes_[i].check.verdict == ProbeVerdict::private_of_neither) admit(i);
  }
  for (const auto& c : candidates) {
    if (auto* known = find(c.address)) {
      known->check.kind = c.kind;  // the peer knows better than a guess from a request
      known->check.priority = c.priority;
      known->offered = true;
    } else if (remotes_.size() < kMaxKnown) {
      remotes_.push_back({.check = {.address = c.address, .kind = c.kind, .priority = c.priority}, .offered = true});
      admit(remotes_.size() - 1);
    }
  }
  if (start_ != kNever) schedule(fresh, std::max(now, start_));
}

/// Sets the times of first requests: the best address of each kind and family, then the second best of each, and so on;
/// so that neither many host addresses nor a broken family hold up the address that works.
void PunchSession::schedule(std::span<const std::size_t> fresh, TimePoint from) {
  std::vector<std::size_t> order{fresh.begin(), fresh.end()};
  std::ranges::stable_sort(order, std::ranges::greater{}, [&](std::size_t i) { return remotes_[i].check.priority; });
  std::map<std::pair<CandidateKind, Family>, unsigned> taken;
  std::vector<std::pair<unsigned, std::size_t>> rounds;
  for (const auto i : order) {
    const auto& check = remotes_[i].check;
    rounds.emplace_back(taken[{check.kind, check.address.ip.family()}]++, i);
  }
  std::ranges::stable_sort(rounds, {}, [](const auto& r) { return r.first; });
  auto at = from;
  for (const auto& [round, i] : rounds) {
    remotes_[i].next = at;
    at += kPace;
  }
}

void PunchSession::start(TimePoint at) {
  if (state_ == State::waiting && start_ == kNever) begin(at);
}

void PunchSession::begin(TimePoint at) {
  start_ = at;
  std::vector<std::size_t> fresh;
  for (std::size_t i = 0; i < remotes_.size(); ++i) {
    if (remotes_[i].check.verdict == ProbeVerdict::allowed && remotes_[i].check.sent == 0) fresh.push_back(i);
  }
  schedule(fresh, at);
}

PunchSession::Remote* PunchSession::find(const SocketAddress& address) {
  const auto it = std::ranges::find_if(remotes_, [&](const Remote& r) { return r.check.address == address; });
  return it == remotes_.end() ? nullptr : &*it;
}

ProbeFate PunchSession::receive(const SocketAddress& from, const wire::Probe& probe, TimePoint now) {
  run_timers(now);
  const auto fate = [&] {
    if (!wire::has_mac(probe.kind)) return ProbeFate::wrong_kind;
    if (probe.session != config_.session) return ProbeFate::wrong_session;
    if (state_ == State::ended) return ProbeFate::ended;
    return probe.kind == ProbeKind::request ? take_request(from, probe, now) : take_response(from, probe, now);
  }();
  fates_.add(fate);
  return fate;
}

/// A request is answered once, wherever it seems to come from; but a copy that somebody on the path was fast enough to
/// send first, under another source, must not keep the answer from an address that the peer itself offered.
bool PunchSession::is_replay(const SocketAddress& from, const wire::Probe& probe) const {
  const auto is_offered = [&](const SocketAddress& address) {
    return std::ranges::any_of(remotes_, [&](const Remote& r) {
      return r.offered && r.check.verdict == ProbeVerdict::allowed && r.check.address == address;
    });
  };
  const auto first = answered_.find(probe.transaction);
  if (first == answered_.end()) return false;
  return answered_.count(probe.transaction) > 1 || is_offered(first->second) || !is_offered(from);
}

ProbeFate PunchSession::take_request(const SocketAddress& from, const wire::Probe& probe, TimePoint now) {
  if (!is_authentic(probe, peer_of(config_.role), config_.mac)) return ProbeFate::forged;
  if (is_replay(from, probe)) return ProbeFate::replayed;
  if (config_.policy.judge_source(from) != ProbeVerdict::allowed) return ProbeFate::bad_source;
  if (answered_.size() >= kMaxAnswers) return ProbeFate::over_limit;

  answered_.emplace(probe.transaction, from);
  const wire::Probe response{
      .kind = ProbeKind::response, .session = config_.session, .transaction = probe.transaction, .address = from};
  answers_.push_back({from, wire::encode_probe(response, config_.role, config_.mac)});
  answer_due_ = std::min(answer_due_, now);
  if (state_ == State::waiting && now < start_) {  // the peer has begun
    begin(now);
    state_ = State::punching;
  }

  auto* remote = find(from);
  const bool learn = (remote == nullptr || remote->check.verdict != ProbeVerdict::allowed);
  if (learn) {  // a peer-reflexive address (RFC 8445 7.3.1.3)
    if (learnt_ >= kMaxPeerReflexive) return ProbeFate::answered;
    ++learnt_;
    if (remote == nullptr) {
      const auto priority = candidate_priority(CandidateKind::peer_reflexive, 0xFFFF);
      remotes_.push_back({.check = {.address = from, .kind = CandidateKind::peer_reflexive, .priority = priority}});
      remote = &remotes_.back();
    }
    remote->check.verdict = ProbeVerdict::allowed;
  }
  ++remote->check.received;
  trigger(*remote, now);
  return ProbeFate::answered;
}

ProbeFate PunchSession::take_response(const SocketAddress& from, const wire::Probe& probe, TimePoint now) {
  const auto it = requests_.find(probe.transaction);  // before the mac: junk costs no HMAC
  if (it == requests_.end()) return ProbeFate::unknown_transaction;
  auto& request = it->second;
  auto& check = remotes_[request.remote].check;
  if (!is_authentic(probe, peer_of(config_.role), config_.mac)) return ProbeFate::forged;
  if (from != check.address) return ProbeFate::wrong_source;  // RFC 8445 7.2.5.2.1
  if (request.answered) return ProbeFate::duplicate;

  request.answered = true;
  observed_ = probe.address;
  const auto rtt = now - request.sent;
  check.rtt = std::min(check.rtt.value_or(rtt), rtt);
  remotes_[request.remote].next = kNever;
  remotes_[request.remote].triggered = false;
  consider(now);
  return ProbeFate::taken;
}

/// A request got through from there, so a request back will most likely get through too (RFC 8445 7.3.1.4).
void PunchSession::trigger(Remote& remote, TimePoint now) {
  remote.triggered = true;
  if (!may_probe(remote)) {
    remote.triggered = false;
    return;
  }
  const auto earliest = remote.check.sent == 0 ? now : std::max(now, remote.last_sent + kPace);
  remote.next = std::min(remote.next, earliest);
}

bool PunchSession::may_probe(const Remote& remote) const {
  const auto& check = remote.check;
  if (check.verdict != ProbeVerdict::allowed || check.rtt || state_ == State::ended) return false;
  const bool other_answered = selected_ || window_end_ != kNever;
  return check.sent < (other_answered && !remote.triggered ? kProbesAfterAnswer : kMaxProbes);
}

PunchSession::Remote* PunchSession::next_due(TimePoint now) {
  Remote* best = nullptr;
  for (auto& r : remotes_) {
    if (r.next > now || !may_probe(r)) continue;
    if (best == nullptr || std::tuple{!r.triggered, r.next} < std::tuple{!best->triggered, best->next}) best = &r;
  }
  return best;
}

TimePoint PunchSession::next_request() const {
  auto next = kNever;
  for (const auto& r : remotes_) {
    if (may_probe(r)) next = std::min(next, r.next);
  }
  return next == kNever ? kNever : std::max(next, next_slot_);
}

void PunchSession::send_request(Remote& remote, TimePoint now, std::vector<Outgoing>& out) {
  wire::Probe probe{.kind = ProbeKind::request, .session = config_.session, .address = remote.check.address};
  probe.transaction.value = random_.array<12>();  // a new one each time: a replay is told from a retransmission
  requests_[probe.transaction] = {static_cast<std::size_t>(&remote - remotes_.data()), now, false};
  out.push_back({remote.check.address, wire::encode_probe(probe, config_.role, config_.mac), true});
  const auto n = remote.check.sent++;
  remote.last_sent = now;
  remote.next = n < std::size(kRetransmit) ? now + kRetransmit[n] : kNever;
  remote.triggered = false;
  last_request_ = now;
  next_slot_ = now + kPace;
  ++requests_sent_;
}

/// When a session without any answer is over: the last request has had its time, and a late peer too.
TimePoint PunchSession::fails_at() const {
  auto at = std::max(start_ + kMinimumTime, last_request_ + kLastAnswer);
  const auto next = next_request();
  if (next != kNever) at = std::max(at, next + kLastAnswer);
  return std::min(at, start_ + kMaximumTime);
}

/// An address has answered.
void PunchSession::consider(TimePoint now) {
  if (!selected_) {
    const bool all = std::ranges::all_of(
        remotes_, [](const Remote& r) { return r.check.verdict != ProbeVerdict::allowed || r.check.rtt; });
    window_end_ = std::min(window_end_, all ? now : now + kWindow);
    return;
  }
  for (const auto& r : remotes_) {
    if (!r.check.rtt || r.check.address == selected_->address) continue;
    const auto rtt = *r.check.rtt;
    const bool clearly_faster = rtt + kSwitchMargin < selected_->rtt && !is_tie(rtt, selected_->rtt);
    const bool shorter_way = detour(r.check.kind) < detour(selected_->kind) && r.check.kind == CandidateKind::host &&
                             (rtt < selected_->rtt || is_tie(rtt, selected_->rtt));
    if (!clearly_faster && !shorter_way) continue;
    selected_ = Reached{r.check.address, r.check.kind, rtt};
    changed_ = true;
  }
}

void PunchSession::run_timers(TimePoint now) {
  if (state_ == State::waiting) {
    if (start_ <= now) {
      state_ = State::punching;
    } else if (start_ == kNever && now >= created_ + kWaitForStart) {
      state_ = State::ended;
      changed_ = true;
    }
  }
  if (window_end_ <= now && (state_ == State::punching || state_ == State::failed)) {
    select();
    window_end_ = kNever;
    state_ = State::reached;
    end_ = now + kLinger;
    changed_ = true;
  }
  if (state_ == State::punching && window_end_ == kNever && fails_at() <= now) {
    state_ = State::failed;
    end_ = now + kLinger;
    changed_ = true;
  }
  if ((state_ == State::reached || state_ == State::failed) && window_end_ == kNever && end_ <= now)
    state_ = State::ended;
}

void PunchSession::select() {
  auto fastest = Duration::max();
  for (const auto& r : remotes_) fastest = std::min(fastest, r.check.rtt.value_or(Duration::max()));
  const Check* best = nullptr;
  const auto rank = [](const Check& c) {
    return std::tuple{detour(c.kind), c.address.ip.is_v4(), ~c.priority, *c.rtt};
  };
  for (const auto& r : remotes_) {
    if (!r.check.rtt || !is_tie(*r.check.rtt, fastest)) continue;
    if (best == nullptr || rank(r.check) < rank(*best)) best = &r.check;
  }
  if (best != nullptr) selected_ = Reached{best->address, best->kind, *best->rtt};
}

std::vector<Outgoing> PunchSession::poll(TimePoint now) {
  run_timers(now);
  auto out = std::exchange(answers_, {});
  answer_due_ = kNever;
  if (state_ == State::waiting || state_ == State::ended || next_slot_ > now) return out;
  if (auto* remote = next_due(now)) send_request(*remote, now, out);
  return out;
}

TimePoint PunchSession::deadline() const {
  auto at = answer_due_;
  switch (state_) {
    case State::waiting: return std::min(at, start_ == kNever ? created_ + kWaitForStart : start_);
    case State::punching: return std::min({at, next_request(), window_end_ == kNever ? fails_at() : window_end_});
    case State::reached:
    case State::failed: return std::min({at, next_request(), window_end_ == kNever ? end_ : window_end_});
    case State::ended: break;
  }
  return at;
}

bool PunchSession::take_change() { return std::exchange(changed_, false); }

std::vector<Check> PunchSession::checks() const {
  std::vector<Check> out;
  out.reserve(remotes_.size());
  for (const auto& r : remotes_) out.push_back(r.check);
  return out;
}

std::string_view to_string(ProbeFate fate) {
  switch (fate) {
    case ProbeFate::answered: return "answered";
    case ProbeFate::replayed: return "replayed";
    case ProbeFate::taken: return "taken";
    case ProbeFate::duplicate: return "duplicate";
    case ProbeFate::wrong_session: return "wrong_session";
    case ProbeFate::forged: return "forged";
    case ProbeFate::unknown_transaction: return "unknown_transaction";
    case ProbeFate::wrong_source: return "wrong_source";
    case ProbeFate::wrong_kind: return "wrong_kind";
    case ProbeFate::bad_source: return "bad_source";
    case ProbeFate::over_limit: return "over_limit";
    case ProbeFate::ended: return "ended";
    case ProbeFate::count_: break;
  }
  return "unknown";
}

std::string_view to_string(PunchSession::State state) {
  switch (state) {
    case PunchSession::State::waiting: return "waiting";
    case PunchSession::State::punching: return "punching";
    case PunchSession::State::reached: return "reached";
    case PunchSession::State::failed: return "failed";
    case PunchSession::State::ended: return "ended";
  }
  return "unknown";
}

}  // namespace ztna::path
