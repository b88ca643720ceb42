#include "intermediate/signaling.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/log.h"
#include "identity/certificate.h"

namespace ztna::intermediate {
namespace {

constexpr std::size_t kMaxText = 120;  // of a client's error, for the other

wire::SignalingErrorCode code_of(SignalingRefusal refusal) {
  using Code = wire::SignalingErrorCode;
  switch (refusal) {
    case SignalingRefusal::not_yours: return Code::not_yours;
    case SignalingRefusal::limit: return Code::limit;
    case SignalingRefusal::peer_gone: return Code::peer_gone;
    case SignalingRefusal::bad_candidate: return Code::bad_candidate;
    default: return Code::unknown_session;
  }
}

std::uint16_t in_ms(Duration d) {
  return static_cast<std::uint16_t>(std::chrono::round<Millis>(std::min(d, Signaling::kMaxDelay)).count());
}

}  // namespace

std::string_view to_string(SignalingEnd end) {
  switch (end) {
    case SignalingEnd::reached: return "reached";
    case SignalingEnd::failed: return "failed";
    case SignalingEnd::given_up: return "given_up";
    case SignalingEnd::expired: return "expired";
    case SignalingEnd::peer_gone: return "peer_gone";
    case SignalingEnd::route_closed: return "route_closed";
    case SignalingEnd::count_: break;
  }
  return "unknown";
}

std::string_view to_string(SignalingRefusal refusal) {
  switch (refusal) {
    case SignalingRefusal::unknown_session: return "unknown_session";
    case SignalingRefusal::not_yours: return "not_yours";
    case SignalingRefusal::limit: return "limit";
    case SignalingRefusal::peer_gone: return "peer_gone";
    case SignalingRefusal::bad_candidate: return "bad_candidate";
    case SignalingRefusal::count_: break;
  }
  return "unknown";
}

void Signaling::refuse(SessionRef from, const wire::SessionId& session, SignalingRefusal why, std::string_view text,
                       Actions& out) {
  counters_.refusals.add(why);
  out.deliveries.push_back({from, wire::SignalingError{session, code_of(why), std::string{text}}});
}

Signaling::Session* Signaling::find(SessionRef from, const wire::SessionId& id, TimePoint now, bool silent,
                                    Actions& out) {
  const auto refused = [&](SignalingRefusal why, std::string_view text) {
    if (silent) {
      counters_.refusals.add(why);
    } else {
      refuse(from, id, why, text, out);
    }
    return nullptr;
  };
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return refused(SignalingRefusal::unknown_session, "no such session");
  auto& session = found->second;
  if (session.ends[kAgent].client != from && session.ends[kConnector].client != from) {
    return refused(SignalingRefusal::not_yours, "the session belongs to others");
  }
  if (now - session.progress_at >= kExpiry) {
    end(id, SignalingEnd::expired, wire::SignalingErrorCode::expired, "no progress for 5 s",
        {session.ends[kAgent].client, session.ends[kConnector].client}, out);
    counters_.refusals.add(SignalingRefusal::unknown_session);  // told above
    return nullptr;
  }
  if (session.end_of(from).outcome) {
    return refused(SignalingRefusal::unknown_session, "the session is over for you");
  }
  return &session;
}

/// What Offer and Answer have in common. False: refused.
template <typename Message>
bool Signaling::take_list(Session& session, const Sender& from, const Message& m, TimePoint now, Actions& out) {
  if (session.tunnel != m.tunnel) {
    refuse(from.session, m.session, SignalingRefusal::not_yours, "the session is of another tunnel", out);
    return false;
  }
  auto& sender = session.end_of(from.session);
  if (sender.lists >= limits_.lists_per_side || sender.candidates + m.candidates.size() > limits_.candidates_per_side) {
    refuse(from.session, m.session, SignalingRefusal::limit, "too many candidates or lists", out);
    return false;
  }
  ++sender.lists;
  sender.candidates += m.candidates.size();
  sender.rtt = from.rtt;
  sender.observed = from.observed;
  session.progress_at = now;
  out.deliveries.push_back({session.peer_of(from.session).client, m});
  return true;
}

void Signaling::offer(const Sender& from, SessionRef connector, Rate& starts, const wire::CandidateOffer& m,
                      TimePoint now, Actions& out) {
  if (sessions_.contains(m.session)) {
    if (auto* session = find(from.session, m.session, now, false, out)) (void)take_list(*session, from, m, now, out);
    return;
  }
  if (m.candidates.size() > limits_.candidates_per_side) {
    refuse(from.session, m.session, SignalingRefusal::limit, "too many candidates", out);
    return;
  }
  const auto own = of_.find(from.session);
  if (sessions_.size() >= limits_.sessions || (own != of_.end() && own->second.size() >= limits_.sessions_per_agent) ||
      !starts.take(now)) {
    refuse(from.session, m.session, SignalingRefusal::limit, "too many sessions", out);
    return;
  }
  Session session;
  session.tunnel = m.tunnel;
  session.ends[kAgent].client = from.session;
  session.ends[kConnector].client = connector;
  of_[from.session].insert(m.session);
  of_[connector].insert(m.session);
  counters_.sessions.add();
  counters_.live.add();
  log::debug("signaling session opened", {{"session", to_string(m.session)}, {"tunnel", to_string(m.tunnel)}});
  (void)take_list(sessions_.emplace(m.session, session).first->second, from, m, now, out);
}

void Signaling::answer(const Sender& from, const wire::CandidateAnswer& m, TimePoint now, Actions& out) {
  auto* session = find(from.session, m.session, now, false, out);
  if (session == nullptr || !take_list(*session, from, m, now, out)) return;
  if (!session->started) start(m.session, *session, out);  // the Agent's first list made the session
}

/// Each hears it half its round trip from now: the nearer one waits for the difference. Each is told where the other is
/// as we see it, so that nobody has to believe the other's word for it.
void Signaling::start(const wire::SessionId& id, Session& session, Actions& out) {
  session.started = true;
  const auto& agent = session.ends[kAgent];
  const auto& connector = session.ends[kConnector];
  const bool known = agent.rtt > 0s && connector.rtt > 0s;
  const auto delay = [&](const End& own, const End& other) {
    return known && other.rtt > own.rtt ? in_ms((other.rtt - own.rtt) / 2) : std::uint16_t{0};
  };
  out.deliveries.push_back({connector.client, wire::StartPunching{id, delay(connector, agent), agent.observed}});
  out.deliveries.push_back({agent.client, wire::StartPunching{id, delay(agent, connector), connector.observed}});
}

void Signaling::result(SessionRef from, const wire::PunchingResult& m, TimePoint now, Actions& out) {
  auto* session = find(from, m.session, now, false, out);
  if (session == nullptr) return;
  session->end_of(from).outcome = m.outcome;
  session->progress_at = now;
  const auto& peer = session->peer_of(from);
  out.deliveries.push_back({peer.client, m});
  if (!peer.outcome) return;
  const bool reached = m.outcome == wire::PunchingOutcome::reached || *peer.outcome == wire::PunchingOutcome::reached;
  end(m.session, reached ? SignalingEnd::reached : SignalingEnd::failed, std::nullopt, {}, {}, out);
}

void Signaling::error(SessionRef from, const wire::SignalingError& m, TimePoint now, Actions& out) {
  auto* session = find(from, m.session, now, true, out);
  if (session == nullptr) return;
  // The text is a client's: nothing in it may reach another's terminal as it is.
  end(m.session, SignalingEnd::given_up, m.code, identity::printable(m.text, kMaxText), {session->peer_of(from).client},
      out);
}

void Signaling::client_moved(SessionRef client, const SocketAddress& observed) {
  const auto found = of_.find(client);
  if (found == of_.end()) return;
  for (const auto& id : found->second) sessions_.at(id).end_of(client).observed = observed;
}

void Signaling::client_gone(SessionRef client, Actions& out) {
  const auto found = of_.find(client);
  if (found == of_.end()) return;
  for (const auto ids = found->second; const auto& id : ids) {
    const auto peer = sessions_.at(id).peer_of(client).client;
    end(id, SignalingEnd::peer_gone, wire::SignalingErrorCode::peer_gone, "the other end lost its Intermediate", {peer},
        out);
  }
}

void Signaling::route_closed(SessionRef agent, const wire::TunnelId& tunnel, Actions& out) {
  const auto found = of_.find(agent);
  if (found == of_.end()) return;
  for (const auto ids = found->second; const auto& id : ids) {
    const auto& session = sessions_.at(id);
    if (session.tunnel != tunnel) continue;
    end(id, SignalingEnd::route_closed, wire::SignalingErrorCode::peer_gone, "the route was closed",
        {session.ends[kAgent].client, session.ends[kConnector].client}, out);
  }
}

void Signaling::tick(TimePoint now, Actions& out) {
  std::vector<wire::SessionId> expired;
  for (const auto& [id, session] : sessions_) {
    if (now - session.progress_at >= kExpiry) expired.push_back(id);
  }
  for (const auto& id : expired) {
    const auto& session = sessions_.at(id);
    end(id, SignalingEnd::expired, wire::SignalingErrorCode::expired, "no progress for 5 s",
        {session.ends[kAgent].client, session.ends[kConnector].client}, out);
  }
}

void Signaling::end(const wire::SessionId& id, SignalingEnd how, std::optional<wire::SignalingErrorCode> code,
                    std::string_view text, const std::set<SessionRef>& told, Actions& out) {
  const auto found = sessions_.find(id);
  for (const auto& side : found->second.ends) {
    if (code && told.contains(side.client)) {
      out.deliveries.push_back({side.client, wire::SignalingError{id, *code, std::string{text}}});
    }
    const auto of = of_.find(side.client);
    of->second.erase(id);
    if (of->second.empty()) of_.erase(of);
  }
  counters_.ends.add(how);
  counters_.live.sub();
  log::debug("signaling session ended", {{"session", to_string(id)}, {"how", to_string(how)}});
  sessions_.erase(found);
}

}  // namespace ztna::intermediate
