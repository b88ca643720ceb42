// Agent's status and metrics.
#include <utility>

#include "agent/agent.h"

namespace ztna::agent {
namespace {

std::string path_of(const TunnelClient& tunnel) { return tunnel.relayed() ? "relay" : "direct"; }

std::uint64_t sum(const CounterSet<TunFate>& fates, std::initializer_list<TunFate> which) {
  std::uint64_t total = 0;
  for (const auto fate : which) total += fates.value(fate);
  return total;
}

}  // namespace

ServiceStatus Agent::status_of(const Service& service, TimePoint now) const {
  ServiceStatus row;
  row.id = service.id.str();
  row.v4 = service.v4;
  row.v6 = service.v6;
  row.problem = registrar_.refusal(row.id);
  const auto link = tunnels_.link(service.id);
  if (link) {
    row.waiting = link->waiting_packets + link->waiting_flows;
    if (row.problem.empty()) row.problem = link->last_error;
    if (link->tunnel != nullptr && link->tunnel->ready()) {
      row.connector = link->tunnel->connector();
      row.path = path_of(*link->tunnel);
      row.way = direct_.status(*link->tunnel, now);
      row.rtt = row.way->rtt;
    }
  }
  const bool open = link && link->state == Tunnels::LinkState::open;
  if (!service.up && is_reachable(service)) {
    row.state = "open";
    row.problem = "its Connector has lost the Intermediate; the tunnel goes on";
  } else if (!service.up) {
    const bool refused = service.down_reason == wire::ServiceDownReason::not_permitted;
    row.state = refused ? "refused" : "down";
    if (row.problem.empty()) row.problem = wire::to_string(service.down_reason);
  } else if (open) {
    row.state = "open";
    row.problem.clear();
  } else if (!ready()) {
    row.state = "offline";
  } else if (link && link->state != Tunnels::LinkState::idle) {
    row.state = "opening";
  } else {
    row.state = "ready";
  }
  return row;
}

Snapshot Agent::snapshot(TimePoint now) const {
  Snapshot s;
  const auto& server = server_in_use();
  s.server = server.host.find(':') == std::string::npos ? fmt::format("{}:{}", server.host, server.port)
                                                        : fmt::format("[{}]:{}", server.host, server.port);
  s.connected = ready();
  if (const auto* client = control()) {
    s.server_address = client->server_address();
    if (!s.connected) s.problem = client->last_error().empty() ? "connecting" : client->last_error();
    s.observed_v4 = client->observed(Family::v4);
    s.observed_v6 = client->observed(Family::v6);
  }
  if (s.connected) s.problem = registrar_.refusal(std::string{wire::kAllServices});
  s.control_rtt = rtt();
  s.reconnections = reconnections_.value();
  s.nat = direct_.nat();
  for (const auto& [id, service] : services_.all()) s.services.push_back(status_of(service, now));
  for (const auto* tunnel : tunnels_.tunnels()) {
    const auto stats = tunnel->stats();
    s.tunnels.push_back({tunnel->connector(), path_of(*tunnel), tunnel->rtt(), stats.bytes_sent, stats.bytes_received,
                         stats.packets_lost, stats.max_udp_payload, tunnel->sessions()});
  }
  s.tcp_connections = tunnels_.sessions();
  const auto& fates = gate_.tun_fates();
  s.packets_carried = sum(fates, {TunFate::carried_udp, TunFate::carried_icmp, TunFate::tcp_reentry});
  s.packets_delivered = gate_.tunnel_fates().value(TunnelFate::delivered) + fates.value(TunFate::tcp_return);
  s.packets_dropped = fates.total() - s.packets_carried -
                      sum(fates, {TunFate::tcp_return, TunFate::syn_held, TunFate::syn_repeated, TunFate::syn_answered,
                                  TunFate::fragment_kept});
  return s;
}

void Agent::describe(Metrics& metrics) const {
  metrics.counters("ztna_agent_tun_packets_total", "Packets read from the TUN, by what became of them", "fate",
                   gate_.tun_fates());
  metrics.counters("ztna_agent_tunnel_packets_total", "Packets that came out of tunnels, by what became of them",
                   "fate", gate_.tunnel_fates());
  metrics.counters("ztna_agent_reassembly_total", "Fragmented datagrams, by what became of them", "fate",
                   gate_.reassembly().fates());
  metrics.counters("ztna_agent_datagrams_total",
                   "IP packets and parts of them in DATAGRAM frames, by what became of them", "fate", datagram_fates_);
  metrics.counters("ztna_agent_udp_payloads_total", "UDP payloads that arrived, by kind", "fate", hub_.fates());
  metrics.counters("ztna_agent_quic_packets_total", "QUIC packets that arrived, by what became of them", "fate",
                   endpoint_->fates());
  metrics.counter("ztna_agent_datagrams_dropped_total",
                  "Datagrams that tunnels took and could not send: too large for the path, or the tunnel ended",
                  endpoint_->datagrams_dropped());
  metrics.counter("ztna_agent_sent_to_closed_route_total",
                  "Rows of QUIC packets that were for a route of the relay which was closed",
                  hub_.sent_to_closed_route());
  metrics.counters("ztna_agent_tunnel_events_total", "Tunnels that came up, failed, moved or ended", "event",
                   tunnels_.events());
  metrics.counters("ztna_agent_registrations_total", "Answers of the Intermediate to registrations", "result",
                   registrar_.events());
  metrics.counter("ztna_agent_reconnections_total", "Times that the Intermediate was reached again after a loss",
                  reconnections_);
  metrics.counter("ztna_agent_tcp_connections_total", "TCP connections of users whose backend accepted",
                  tcp_connected_);
  metrics.counter("ztna_agent_tcp_errors_total", "TCP connections of users that were refused or not reachable",
                  tcp_failed_);
  metrics.counter("ztna_agent_foreign_accepts_total", "Connections to the re-entry listener by strangers, aborted",
                  reentry_.foreign_accepts());
  metrics.counter("ztna_agent_icmp_errors_total", "ICMP errors sent to users", errors_.icmp_sent());
  metrics.counter("ztna_agent_tcp_resets_total", "TCP resets sent to users", errors_.resets_sent());
  metrics.counter("ztna_agent_errors_suppressed_total", "ICMP errors and resets that the rate limit held back",
                  errors_.suppressed());
  direct_.describe(metrics);
  metrics.gauge("ztna_agent_connected", "1 while connected to an Intermediate", connected_);
  metrics.gauge("ztna_agent_registered", "1 while the Intermediate has taken at least one registration", registered_);
  metrics.gauge("ztna_agent_tcp_flows", "TCP connections in the re-entry table", flows_open_);
  metrics.gauge("ztna_agent_tunnels", "Tunnels that are up or coming up", tunnels_open_);
}

}  // namespace ztna::agent
