// What /metrics and /readyz say of the Intermediate (docs/metrics.md).
#include "apps/intermediate-server/server.h"
#include "os/clock.h"

namespace ztna::apps {

using intermediate::RelayFate;

void Server::declare_metrics() {
  auto& m = metrics_;
  const auto& registry = registry_->counters();
  m.gauge("ztna_active_connections", "Control connections of Agents and Connectors that are established now.",
          counters_.sessions.active);
  m.counter("ztna_relay_bytes_total", "Octets of routed datagrams forwarded, relay headers included.",
            counters_.relay.octets);
  m.add({"ztna_datagrams_relayed_total",
         "Routed datagrams forwarded to the other side.",
         Metric::Kind::counter,
         {},
         [this] { return static_cast<double>(counters_.relay.fates.value(RelayFate::forwarded)); }});
  m.counter("ztna_registrations_total", "Registrations of services by Agents and Connectors that were accepted.",
            registry.registrations);
  m.counter("ztna_registration_rejections_total", "Registrations that were refused (RegistrationNack).",
            registry.registration_rejections);
  const auto& signaling = registry_->signaling_counters();
  m.counter("ztna_signaling_sessions_total", "Signaling sessions opened for hole punching.", signaling.sessions);
  const auto sum = [this](const Counter& (quic::Endpoint::*counter)() const) {
    return [this, counter] {
      std::uint64_t total = 0;
      for (const auto& worker : workers_) total += (worker->worker().endpoint().*counter)().value();
      return static_cast<double>(total);
    };
  };
  m.add({"ztna_retry_tokens_validated",
         "Initial packets that brought back a valid Retry token.",
         Metric::Kind::counter,
         {},
         sum(&quic::Endpoint::retry_tokens_validated)});
  m.add({"ztna_retry_token_failures",
         "Initial packets with a token that is forged, expired or of another address.",
         Metric::Kind::counter,
         {},
         sum(&quic::Endpoint::retry_token_failures)});
  m.add({"ztna_uptime_seconds", "Seconds since the program started.", Metric::Kind::gauge, {}, [this] {
           return std::chrono::duration<double>(os::now() - started_).count();
         }});

  m.counters("ztna_relay_datagrams_total", "Routed datagrams received, by what became of them.", "fate",
             counters_.relay.fates);
  m.counters("ztna_udp_payloads_total", "UDP payloads received that are no routed datagrams, by what they are.", "kind",
             counters_.inputs);
  m.counters("ztna_connections_ended_total", "Control connections that ended or were refused, by reason.", "reason",
             counters_.sessions.ends);
  m.counters("ztna_identities_refused_total", "Client certificates whose chain is good but whose identity is not.",
             "reason", counters_.sessions.identity_faults);
  m.counters("ztna_requests_refused_total", "Registrations and route requests that were refused, by reason.", "reason",
             registry.rejections);
  m.counter("ztna_routes_opened_total", "Routes opened between an Agent and a Connector.", registry.routes_opened);
  m.gauge("ztna_signaling_sessions", "Signaling sessions that are open now.", signaling.live);
  m.counters("ztna_signaling_sessions_ended_total", "Signaling sessions that ended, by how.", "result", signaling.ends);
  m.counters("ztna_signaling_refused_total", "Signaling messages that were refused, by reason.", "reason",
             signaling.refusals);
  m.counter("ztna_signaling_claims_dropped_total",
            "Server-reflexive candidates not passed on, as their sender is observed at another address.",
            signaling.claims_dropped);
  m.counters("ztna_path_reports_total", "PathReports received, by what became of them.", "result",
             registry.path_reports);
  m.gauge("ztna_direct_tunnels", "Tunnels with a route that an end has last reported to be on a direct path.",
          registry.direct);
  m.counters("ztna_probes_total", "Path probes received, and other payloads at the probe port, by what became of them.",
             "fate", counters_.probes);
  m.gauge("ztna_services", "Services that some Connector offers now.", registry.services);
  m.counter("ztna_handshakes_limited_total", "Initial packets ignored because their source sent too many.",
            counters_.handshakes_limited);
  m.counter("ztna_skipped_messages_total", "Control messages of unknown extension types, skipped.",
            counters_.sessions.skipped_messages);
  const auto of_sockets = [this](os::UdpCount what) {
    return [this, what] {
      std::uint64_t total = 0;
      for (const auto& worker : workers_) total += worker->count(what);
      return static_cast<double>(total);
    };
  };
  m.add({"ztna_socket_drops_total",
         "UDP datagrams that the kernel dropped because a receive buffer was full.",
         Metric::Kind::counter,
         {},
         of_sockets(os::UdpCount::kernel_drops)});
  using os::UdpCount;
  for (const auto reason : {UdpCount::would_block, UdpCount::too_large, UdpCount::refused, UdpCount::unreachable,
                            UdpCount::denied, UdpCount::failed}) {
    m.add({"ztna_socket_send_failures_total",
           "UDP datagrams that the kernel did not take, by reason.",
           Metric::Kind::counter,
           {{"reason", std::string{to_string(reason)}}},
           of_sockets(reason)});
  }
  for (std::size_t i = 0; i < CounterSet<quic::PacketFate>::kSize; ++i) {
    const auto fate = static_cast<quic::PacketFate>(i);
    m.add({"ztna_quic_packets_total",
           "QUIC packets received, by what became of them.",
           Metric::Kind::counter,
           {{"fate", std::string{to_string(fate)}}},
           [this, fate] {
             std::uint64_t total = 0;
             for (const auto& worker : workers_) total += worker->worker().endpoint().fates().value(fate);
             return static_cast<double>(total);
           }});
  }
}

http::Readiness Server::readiness() const {
  if (draining_) return {false, "draining"};
  return {true, "ready"};
}

}  // namespace ztna::apps
