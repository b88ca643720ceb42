// What the ends of a tunnel say to each other about paths (docs/protocol.md 3.1): only they, only of that tunnel.
#include <algorithm>

#include "base/log.h"
#include "intermediate/registry.h"

namespace ztna::intermediate {
namespace {

/// A host has few addresses; one that takes packets for a whole network (AnyIP) is not remembered in full.
constexpr std::size_t kMaxOwnAddresses = 64;

bool is_direct(const std::optional<wire::PathReport>& report) {
  return report && report->kind == wire::PathKind::direct && report->heard;
}

}  // namespace

void Registry::learn_own_address(const IpAddress& local) {
  if (local.is_unspecified() || own_.ips.size() >= kMaxOwnAddresses) return;
  if (std::ranges::find(own_.ips, local) == own_.ips.end()) own_.ips.push_back(local);
}

template <typename Message>
bool Registry::may_name_candidates(const Client& client, const Message& m, Actions& out) {
  for (const auto& candidate : m.candidates) {
    auto why = why_no_candidate(candidate.address, own_);
    if (why.empty() && pool_.covers(candidate.address.ip)) why = "a service's virtual address";
    if (why.empty()) continue;
    log::info("candidate refused",
              {{"client", client.identity.text()}, {"candidate", to_string(candidate.address)}, {"why", why}});
    signaling_.refuse(*client.session, m.session, SignalingRefusal::bad_candidate, why, out);
    return false;
  }
  return true;
}

template <typename Message>
Message Registry::without_claims(const Client& client, Message m) {
  const auto& observed = client.path.remote;
  const auto dropped = drop_unobserved(m.candidates, observed);
  if (dropped == 0) return m;
  // Honest ones happen while a NAT rebinds.
  log::debug("server-reflexive candidates dropped",
             {{"client", client.identity.text()}, {"count", dropped}, {"observed", to_string(observed)}});
  signaling_.count_dropped_claims(dropped);
  return m;
}

Result<void> Registry::on(Client& client, const wire::CandidateOffer& m, Actions& out) {
  if (client.identity.role != identity::Role::agent) return fail(Errc::denied, "only Agents offer candidates");
  const auto found = open_.find(m.tunnel);
  if (found == open_.end() || found->second.agent != client.name) {
    // One answer for both: nobody learns which tunnels there are.
    signaling_.refuse(*client.session, m.session, SignalingRefusal::not_yours, "no route of yours has this tunnel",
                      out);
    return {};
  }
  const auto& connector = clients_.at(found->second.connector);
  if (!connector.session) {
    signaling_.refuse(*client.session, m.session, SignalingRefusal::peer_gone, "the Connector is away", out);
    return {};
  }
  if (!may_name_candidates(client, m, out)) return {};
  signaling_.offer(sender(client), *connector.session, client.signaling_starts, without_claims(client, m), now_, out);
  return {};
}

Result<void> Registry::on(Client& client, const wire::CandidateAnswer& m, Actions& out) {
  if (client.identity.role != identity::Role::connector) return fail(Errc::denied, "only Connectors answer candidates");
  if (!may_name_candidates(client, m, out)) return {};
  signaling_.answer(sender(client), without_claims(client, m), now_, out);
  return {};
}

Result<void> Registry::on(Client& client, const wire::PunchingResult& m, Actions& out) {
  if (m.outcome == wire::PunchingOutcome::reached) {
    if (const auto why = why_no_candidate(m.reached, own_); !why.empty()) {
      signaling_.refuse(*client.session, m.session, SignalingRefusal::bad_candidate, why, out);
      return {};
    }
  }
  signaling_.result(*client.session, m, now_, out);
  return {};
}

Result<void> Registry::on(Client& client, const wire::SignalingError& m, Actions& out) {
  signaling_.error(*client.session, m, now_, out);
  return {};
}

Result<void> Registry::on(Client& client, const wire::PathReport& m, Actions& out) {
  const auto outcome = [&] {
    const auto found = open_.find(m.tunnel);
    if (found == open_.end()) return PathReportEnd::no_route;
    auto& route = found->second;
    if (route.agent != client.name && route.connector != client.name) return PathReportEnd::not_yours;
    set_path(route, m);
    const auto& peer = clients_.at(route.agent == client.name ? route.connector : route.agent);
    if (!peer.session) return PathReportEnd::peer_away;
    out.deliveries.push_back({*peer.session, m});
    return PathReportEnd::forwarded;
  }();
  counters_.path_reports.add(outcome);
  return {};
}

void Registry::set_path(Route& route, const std::optional<wire::PathReport>& report) {
  if (is_direct(route.path)) counters_.direct.sub();
  route.path = report;
  if (is_direct(route.path)) counters_.direct.add();
}

std::optional<wire::PathReport> Registry::last_path_report(const wire::TunnelId& tunnel) const {
  const std::lock_guard lock{mutex_};
  const auto found = open_.find(tunnel);
  return found == open_.end() ? std::nullopt : found->second.path;
}

}  // namespace ztna::intermediate
