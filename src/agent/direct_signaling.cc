// DirectPaths: sessions and their messages (docs/protocol.md 3).
#include <algorithm>
#include <utility>

#include "agent/direct_paths.h"
#include "base/log.h"

namespace ztna::agent {

DirectPaths::Entry* DirectPaths::entry_of(const wire::SessionId& session) {
  for (auto& [id, e] : entries_) {
    if (!e.gone && e.session == session) return &e;
  }
  return nullptr;
}

void DirectPaths::control_ready() {
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto& e = (it++)->second;  // driving it may end it
    // The relay is there again when RouteOpened comes: the Intermediate may have lost what it knew.
    e.manager.set_signaling(true, context_.now);
    drive(e);
  }
}

void DirectPaths::control_lost() {
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto& e = (it++)->second;
    e.manager.set_relay(false, context_.now);
    e.manager.set_signaling(false, context_.now);
    drive(e);
  }
}

bool DirectPaths::set_intermediate(const tunnel::IntermediateView& view) {
  punching_.set_intermediate(0, view, context_.now);
  // Seen elsewhere than before: the NAT gave us another address, or we are behind another one.
  const auto moved = [](std::optional<SocketAddress>& known, const std::optional<SocketAddress>& seen) {
    if (!seen) return false;
    return std::exchange(known, seen).value_or(*seen) != *seen;
  };
  const bool v4 = moved(observed_v4_, view.observed_v4);
  const bool v6 = moved(observed_v6_, view.observed_v6);
  if (v4 || v6) network_changed(&path::PathManager::seen_elsewhere);
  return v4 || v6;
}

void DirectPaths::begin_session(Entry& e) {
  const auto now = context_.now;
  end_session(e);
  e.record = {};
  e.method = wire::PunchingMethod::candidates;
  auto* connection = e.tunnel->connection();
  if (connection == nullptr || !control_.ready())
    return e.manager.not_punched(path::RelayReason::signaling_failed, now);
  const auto session = punching_.new_session();
  if (auto begun = punching_.begin(session, e.tunnel->id(), *connection, now); !begun) {
    log::warn("cannot look for a direct path", {{"connector", e.tunnel->connector()}, {"why", begun.error().text}});
    return e.manager.not_punched(path::RelayReason::signaling_failed, now);
  }
  e.session = session;
  if (punching_.local().candidates().empty()) {
    end_session(e);
    return e.manager.not_punched(path::RelayReason::no_candidates, now);
  }
  offer(e);
}

void DirectPaths::end_session(Entry& e) {
  const auto session = std::exchange(e.session, std::nullopt);
  if (!session) return;
  if (e.method == wire::PunchingMethod::candidates) return punching_.end(*session);
  if (!punching_.searching().looking(*session)) return punching_.searching().end(*session);
  punching_.searching().end(*session);
  search_over(e, tunnel::SearchEnd::given_up);
}

void DirectPaths::offer(Entry& e) {
  auto candidates = punching_.take_untold(*e.session);
  if (candidates.empty()) return;
  e.record.offered += candidates.size();
  const auto kind = punching_.nat().kind();
  control_.send(wire::CandidateOffer{*e.session, e.tunnel->id(), kind.mapping, kind.filtering, std::move(candidates)});
}

void DirectPaths::on_local_changed() {
  for (const auto& session : punching_.looking()) {
    if (auto* e = entry_of(session)) offer(*e);
  }
}

bool DirectPaths::take(const wire::ControlMessage& message) {
  const auto now = context_.now;
  if (const auto* answer = std::get_if<wire::CandidateAnswer>(&message)) {
    auto* e = entry_of(answer->session);
    if (e == nullptr || answer->tunnel != e->tunnel->id() || answer->method != e->method) {
      stray_messages_.add();
      return true;
    }
    e->record.peer = {answer->mapping, answer->filtering};
    if (e->method == wire::PunchingMethod::birthday) return true;  // where it is, StartPunching says
    e->record.answered += answer->candidates.size();
    punching_.add_remote(answer->session, answer->candidates, now);
    punching_.add_remembered(answer->session, now);
  } else if (const auto* start = std::get_if<wire::StartPunching>(&message)) {
    auto* e = entry_of(start->session);
    if (e != nullptr && e->method == wire::PunchingMethod::birthday) {
      start_search(*e, *start);
    } else if (e == nullptr || !punching_.start(start->session, Millis{start->delay_ms}, now, start->peer)) {
      stray_messages_.add();
    }
  } else if (const auto* error = std::get_if<wire::SignalingError>(&message)) {
    auto* e = entry_of(error->session);
    if (e == nullptr) {
      stray_messages_.add();
      return true;
    }
    log::debug("signaling failed", {{"connector", e->tunnel->connector()}, {"why", wire::to_string(error->code)}});
    if (e->method == wire::PunchingMethod::birthday) {
      search_refused(*e, error->code);
      return true;
    }
    end_session(*e);
    const bool disabled = error->code == wire::SignalingErrorCode::disabled;
    e->manager.not_punched(disabled ? path::RelayReason::peer_disabled : path::RelayReason::signaling_failed, now);
    drive(*e);
  } else if (const auto* report = std::get_if<wire::PathReport>(&message)) {
    auto* e = entry(report->tunnel);
    if (e == nullptr || report->kind != wire::PathKind::direct) {
      stray_messages_.add();
      return true;
    }
    e->manager.peer_report(report->heard, now);
    drive(*e);
  } else {
    // The Connector's result is of no use: what counts is what our own probes reached.
    return std::holds_alternative<wire::PunchingResult>(message);
  }
  return true;
}

void DirectPaths::on_punched(const wire::SessionId& session, const wire::TunnelId& tunnel,
                             const path::PunchSession& punch) {
  auto* e = entry(tunnel);
  if (e == nullptr || e->session != session || !punch.selected()) return;
  e->record.checks = punch.checks();
  const auto reached = *punch.selected();
  control_.send(wire::PunchingResult{session, wire::PunchingOutcome::reached, reached.address});
  e->manager.punched(reached.address, reached.rtt, context_.now);
  drive(*e);
}

void DirectPaths::on_not_punched(const wire::SessionId& session, const wire::TunnelId& tunnel,
                                 const path::PunchSession& punch) {
  auto* e = entry(tunnel);
  if (e == nullptr || e->session != session) return;
  e->record.checks = punch.checks();
  control_.send(wire::PunchingResult{session, wire::PunchingOutcome::failed, {}});
  punching_.searching().not_punched(tunnel);
  const auto reason = reason_of(*e);
  if (reason != path::RelayReason::symmetric_with_port_restricted || !begin_search(*e))
    e->manager.not_punched(reason_without_search(*e, reason), context_.now);
  drive(*e);
}

path::RelayReason DirectPaths::reason_of(const Entry& e) const {
  using State = path::NatReport::State;
  path::PunchFacts facts;
  const auto own = punching_.nat().kind();
  facts.own_mapping = own.mapping;
  facts.own_filtering = own.filtering;
  facts.peer_mapping = e.record.peer.mapping;
  facts.peer_filtering = e.record.peer.filtering;
  facts.own_candidates = e.record.offered;
  facts.peer_candidates = static_cast<std::size_t>(std::ranges::count_if(
      e.record.checks, [](const auto& check) { return check.verdict == path::ProbeVerdict::allowed; }));
  // The Intermediate's own port works, or there were no signaling: what counts is whether another one does.
  const auto blocked = [&](Family family) { return punching_.nat().report(family).other_port_blocked; };
  const auto open = [&](Family family) {
    return punching_.nat().report(family).state == State::done && !blocked(family);
  };
  facts.udp_blocked = (blocked(Family::v4) || blocked(Family::v6)) && !open(Family::v4) && !open(Family::v6);
  return path::why_not_reached(facts);
}

}  // namespace ztna::agent
