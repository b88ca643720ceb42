// DirectPaths: what people and Prometheus see.
#include <algorithm>
#include <chrono>

#include "agent/direct_paths.h"

namespace ztna::agent {
namespace {

using path::RelayReason;

std::uint64_t microseconds(Duration d) {
  return static_cast<std::uint64_t>(
      std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::microseconds>(d).count()));
}

/// Of the tunnels whose path has been measured; zero: none has.
class Mean {
 public:
  void add(std::optional<Duration> sample) {
    if (!sample) return;
    sum_ += *sample;
    ++count_;
  }
  Duration value() const { return count_ == 0 ? Duration{} : sum_ / count_; }

 private:
  Duration sum_{};
  int count_ = 0;
};

NatStatus::Side side_of(const path::NatReport& report, const std::optional<SocketAddress>& seen) {
  NatStatus::Side side;
  side.state = path::to_string(report.state);
  side.kind = path::nat_label(report.kind);
  side.description = path::describe(report);
  side.observed = report.observed ? report.observed : seen;
  side.rtt = report.rtt;
  return side;
}

/// Share of the packets with user data, 0 to 1. With streams it is an upper bound: ngtcp2 counts a packet once for each
/// stream that it carried, and one that only retransmits is among the lost alone.
double loss_between(const quic::ConnectionStats& before, const quic::ConnectionStats& now) {
  const auto sent = now.data_packets_sent - before.data_packets_sent;
  const auto lost = now.packets_lost + now.datagram_packets_lost - before.packets_lost - before.datagram_packets_lost;
  return sent == 0 ? 0.0 : std::min(1.0, static_cast<double>(lost) / static_cast<double>(sent));
}

}  // namespace

PathStatus DirectPaths::status(const TunnelClient& tunnel, TimePoint now) const {
  PathStatus out;
  const auto found = entries_.find(tunnel.id());
  const auto stats = tunnel.stats();
  out.kind = tunnel.relayed() ? "relay" : "direct";
  out.rtt = tunnel.rtt();
  if (found == entries_.end()) return out;
  const auto& e = found->second;
  const auto& manager = e.manager;
  out.state = path::to_string(manager.state());
  out.since = now - manager.since();
  out.sessions = manager.sessions();
  if (e.loss_from == kNever || now >= e.loss_from) out.loss = loss_between(e.before, stats);
  if (manager.last_cause()) out.last_cause = path::to_string(*manager.last_cause());
  out.peer_nat = path::nat_label(e.record.peer);
  out.peer_nat_description = path::describe(e.record.peer);
  out.birthday = search_text(e);
  const auto* session = e.session ? punching_.find(*e.session) : nullptr;
  for (const auto& check : session != nullptr ? session->checks() : e.record.checks) {
    out.checks.push_back({check.address, std::string{wire::to_string(check.kind)},
                          std::string{path::to_string(check.verdict)}, check.sent, check.received, check.rtt});
  }
  if (manager.direct()) {
    out.remote = manager.remote();
    return out;
  }
  if (control_.ready()) out.remote = control_.intermediate();
  const auto reason = manager.reason();
  out.reason = path::to_string(reason);
  out.explanation = path::explain(reason);
  out.remedy = path::remedy(reason);
  if (const auto next = manager.next_try(); next != kNever) out.next_try = std::max<Duration>(next - now, 0s);
  return out;
}

NatStatus DirectPaths::nat() const {
  NatStatus out;
  out.enabled = options_.enabled;
  out.birthday = options_.birthday;
  out.v4 = side_of(punching_.nat().report(Family::v4), observed_v4_);
  out.v6 = side_of(punching_.nat().report(Family::v6), observed_v6_);
  for (const auto& candidate : punching_.local().candidates()) {
    out.candidates.push_back({candidate.address, std::string{wire::to_string(candidate.kind)}});
  }
  return out;
}

/// Gauges, which are read on another thread.
void DirectPaths::count() {
  std::uint64_t direct = 0;
  std::array<std::uint64_t, static_cast<std::size_t>(RelayReason::count_)> reasons{};
  Mean direct_rtt, relay_rtt;
  for (const auto& [id, e] : entries_) {
    if (e.manager.direct()) {
      ++direct;
      direct_rtt.add(e.tunnel->rtt());
    } else {
      relay_rtt.add(e.tunnel->rtt());
      ++reasons[static_cast<std::size_t>(e.manager.reason())];
    }
  }
  const auto relayed = entries_.size() - direct;
  tunnels_direct_.set(direct);
  tunnels_relayed_.set(relayed);
  direct_rtt_us_.set(microseconds(direct_rtt.value()));
  relay_rtt_us_.set(microseconds(relay_rtt.value()));
  for (std::size_t i = 0; i < reasons.size(); ++i) relayed_[i].set(reasons[i]);
}

void DirectPaths::describe(Metrics& metrics) const {
  const auto gauge = [&](const char* name, const char* help, std::vector<std::pair<std::string, std::string>> labels,
                         const Counter& value, double unit = 1) {
    metrics.add({name, help, Metric::Kind::gauge, std::move(labels),
                 [&value, unit] { return static_cast<double>(value.value()) * unit; }});
  };
  for (const auto& [kind, count, rtt] : {std::tuple{"relay", &tunnels_relayed_, &relay_rtt_us_},
                                         std::tuple{"direct", &tunnels_direct_, &direct_rtt_us_}}) {
    gauge("ztna_agent_tunnel_paths", "Tunnels that are up, by the path they are on", {{"path", kind}}, *count);
    gauge("ztna_agent_path_rtt_seconds", "Smoothed round-trip time, mean over the tunnels on this kind of path",
          {{"path", kind}}, *rtt, 1e-6);
  }
  for (std::size_t i = 0; i < relayed_.size(); ++i) {
    const auto reason = std::string{path::to_string(static_cast<RelayReason>(i))};
    gauge("ztna_agent_relayed_tunnels", "Tunnels on the relay, by the reason why", {{"reason", reason}}, relayed_[i]);
  }
  for (std::size_t i = 0; i < CounterSet<path::PathCause>::kSize; ++i) {
    const auto cause = static_cast<path::PathCause>(i);
    metrics.add({"ztna_agent_path_changes_total",
                 "Times that a tunnel changed its path, by where from, where to and why",
                 Metric::Kind::counter,
                 {{"from", cause == path::PathCause::punched ? "relay" : "direct"},
                  {"to", path::to_direct(cause) ? "direct" : "relay"},
                  {"cause", std::string{path::to_string(cause)}}},
                 [this, cause] { return static_cast<double>(changes_.value(cause)); }});
  }
  metrics.counters("ztna_agent_probes_total", "Path probes that arrived, by what became of them", "fate",
                   punching_.arrivals());
  metrics.counter("ztna_agent_probes_sent_total", "Path probes sent: requests, answers and NAT discovery",
                  punching_.probes_sent());
  metrics.counter("ztna_agent_probes_withheld_total",
                  "Path probes not sent: their IP has had its share and never answered", punching_.probes_withheld());
  metrics.counter("ztna_agent_punching_sessions_total", "Hole punching sessions begun", punching_.sessions_begun());
  metrics.counter("ztna_agent_punching_reached_total", "Hole punching sessions that reached the Connector",
                  punching_.sessions_punched());
  metrics.counter("ztna_agent_punching_failed_total", "Hole punching sessions in which nothing answered",
                  punching_.sessions_failed());
  const auto& searching = punching_.searching();
  metrics.counters("ztna_agent_birthday_searches_total",
                   "Times that a birthday search was of use, by what became of it", "result", searching.ends());
  metrics.counter("ztna_agent_birthday_requests_sent_total",
                  "Path probes that birthday searches sent, answers excluded", searching.requests_sent());
  gauge("ztna_agent_birthday_sockets", "Sockets that birthday searches and the paths they found have open", {},
        searching.sockets());
  metrics.counter("ztna_agent_birthday_sockets_missing_total",
                  "Sockets that birthday searches could not open, as for a limit on descriptors",
                  searching.sockets_missing());
  metrics.counter("ztna_agent_stray_signaling_total", "Signaling messages of no session or tunnel that is there",
                  stray_messages_);
}

}  // namespace ztna::agent
