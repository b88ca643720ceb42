#include "path/birthday.h"

#include <algorithm>
#include <utility>

#include "path/probe_auth.h"

namespace ztna::path {
namespace {

using wire::NatFiltering;
using wire::NatMapping;
using wire::ProbeKind;

constexpr std::uint16_t kFirstPort = 1024;  // below it no NAT maps a source port from above it (RFC 4787 4.2.1)
constexpr unsigned kPorts = 65'536 - kFirstPort;
constexpr int kPredictionStep = 8;  // a NAT that counts gives the opener a row of ports: every eighth is enough
constexpr unsigned kPredictedBelow = 8;
constexpr Duration kConfirmEvery = 100ms;

bool is_symmetric(const NatKind& k) {
  return k.mapping == NatMapping::address_dependent || k.mapping == NatMapping::address_and_port_dependent;
}
/// One address for everybody, but closed to ports that were not sent to.
bool is_port_restricted(const NatKind& k) {
  return !is_symmetric(k) && k.mapping != NatMapping::unknown &&
         k.filtering == NatFiltering::address_and_port_dependent;
}

}  // namespace

std::optional<BirthdaySide> birthday_side(const NatKind& own, const NatKind& peer) {
  if (is_symmetric(own) && is_port_restricted(peer)) return BirthdaySide::opener;
  if (is_port_restricted(own) && is_symmetric(peer)) return BirthdaySide::prober;
  return std::nullopt;
}

Outlook outlook(const NatKind& a, const NatKind& b) {
  if (is_symmetric(a) && is_symmetric(b)) return Outlook::impossible;
  return birthday_side(a, b) ? Outlook::birthday : Outlook::direct;
}

BirthdaySearch::BirthdaySearch(Config config, Random& random) : config_(std::move(config)), random_(random) {}

unsigned BirthdaySearch::sockets_wanted() const { return config_.side == BirthdaySide::opener ? kSockets : 0; }

void BirthdaySearch::start(unsigned sockets, TimePoint now) {
  if (state_ != State::waiting) return;
  start_ = now;
  end_ = now + kBudget;
  if (config_.side == BirthdaySide::opener) {
    planned_total_ = std::min(sockets, kSockets);
  } else {
    choose_ports();
    planned_total_ = static_cast<unsigned>(ports_.size());
  }
  set_state(State::searching);
}

void BirthdaySearch::choose_ports() {
  std::set<std::uint16_t> taken;
  const auto add = [&](int port) {
    if (port < kFirstPort || port > 65'535) return;
    if (taken.insert(static_cast<std::uint16_t>(port)).second) ports_.push_back(static_cast<std::uint16_t>(port));
  };
  for (unsigned i = 1; i <= kPredicted - kPredictedBelow; ++i)
    add(config_.peer.port + static_cast<int>(i) * kPredictionStep);
  for (unsigned i = 1; i <= kPredictedBelow; ++i) add(config_.peer.port - static_cast<int>(i) * kPredictionStep);
  while (ports_.size() < kProbes) add(kFirstPort + static_cast<int>(random_.below(kPorts)));
}

/// When the n-th probe of the plan goes out.
TimePoint BirthdaySearch::planned(unsigned n) const {
  const bool opener = config_.side == BirthdaySide::opener;
  const auto begin = opener ? start_ : start_ + kOpening;
  return begin + (opener ? kOpening : kProbing) * n / std::max(planned_total_, 1U);
}

void BirthdaySearch::set_state(State state) {
  state_ = state;
  changed_ = true;
}

void BirthdaySearch::run_timers(TimePoint now) {
  if (state_ == State::searching && end_ <= now) {
    set_state(State::failed);
    end_ += kLinger;
  }
  if ((state_ == State::found || state_ == State::failed) && end_ <= now) {
    set_state(State::ended);
    hits_.clear();
  }
}

std::vector<BirthdaySearch::SocketProbe> BirthdaySearch::poll(TimePoint now) {
  run_timers(now);
  auto out = std::exchange(answers_, {});
  answer_due_ = kNever;
  if (state_ == State::searching) {
    while (next_ < planned_total_ && planned(next_) <= now) {
      const bool opener = config_.side == BirthdaySide::opener;
      const auto to = opener ? config_.peer : SocketAddress{config_.peer.ip, ports_[next_]};
      send_request(opener ? next_ + 1 : 0, to, now, out);
      ++next_;
    }
    for (auto& [path, hit] : hits_) {
      if (hit.next > now) continue;
      hit.next = ++hit.sent < kConfirmationsPerSocket ? now + kConfirmEvery : kNever;
      send_request(path.first, path.second, now, out);
    }
  }
  return out;
}

void BirthdaySearch::send_request(unsigned socket, const SocketAddress& to, TimePoint now,
                                  std::vector<SocketProbe>& out) {
  wire::Probe probe{.kind = ProbeKind::request, .session = config_.session, .address = to};
  probe.transaction.value = random_.array<12>();
  requests_[probe.transaction] = {socket, to, now};
  out.push_back({socket, to, wire::encode_probe(probe, config_.role, config_.mac)});
  ++sent_;
}

TimePoint BirthdaySearch::deadline() const {
  auto at = answer_due_;
  if (state_ == State::waiting || state_ == State::ended) return at;
  at = std::min(at, end_);
  if (state_ != State::searching) return at;
  if (next_ < planned_total_) at = std::min(at, planned(next_));
  for (const auto& [path, hit] : hits_) at = std::min(at, hit.next);
  return at;
}

ProbeFate BirthdaySearch::receive(unsigned socket, const SocketAddress& from, const wire::Probe& probe, TimePoint now) {
  run_timers(now);
  const auto fate = [&] {
    if (!wire::has_mac(probe.kind)) return ProbeFate::wrong_kind;
    if (probe.session != config_.session) return ProbeFate::wrong_session;
    if (state_ == State::waiting || state_ == State::ended) return ProbeFate::ended;
    return probe.kind == ProbeKind::request ? take_request(socket, from, probe, now)
                                            : take_response(socket, from, probe, now);
  }();
  fates_.add(fate);
  return fate;
}

bool BirthdaySearch::choose(unsigned socket, const SocketAddress& from) {
  if (config_.side == BirthdaySide::prober) return true;
  if (!chosen_) chosen_ = Chosen{socket, from};
  return chosen_->socket == socket;
}

ProbeFate BirthdaySearch::take_request(unsigned socket, const SocketAddress& from, const wire::Probe& probe,
                                       TimePoint now) {
  if (!is_authentic(probe, peer_of(config_.role), config_.mac)) return ProbeFate::forged;
  if (answered_.contains(probe.transaction)) return ProbeFate::replayed;
  if (from.ip != config_.peer.ip) return ProbeFate::bad_source;  // not the peer whom the Intermediate observed
  if (answered_.size() >= kMaxAnswers || !choose(socket, from)) return ProbeFate::over_limit;
  answered_.insert(probe.transaction);
  const wire::Probe response{
      .kind = ProbeKind::response, .session = config_.session, .transaction = probe.transaction, .address = from};
  answers_.push_back({socket, from, wire::encode_probe(response, config_.role, config_.mac)});
  answer_due_ = std::min(answer_due_, now);
  // A hit. Ask back, so that this end knows too that both directions work.
  if (hits_.size() < kMaxHits) hits_.try_emplace({socket, from}, Hit{.next = now});
  return ProbeFate::answered;
}

ProbeFate BirthdaySearch::take_response(unsigned socket, const SocketAddress& from, const wire::Probe& probe,
                                        TimePoint now) {
  const auto it = requests_.find(probe.transaction);
  if (it == requests_.end()) return ProbeFate::unknown_transaction;
  auto& request = it->second;
  if (!is_authentic(probe, peer_of(config_.role), config_.mac)) return ProbeFate::forged;
  if (from != request.to || socket != request.socket) return ProbeFate::wrong_source;
  if (request.answered) return ProbeFate::duplicate;
  if (!choose(socket, from)) return ProbeFate::over_limit;
  request.answered = true;
  if (!found_) {
    found_ = Found{socket, from, now - request.sent};
    end_ = now + kLinger;
    set_state(State::found);
  }
  return ProbeFate::taken;
}

bool BirthdaySearch::take_change() { return std::exchange(changed_, false); }

std::string_view to_string(BirthdaySide side) { return side == BirthdaySide::opener ? "opener" : "prober"; }

std::string_view to_string(Outlook outlook) {
  switch (outlook) {
    case Outlook::direct: return "direct";
    case Outlook::birthday: return "birthday";
    case Outlook::impossible: return "impossible";
  }
  return "unknown";
}

std::string_view to_string(BirthdaySearch::State state) {
  switch (state) {
    case BirthdaySearch::State::waiting: return "waiting";
    case BirthdaySearch::State::searching: return "searching";
    case BirthdaySearch::State::found: return "found";
    case BirthdaySearch::State::failed: return "failed";
    case BirthdaySearch::State::ended: return "ended";
  }
  return "unknown";
}

}  // namespace ztna::path
