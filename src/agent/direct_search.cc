// DirectPaths: birthday searches (docs/direct-paths.md), begun where an ordinary session cannot get through.
#include <utility>

#include "agent/direct_paths.h"
#include "base/log.h"

namespace ztna::agent {

using tunnel::SearchEnd;

/// Whether a search is of use and allowed now; else why not is noted and counted.
bool DirectPaths::may_search(Entry& e) {
  if (!path::birthday_side(punching_.nat().kind(), e.record.peer)) return false;
  if (punching_.searching().remembered(e.tunnel->id())) return false;
  const auto why_not = [&]() -> std::optional<SearchEnd> {
    if (!options_.birthday) return SearchEnd::off;
    if (!observed_v4_) return SearchEnd::no_ipv4;
    if (!e.pause.may_begin(context_.now)) return SearchEnd::paused;
    return std::nullopt;
  }();
  if (!why_not) return true;
  punching_.searching().count(*why_not);
  // What the last one came to says more than that the next one is not due.
  if (*why_not != SearchEnd::paused) e.searched = why_not;
  return false;
}

/// In place of the session that has just failed; for the manager it goes on. False: there is none.
bool DirectPaths::begin_search(Entry& e) {
  auto* connection = e.tunnel->connection();
  if (connection == nullptr || !control_.ready() || !may_search(e)) return false;
  const auto session = punching_.new_session();
  auto& searching = punching_.searching();
  if (auto begun = searching.begin(session, e.tunnel->id(), *connection, context_.now); !begun) {
    log::warn("cannot search for a direct path", {{"connector", e.tunnel->connector()}, {"why", begun.error().text}});
    searching.count(SearchEnd::limit);
    e.searched = SearchEnd::limit;
    return false;
  }
  end_session(e);
  e.session = session;
  e.method = wire::PunchingMethod::birthday;
  e.searched.reset();
  e.pause.began(context_.now);
  const auto kind = punching_.nat().kind();
  control_.send(wire::CandidateOffer{session, e.tunnel->id(), kind.mapping, kind.filtering, {}, e.method});
  return true;
}

void DirectPaths::start_search(Entry& e, const wire::StartPunching& start) {
  const auto side = path::birthday_side(punching_.nat().kind(), e.record.peer);
  // The Intermediate vouches for the address; whether it may be probed at all is ours to judge.
  const bool allowed =
      start.peer.ip.is_v4() && punching_.local().policy().judge(start.peer, {}) == path::ProbeVerdict::allowed;
  if (side && allowed) {
    if (!punching_.searching().start(start.session, *side, start.peer, Millis{start.delay_ms}, context_.now))
      stray_messages_.add();
    return;
  }
  control_.send(wire::SignalingError{start.session,
                                     side ? wire::SignalingErrorCode::bad_candidate : wire::SignalingErrorCode::no_use,
                                     "birthday search"});
  punching_.searching().end(start.session);
  search_over(e, start.peer.ip.is_v4() ? SearchEnd::bad_address : SearchEnd::no_ipv4);
  e.manager.not_punched(path::RelayReason::symmetric_with_port_restricted, context_.now);
  drive(e);
}

void DirectPaths::search_refused(Entry& e, wire::SignalingErrorCode code) {
  if (!e.session || !punching_.searching().looking(*e.session)) return end_session(e);  // it is over here
  const auto end = [&] {
    switch (code) {
      case wire::SignalingErrorCode::disabled: return SearchEnd::off_at_peer;
      case wire::SignalingErrorCode::limit: return SearchEnd::limit;
      case wire::SignalingErrorCode::bad_candidate: return SearchEnd::bad_address;
      default: return SearchEnd::not_signaled;
    }
  }();
  log::debug("birthday search refused", {{"connector", e.tunnel->connector()}, {"why", wire::to_string(code)}});
  punching_.searching().end(*e.session);
  search_over(e, end);
  e.manager.not_punched(reason_without_search(e, path::RelayReason::symmetric_with_port_restricted), context_.now);
  drive(e);
}

/// It ended without success, and not by itself.
void DirectPaths::search_over(Entry& e, SearchEnd end) {
  e.session.reset();
  e.searched = end;
  punching_.searching().count(end);
}

/// The configuration has just switched it off.
void DirectPaths::stop_search(Entry& e) {
  if (e.method != wire::PunchingMethod::birthday || !e.session || !punching_.searching().looking(*e.session)) return;
  punching_.searching().end(*e.session);
  search_over(e, SearchEnd::off);
  e.manager.not_punched(path::RelayReason::birthday_disabled, context_.now);
}

void DirectPaths::on_search_found(const wire::SessionId& session, const wire::TunnelId& tunnel,
                                  const path::BirthdaySearch::Found& found) {
  auto* e = entry(tunnel);
  if (e == nullptr || e->session != session) return;
  e->searched = SearchEnd::found;
  e->pause.found();
  control_.send(wire::PunchingResult{session, wire::PunchingOutcome::reached, found.remote});
  e->manager.punched(found.remote, found.rtt, context_.now);
  drive(*e);
}

void DirectPaths::on_search_failed(const wire::SessionId& session, const wire::TunnelId& tunnel, SearchEnd why) {
  auto* e = entry(tunnel);
  if (e == nullptr || e->session != session) return;
  e->searched = why;
  control_.send(wire::PunchingResult{session, wire::PunchingOutcome::failed, {}});
  e->manager.not_punched(path::RelayReason::symmetric_with_port_restricted, context_.now);
  drive(*e);
}

path::RelayReason DirectPaths::reason_without_search(const Entry& e, path::RelayReason reason) const {
  if (reason != path::RelayReason::symmetric_with_port_restricted || !e.searched) return reason;
  if (*e.searched == SearchEnd::off) return path::RelayReason::birthday_disabled;
  if (*e.searched == SearchEnd::off_at_peer) return path::RelayReason::peer_birthday_disabled;
  return reason;
}

/// For `status`: empty where a search was never of use.
std::string DirectPaths::search_text(const Entry& e) const {
  if (e.session && e.method == wire::PunchingMethod::birthday && punching_.searching().looking(*e.session))
    return "searching";
  return e.searched ? std::string{tunnel::to_string(*e.searched)} : std::string{};
}

}  // namespace ztna::agent
