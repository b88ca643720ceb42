#include "path/nat_discovery.h"

#include <algorithm>
#include <utility>

#include "wire/role.h"

namespace ztna::path {
namespace {

using wire::NatFiltering;
using wire::NatMapping;
using wire::ProbeKind;

constexpr Duration kRetransmit[] = {100ms, 200ms, 400ms, 800ms};
/// For an answer to the last request while no round trip was measured; with one, three of them.
constexpr Duration kPatience = 600ms;
constexpr Duration kLeastPatience = 300ms;

}  // namespace

void NatDiscovery::start(const Targets& targets, std::span<const SocketAddress> own, TimePoint now) {
  if (running() && targets == targets_ && std::ranges::equal(own, own_)) return;  // already at it
  targets_ = targets;
  own_.assign(own.begin(), own.end());
  run_ = {.state = NatReport::State::running};
  filter_passed_ = false;
  skip_filter_ = false;
  session_.value = random_.array<8>();
  enter(Step::main, now);
}

void NatDiscovery::reset() {
  step_ = Step::idle;
  next_ = kNever;
  outstanding_.clear();
  if (report_.state != NatReport::State::not_run) changed_ = true;
  report_ = {};
}

/// Begins a step, or passes over it when it has no target.
void NatDiscovery::enter(Step step, TimePoint now) {
  outstanding_.clear();
  const bool possible = step == Step::filter || step == Step::other ? targets_.other.has_value()
                        : step == Step::second                      ? targets_.second.has_value()
                                                                    : true;
  const bool wanted = !(step == Step::filter && skip_filter_);
  if (!possible || !wanted) return step_over(step, now);
  step_ = step;
  sent_ = 0;
  next_ = now;
}

void NatDiscovery::step_over(Step step, TimePoint now) {
  switch (step) {
    case Step::main: return enter(Step::filter, now);
    case Step::filter: return enter(Step::other, now);
    case Step::other: return enter(Step::second, now);
    case Step::second:
    case Step::idle: return conclude(now);
  }
}

unsigned NatDiscovery::sends_of(Step step) const { return step == Step::filter ? kFilterSends : kSends; }

Duration NatDiscovery::patience() const {
  return run_.rtt ? std::max<Duration>(kLeastPatience, 3 * *run_.rtt) : kPatience;
}

NatDiscovery::Fate NatDiscovery::receive(const SocketAddress& from, const wire::Probe& probe, TimePoint now) {
  if (probe.kind != ProbeKind::open_response) return Fate::wrong_kind;
  const auto it = outstanding_.find(probe.transaction);
  if (it == outstanding_.end() || probe.session != session_) return Fate::unknown_transaction;
  if (from != it->second.expected_from || probe.address.ip.family() != targets_.main.ip.family()) {
    return Fate::wrong_source;
  }
  const auto rtt = now - it->second.at;
  switch (step_) {
    case Step::main:
      run_.observed = probe.address;
      run_.rtt = rtt;
      if (same_as_before(now)) {
        run_ = report_;
        run_.rtt = rtt;
        enter(Step::second, now);
        return Fate::taken;
      }
      skip_filter_ = touched(now);
      break;
    case Step::filter: filter_passed_ = true; break;
    case Step::other: run_.observed_other = probe.address; break;
    case Step::second: run_.observed_second = probe.address; break;
    case Step::idle: break;
  }
  step_over(step_, now);
  return Fate::taken;
}

/// The NAT, and what its filter remembers of us, are those of the last report.
bool NatDiscovery::same_as_before(TimePoint now) const {
  return report_.state == NatReport::State::done && report_.observed == run_.observed && touched(now) &&
         report_.kind.mapping != NatMapping::unknown;
}

/// The filter may still let the other port in because we sent there.
bool NatDiscovery::touched(TimePoint now) const {
  return touched_ && touched_->other == targets_.other && touched_->observed == run_.observed &&
         now - touched_->at < kFilterMemory;
}

std::vector<Outgoing> NatDiscovery::poll(TimePoint now) {
  std::vector<Outgoing> out;
  while (step_ != Step::idle && next_ <= now) {
    if (sent_ < sends_of(step_)) {
      send(now, out);
    } else if (step_ == Step::main) {
      run_.state = NatReport::State::udp_blocked;
      conclude(now);
    } else {
      step_over(step_, now);
    }
  }
  return out;
}

void NatDiscovery::send(TimePoint now, std::vector<Outgoing>& out) {
  const auto to = step_ == Step::other ? *targets_.other : step_ == Step::second ? *targets_.second : targets_.main;
  wire::Probe probe{.kind = step_ == Step::filter ? ProbeKind::open_request_other : ProbeKind::open_request,
                    .session = session_,
                    .address = to};
  probe.transaction.value = random_.array<12>();
  outstanding_[probe.transaction] = {now, step_ == Step::filter ? *targets_.other : to};
  out.push_back({to, wire::encode_probe(probe, wire::Role::agent)});
  if (step_ == Step::other) touched_ = Touched{targets_.other, run_.observed, now};
  ++sent_;
  next_ = now + (sent_ < sends_of(step_) ? kRetransmit[sent_ - 1] : patience());
}

TimePoint NatDiscovery::deadline() const { return step_ == Step::idle ? kNever : next_; }

/// The verdict of RFC 5780 4.3 and 4.4, as far as the addresses that we have can tell.
void NatDiscovery::conclude(TimePoint now) {
  auto& kind = run_.kind;
  if (run_.state != NatReport::State::udp_blocked) {
    run_.state = NatReport::State::done;
    const bool own = std::ranges::find(own_, *run_.observed) != own_.end();
    run_.other_port_blocked = targets_.other && !run_.observed_other;
    if (own) {
      kind.mapping = NatMapping::none;
      run_.mapping_exact = true;
    } else if (run_.observed_other && run_.observed_other != run_.observed) {
      kind.mapping = NatMapping::address_and_port_dependent;
      run_.mapping_exact = true;
    } else if (run_.observed_second) {
      const bool same = run_.observed_second == run_.observed;
      // Without the other port a difference may be the address's or the port's doing; say the one that is worse.
      kind.mapping = same                  ? NatMapping::endpoint_independent
                     : run_.observed_other ? NatMapping::address_dependent
                                           : NatMapping::address_and_port_dependent;
      run_.mapping_exact = same || run_.observed_other.has_value();
    } else if (run_.observed_other) {
      kind.mapping = NatMapping::endpoint_independent;
      run_.mapping_exact = false;
    }
    if (kind.filtering == NatFiltering::unknown && run_.observed_other && !skip_filter_) {
      run_.filtering_exact = !filter_passed_;
      kind.filtering = !filter_passed_ ? NatFiltering::address_and_port_dependent
                       : own           ? NatFiltering::none
                                       : NatFiltering::address_dependent;
    }
  }
  run_.finished = now;
  report_ = run_;
  step_ = Step::idle;
  next_ = kNever;
  outstanding_.clear();
  changed_ = true;
}

bool NatDiscovery::take_change() { return std::exchange(changed_, false); }

std::string_view to_string(NatDiscovery::Fate fate) {
  switch (fate) {
    case NatDiscovery::Fate::taken: return "taken";
    case NatDiscovery::Fate::unknown_transaction: return "unknown_transaction";
    case NatDiscovery::Fate::wrong_source: return "wrong_source";
    case NatDiscovery::Fate::wrong_kind: return "wrong_kind";
    case NatDiscovery::Fate::count_: break;
  }
  return "unknown";
}

}  // namespace ztna::path
