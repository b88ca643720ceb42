// DirectPaths: birthday searches, which the Agent asks for (docs/direct-paths.md).
#include <utility>

#include "base/log.h"
#include "connector/direct_paths.h"

namespace ztna::connector {

using tunnel::SearchEnd;

namespace {

/// The Agent reckons from its own beginnings, and its messages may be faster this time than the last.
constexpr Duration kLeeway = 1s;

}  // namespace

OfferOutcome DirectPaths::take_search(std::size_t upstream, const wire::CandidateOffer& offer) {
  auto& searching = punching_.searching();
  if (!birthday_) {
    searching.count(SearchEnd::off);
    return OfferOutcome::birthday_disabled;
  }
  if (searching.contains(offer.session)) return OfferOutcome::continued;
  auto* connection = owner_.established_connection(offer.tunnel);
  if (connection == nullptr) return OfferOutcome::no_tunnel;
  if (!owner_.has_route(offer.tunnel, upstream)) return OfferOutcome::not_yours;
  const auto kind = punching_.nat().kind();
  const auto side = path::birthday_side(kind, {offer.mapping, offer.filtering});
  if (!side) return OfferOutcome::birthday_no_use;
  auto& pause = pauses_[offer.tunnel];
  if (!pause.may_begin(now_)) {
    searching.count(SearchEnd::paused);
    return OfferOutcome::birthday_paused;
  }
  if (const auto begun = searching.begin(offer.session, offer.tunnel, *connection, now_); !begun) {
    log::warn("cannot search for a direct path",
              {{"tunnel", wire::to_string(offer.tunnel)}, {"why", begun.error().text}});
    searching.count(SearchEnd::limit);
    return begun.error().code == Errc::crypto ? OfferOutcome::failed : OfferOutcome::limit;
  }
  pause.began(now_ - kLeeway);
  known_[offer.session] = {upstream, offer.tunnel, kind, false, side};
  owner_.send_to(upstream,
                 wire::CandidateAnswer{
                     offer.session, offer.tunnel, kind.mapping, kind.filtering, {}, wire::PunchingMethod::birthday});
  return OfferOutcome::searching;
}

void DirectPaths::start_search(Known& session, const wire::StartPunching& start) {
  auto& searching = punching_.searching();
  // The Intermediate vouches for the address; whether it may be probed at all is ours to judge.
  const bool allowed =
      start.peer.ip.is_v4() && punching_.local().policy().judge(start.peer, {}) == path::ProbeVerdict::allowed;
  if (allowed) {
    if (!searching.start(start.session, *session.side, start.peer, Millis{start.delay_ms}, now_)) stray_messages_.add();
    return;
  }
  searching.end(start.session);
  searching.count(start.peer.ip.is_v4() ? SearchEnd::bad_address : SearchEnd::no_ipv4);
  owner_.send_to(session.upstream,
                 wire::SignalingError{start.session, wire::SignalingErrorCode::bad_candidate, "birthday search"});
  known_.erase(start.session);
}

void DirectPaths::on_search_found(const wire::SessionId& session, const wire::TunnelId& tunnel,
                                  const path::BirthdaySearch::Found& found) {
  log::debug("agent found by a birthday search",
             {{"tunnel", wire::to_string(tunnel)}, {"at", to_string(found.remote)}});
  if (const auto pause = pauses_.find(tunnel); pause != pauses_.end()) pause->second.found();
  send_result(session, wire::PunchingOutcome::reached, found.remote);
}

void DirectPaths::on_search_failed(const wire::SessionId& session, const wire::TunnelId& tunnel, SearchEnd why) {
  log::debug("agent not found by a birthday search",
             {{"tunnel", wire::to_string(tunnel)}, {"why", tunnel::to_string(why)}});
  send_result(session, wire::PunchingOutcome::failed, {});
}

}  // namespace ztna::connector
