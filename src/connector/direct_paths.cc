#include "connector/direct_paths.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/log.h"
#include "tunnel/path_sample.h"

namespace ztna::connector {
namespace {

std::optional<PathTrouble> trouble_of(path::PathHealth health) {
  switch (health) {
    case path::PathHealth::alive: return std::nullopt;
    case path::PathHealth::silent: return PathTrouble::silent;
    case path::PathHealth::unacknowledged: return PathTrouble::unacknowledged;
    case path::PathHealth::large_lost: return PathTrouble::large_lost;
  }
  return std::nullopt;
}

/// What the Agent is told of an offer that comes to nothing.
std::optional<wire::SignalingErrorCode> error_of(OfferOutcome outcome) {
  using Code = wire::SignalingErrorCode;
  switch (outcome) {
    case OfferOutcome::disabled:
    case OfferOutcome::birthday_disabled: return Code::disabled;
    case OfferOutcome::birthday_no_use: return Code::no_use;
    case OfferOutcome::no_tunnel: return Code::peer_gone;
    case OfferOutcome::not_yours: return Code::not_yours;
    case OfferOutcome::limit:
    case OfferOutcome::birthday_paused:
    case OfferOutcome::failed: return Code::limit;
    case OfferOutcome::answered:
    case OfferOutcome::searching:
    case OfferOutcome::continued:
    case OfferOutcome::count_: break;
  }
  return std::nullopt;
}

}  // namespace

std::string_view to_string(OfferOutcome outcome) {
  switch (outcome) {
    case OfferOutcome::answered: return "answered";
    case OfferOutcome::continued: return "continued";
    case OfferOutcome::disabled: return "disabled";
    case OfferOutcome::no_tunnel: return "no_tunnel";
    case OfferOutcome::not_yours: return "not_yours";
    case OfferOutcome::limit: return "limit";
    case OfferOutcome::searching: return "searching";
    case OfferOutcome::birthday_disabled: return "birthday_disabled";
    case OfferOutcome::birthday_paused: return "birthday_paused";
    case OfferOutcome::birthday_no_use: return "birthday_no_use";
    case OfferOutcome::failed: return "failed";
    case OfferOutcome::count_: break;
  }
  return "unknown";
}

std::string_view to_string(PathTrouble trouble) {
  switch (trouble) {
    case PathTrouble::silent: return "silent";
    case PathTrouble::unacknowledged: return "unacknowledged";
    case PathTrouble::large_lost: return "large_lost";
    case PathTrouble::count_: break;
  }
  return "unknown";
}

DirectPaths::DirectPaths(DirectOptions options, tunnel::UdpPort& udp, Random& random, const TimePoint& now,
                         DirectPathsOwner& owner, tunnel::SideSockets* side)
    : enabled_(options.enabled),
      birthday_(options.birthday),
      now_(now),
      owner_(owner),
      punching_(wire::Role::connector, udp, random, static_cast<tunnel::PunchingOwner&>(*this),
                std::move(options.local), side) {}

void DirectPaths::set_options(DirectOptions options) {
  enabled_ = options.enabled;
  birthday_ = options.birthday;
  punching_.set_options(std::move(options.local), now_);
}

void DirectPaths::network_changed() {
  punching_.searching().network_changed([this](const wire::TunnelId& id) { return direct_.contains(id); });
  punching_.network_changed(now_);
}

// -- signaling -----------------------------------------------------------------------------------------------------

DirectPaths::Known* DirectPaths::known(const wire::SessionId& session, std::size_t upstream) {
  const auto found = known_.find(session);
  if (found == known_.end() || found->second.upstream != upstream) return nullptr;
  return &found->second;
}

bool DirectPaths::take(std::size_t upstream, const wire::ControlMessage& message) {
  if (const auto* offer = std::get_if<wire::CandidateOffer>(&message)) {
    const auto outcome = take_offer(upstream, *offer);
    offers_.add(outcome);
    if (const auto code = error_of(outcome)) {
      owner_.send_to(upstream, wire::SignalingError{offer->session, *code, std::string{to_string(outcome)}});
    }
    return true;
  }
  if (const auto* start = std::get_if<wire::StartPunching>(&message)) {
    auto* session = known(start->session, upstream);
    if (session != nullptr && session->side) {
      start_search(*session, *start);
    } else if (session == nullptr || !punching_.start(start->session, Millis{start->delay_ms}, now_, start->peer)) {
      stray_messages_.add();
    }
    return true;
  }
  if (const auto* error = std::get_if<wire::SignalingError>(&message)) {
    if (known(error->session, upstream) == nullptr) {
      stray_messages_.add();
    } else {
      punching_.end(error->session);
      if (punching_.searching().looking(error->session)) punching_.searching().count(tunnel::SearchEnd::given_up);
      punching_.searching().end(error->session);
      known_.erase(error->session);
    }
    return true;
  }
  // The Agent's result is of no use: its migration says more. Its view of a path is its own affair.
  return std::holds_alternative<wire::PunchingResult>(message) || std::holds_alternative<wire::PathReport>(message);
}

OfferOutcome DirectPaths::take_offer(std::size_t upstream, const wire::CandidateOffer& offer) {
  if (!enabled_) return OfferOutcome::disabled;
  if (offer.method == wire::PunchingMethod::birthday) return take_search(upstream, offer);
  if (const auto found = known_.find(offer.session);
      found != known_.end() && punching_.find(offer.session) != nullptr) {
    auto& session = found->second;
    if (session.upstream != upstream || session.tunnel != offer.tunnel) return OfferOutcome::not_yours;
    punching_.add_remote(offer.session, offer.candidates, now_);
    return OfferOutcome::continued;
  }
  auto* connection = owner_.established_connection(offer.tunnel);
  if (connection == nullptr) return OfferOutcome::no_tunnel;
  if (!owner_.has_route(offer.tunnel, upstream)) return OfferOutcome::not_yours;
  if (const auto begun = punching_.begin(offer.session, offer.tunnel, *connection, now_); !begun) {
    log::warn("cannot look for a direct path",
              {{"tunnel", wire::to_string(offer.tunnel)}, {"why", begun.error().text}});
    return begun.error().code == Errc::crypto ? OfferOutcome::failed : OfferOutcome::limit;
  }
  auto& session = known_[offer.session];
  session = {upstream, offer.tunnel, {}, false, std::nullopt};
  answer(offer.session, session, true);
  punching_.add_remote(offer.session, offer.candidates, now_);
  punching_.add_remembered(offer.session, now_);
  return OfferOutcome::answered;
}

void DirectPaths::answer(const wire::SessionId& id, Known& session, bool first) {
  auto candidates = punching_.take_untold(id);
  const auto kind = punching_.nat().kind();
  if (!first && candidates.empty() && kind == session.told) return;
  session.told = kind;
  owner_.send_to(session.upstream,
                 wire::CandidateAnswer{id, session.tunnel, kind.mapping, kind.filtering, std::move(candidates)});
}

void DirectPaths::on_local_changed() {
  for (const auto& id : punching_.looking()) {
    if (const auto found = known_.find(id); found != known_.end()) answer(id, found->second, false);
  }
}

void DirectPaths::on_punched(const wire::SessionId& session, const wire::TunnelId& tunnel,
                             const path::PunchSession& punch) {
  log::debug("agent reached", {{"tunnel", wire::to_string(tunnel)}, {"at", to_string(punch.selected()->address)}});
  send_result(session, wire::PunchingOutcome::reached, punch.selected()->address);
}

void DirectPaths::on_not_punched(const wire::SessionId& session, const wire::TunnelId& tunnel,
                                 const path::PunchSession& punch) {
  log::debug("agent not reached", {{"tunnel", wire::to_string(tunnel)}, {"addresses", punch.checks().size()}});
  punching_.searching().not_punched(tunnel);
  send_result(session, wire::PunchingOutcome::failed, {});
}

/// Once a session: the Intermediate ends it when both ends have spoken.
void DirectPaths::send_result(const wire::SessionId& id, wire::PunchingOutcome outcome, const SocketAddress& reached) {
  const auto found = known_.find(id);
  if (found == known_.end() || std::exchange(found->second.result_sent, true)) return;
  owner_.send_to(found->second.upstream, wire::PunchingResult{id, outcome, reached});
}

// -- paths ---------------------------------------------------------------------------------------------------------

void DirectPaths::path_changed(const wire::TunnelId& tunnel, bool direct, const SocketAddress& remote) {
  const bool was_direct = direct_.contains(tunnel);
  if (direct) {
    punching_.searching().use(tunnel, remote);
    direct_[tunnel] = {};
    if (!was_direct) moved_to_direct_.add();
    look_at_ = std::min(look_at_, now_ + kLook);
  } else if (direct_.erase(tunnel) != 0) {
    punching_.searching().left(tunnel);
    moved_to_relay_.add();
  }
  direct_now_.set(direct_.size());
}

void DirectPaths::tunnel_closed(const wire::TunnelId& tunnel) {
  punching_.end_tunnel(tunnel);
  punching_.searching().end_tunnel(tunnel);
  pauses_.erase(tunnel);
  direct_.erase(tunnel);
  direct_now_.set(direct_.size());
}

void DirectPaths::flushed() {
  // What left just now may be the first to wait on a path.
  if (!direct_.empty()) look_at_ = std::min(look_at_, now_ + kLook);
}

void DirectPaths::on_deadline() {
  if (punching_.deadline() <= now_) punching_.on_deadline(now_);
  if (look_at_ <= now_) look();
}

void DirectPaths::look() {
  look_at_ = kNever;
  for (auto& [id, direct] : direct_) {
    auto* connection = owner_.established_connection(id);
    if (connection == nullptr) continue;
    const auto sample = tunnel::path_sample(*connection);
    const auto health = path::judge(sample, now_);
    const auto trouble = trouble_of(health);
    auto next = path::next_judgement(sample);
    if (trouble.has_value() != direct.deaf) {
      log::info(trouble ? "direct path is deaf" : "direct path is heard again",
                {{"tunnel", wire::to_string(id)}, {"health", path::to_string(health)}});
    }
    if (trouble.has_value() != direct.deaf || (trouble && now_ >= direct.reported + kReportAgain)) {
      direct = {trouble.has_value(), now_};
      if (trouble) reports_.add(*trouble);
      owner_.send_by_routes(id, wire::PathReport{id, wire::PathKind::direct, !trouble});
    }
    if (trouble) next = direct.reported + kReportAgain;
    look_at_ = std::min(look_at_, std::max(next, now_ + Duration{1ms}));
  }
}

void DirectPaths::tick() {
  std::erase_if(known_, [this](const auto& entry) {
    return punching_.find(entry.first) == nullptr && !punching_.searching().contains(entry.first);
  });
}

void DirectPaths::declare_metrics(Metrics& metrics) const {
  metrics.gauge("ztna_connector_direct_tunnels", "Agents' tunnels that are on a direct path now.", direct_now_);
  const auto moved = [&metrics](const char* to, const Counter& counter) {
    metrics.add({"ztna_connector_path_changes_total",
                 "Tunnels that moved from the relay to a direct path, or back.",
                 Metric::Kind::counter,
                 {{"to", to}},
                 [&counter] { return static_cast<double>(counter.value()); }});
  };
  moved("direct", moved_to_direct_);
  moved("relay", moved_to_relay_);
  metrics.counters("ztna_connector_path_reports_total",
                   "PathReports that told an Agent of a deaf direct path, by what is wrong with it.", "health",
                   reports_);
  metrics.counters("ztna_connector_offers_total", "CandidateOffers of Agents, by what became of them.", "outcome",
                   offers_);
  metrics.counter("ztna_connector_stray_signaling_total", "Messages of punching sessions that are not known.",
                  stray_messages_);
  metrics.gauge("ztna_connector_punching_sessions", "Punching sessions that live now.", punching_.live());
  metrics.counter("ztna_connector_punched_total", "Punching sessions in which the Agent was reached.",
                  punching_.sessions_punched());
  metrics.counter("ztna_connector_not_punched_total", "Punching sessions in which nothing answered in time.",
                  punching_.sessions_failed());
  metrics.counter("ztna_connector_probes_sent_total", "Path probes sent, also those for NAT discovery.",
                  punching_.probes_sent());
  metrics.counter("ztna_connector_probes_withheld_total",
                  "Path probes not sent: their IP has had its share and never answered", punching_.probes_withheld());
  const auto& searching = punching_.searching();
  metrics.counters("ztna_connector_birthday_searches_total",
                   "Birthday searches begun or answered, by what became of them.", "result", searching.ends());
  metrics.counter("ztna_connector_birthday_requests_sent_total",
                  "Path probes that birthday searches sent, answers excluded.", searching.requests_sent());
  metrics.gauge("ztna_connector_birthday_sockets", "Sockets that birthday searches and the paths they found have open.",
                searching.sockets());
  metrics.counter("ztna_connector_birthday_sockets_missing_total",
                  "Sockets that birthday searches could not open, as for a limit on descriptors.",
                  searching.sockets_missing());
  metrics.counters("ztna_connector_probes_total", "Path probes that arrived, by what became of them.", "fate",
                   punching_.arrivals());
}

}  // namespace ztna::connector
