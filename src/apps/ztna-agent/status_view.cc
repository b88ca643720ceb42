#include "apps/ztna-agent/status_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <vector>

#include "agent/doctor.h"

namespace ztna::apps {
namespace {

using nlohmann::json;

double rounded_ms(Duration d) {
  return static_cast<double>(std::chrono::duration_cast<std::chrono::microseconds>(d).count()) / 1000;
}

std::string text_at(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

double number_at(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_number() ? found->get<double>() : 0;
}

bool true_at(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_boolean() && found->get<bool>();
}

const json& list_at(const json& from, const char* key) {
  static const json kNone = json::array();
  const auto found = from.find(key);
  return found != from.end() && found->is_array() ? *found : kNone;
}

std::string size_text(double octets) {
  constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (octets >= 1024 && unit + 1 < kUnits.size()) octets /= 1024, ++unit;
  return unit == 0 ? fmt::format("{:.0f} B", octets) : fmt::format("{:.1f} {}", octets, kUnits[unit]);
}

/// Columns as wide as their widest cell; the last one is not padded.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line = "  ";
    for (std::size_t i = 0; i < row.size(); ++i)
      line += fmt::format("{:<{}}", row[i], i + 1 < row.size() ? widths[i] + 2 : 0);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

/// "-" before the first sample on the path.
std::string rtt_text(const json& row) {
  return row.contains("rtt_ms") ? fmt::format("{:.1f} ms", number_at(row, "rtt_ms")) : "-";
}

json way_json(const agent::PathStatus& way) {
  json out{{"kind", way.kind},
           {"state", way.state},
           {"since_s", std::chrono::duration<double>(way.since).count()},
           {"loss", way.loss},
           {"tries", way.sessions}};
  if (way.rtt) out["rtt_ms"] = rounded_ms(*way.rtt);
  if (way.remote) out["remote"] = to_string(*way.remote);
  if (!way.last_cause.empty()) out["last_fall_back"] = way.last_cause;
  if (!way.reason.empty()) out["reason"] = {{"code", way.reason}, {"text", way.explanation}};
  if (!way.remedy.empty()) out["remedy"] = way.remedy;
  if (way.next_try) out["next_try_s"] = std::chrono::duration<double>(*way.next_try).count();
  if (!way.peer_nat.empty()) out["peer_nat"] = way.peer_nat;
  if (!way.peer_nat_description.empty()) out["peer_nat_description"] = way.peer_nat_description;
  if (!way.birthday.empty()) out["birthday_search"] = way.birthday;
  out["checks"] = json::array();
  for (const auto& check : way.checks) {
    json row{{"address", to_string(check.address)},
             {"kind", check.kind},
             {"verdict", check.verdict},
             {"sent", check.sent},
             {"received", check.received}};
    if (check.rtt) row["rtt_ms"] = rounded_ms(*check.rtt);
    out["checks"].push_back(std::move(row));
  }
  return out;
}

json nat_json(const agent::NatStatus& nat) {
  const auto side = [](const agent::NatStatus::Side& s) {
    json out{{"state", s.state}, {"kind", s.kind}, {"description", s.description}};
    if (s.observed) out["observed"] = to_string(*s.observed);
    if (s.rtt) out["rtt_ms"] = rounded_ms(*s.rtt);
    return out;
  };
  json out{{"enabled", nat.enabled},
           {"birthday_search", nat.birthday},
           {"v4", side(nat.v4)},
           {"v6", side(nat.v6)},
           {"candidates", json::array()}};
  for (const auto& c : nat.candidates)
    out["candidates"].push_back({{"address", to_string(c.address)}, {"kind", c.kind}});
  return out;
}

std::string duration_text(double seconds) {
  if (seconds < 60) return fmt::format("{:.0f} s", seconds);
  if (seconds < 3600) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

/// Why a service is on the relay: what was tried, what answered, what would mend it.
std::string relay_text(const json& service, const json& way, const json& nat) {
  const auto reason = way.find("reason");
  if (reason == way.end() || !reason->is_object()) return {};
  auto out = fmt::format("\n{} is on the relay: {}\n", text_at(service, "id"), text_at(*reason, "text"));
  if (nat.is_object()) {
    for (const auto& [family, name] : {std::pair{"v4", "IPv4"}, std::pair{"v6", "IPv6"}}) {
      const auto side = nat.find(family);
      if (side == nat.end() || !side->is_object() || text_at(*side, "state") == "not_run") continue;
      out += fmt::format("  NAT here, {}: {}\n", name, text_at(*side, "description"));
    }
  }
  if (const auto peer = text_at(way, "peer_nat_description"); !peer.empty())
    out += fmt::format("  NAT there: {}\n", peer);
  if (const auto search = text_at(way, "birthday_search"); !search.empty())
    out += fmt::format("  birthday search: {}\n", agent::birthday_text(search));
  for (const auto& check : list_at(way, "checks")) {
    const auto verdict = text_at(check, "verdict");
    std::string result;
    if (verdict != "allowed") {
      result = "not tried (" + verdict + ")";
    } else if (check.contains("rtt_ms")) {
      result = fmt::format("answered after {:.1f} ms", number_at(check, "rtt_ms"));
    } else {
      result = fmt::format("no answer to {:.0f} probes", number_at(check, "sent"));
    }
    out += fmt::format("  {} ({}): {}\n", text_at(check, "address"), text_at(check, "kind"), result);
  }
  if (way.contains("next_try_s")) out += fmt::format("  next try in {}\n", duration_text(number_at(way, "next_try_s")));
  if (const auto remedy = text_at(way, "remedy"); !remedy.empty()) out += fmt::format("  to mend it: {}\n", remedy);
  return out;
}

}  // namespace

json to_json(const agent::Snapshot& s) {
  json out{{"connected", s.connected}, {"server", s.server}};
  if (s.server_address) out["server_address"] = to_string(*s.server_address);
  if (s.connected) out["server_rtt_ms"] = rounded_ms(s.control_rtt);
  if (!s.problem.empty()) out["problem"] = s.problem;
  if (s.observed_v4) out["observed_v4"] = to_string(*s.observed_v4);
  if (s.observed_v6) out["observed_v6"] = to_string(*s.observed_v6);
  out["reconnections"] = s.reconnections;
  out["nat"] = nat_json(s.nat);
  out["services"] = json::array();
  for (const auto& service : s.services) {
    json row{{"id", service.id}, {"state", service.state}, {"addresses", json::array()}};
    for (const auto& address : {service.v4, service.v6}) {
      if (address) row["addresses"].push_back(to_string(*address));
    }
    if (!service.connector.empty()) row["connector"] = service.connector;
    if (!service.path.empty()) row["path"] = service.path;
    if (service.rtt) row["rtt_ms"] = rounded_ms(*service.rtt);
    if (service.way) row["way"] = way_json(*service.way);
    if (service.waiting > 0) row["waiting"] = service.waiting;
    if (!service.problem.empty()) row["problem"] = service.problem;
    out["services"].push_back(std::move(row));
  }
  out["tunnels"] = json::array();
  for (const auto& t : s.tunnels) {
    json row{{"connector", t.connector},
             {"path", t.path},
             {"bytes_sent", t.bytes_sent},
             {"bytes_received", t.bytes_received},
             {"packets_lost", t.packets_lost},
             {"max_udp_payload", t.max_udp_payload},
             {"tcp_connections", t.tcp_connections}};
    if (t.rtt) row["rtt_ms"] = rounded_ms(*t.rtt);
    out["tunnels"].push_back(std::move(row));
  }
  out["tcp_connections"] = s.tcp_connections;
  out["packets"] = {{"carried", s.packets_carried}, {"delivered", s.packets_delivered}, {"dropped", s.packets_dropped}};
  return out;
}

std::string to_text(const json& status) {
  std::string out;
  const auto server = text_at(status, "server");
  const auto problem = text_at(status, "problem");
  if (true_at(status, "connected")) {
    out += fmt::format("Connected to {} ({:.1f} ms)", server, number_at(status, "server_rtt_ms"));
    const auto seen =
        text_at(status, "observed_v4").empty() ? text_at(status, "observed_v6") : text_at(status, "observed_v4");
    if (!seen.empty()) out += fmt::format(", which sees us as {}", seen);
    out += "\n";
    if (!problem.empty()) out += fmt::format("Refused there: {}\n", problem);
  } else {
    out += fmt::format("Not connected to {}: {}\n", server, problem.empty() ? "connecting" : problem);
  }

  const auto& services = list_at(status, "services");
  if (services.empty()) {
    out += "\nNo services: the certificate permits none, or none is registered.\n";
  } else {
    std::vector<std::vector<std::string>> rows{
        {"SERVICE", "ADDRESS", "STATE", "PATH", "SINCE", "RTT", "LOSS", "REMOTE", "CONNECTOR"}};
    for (const auto& service : services) {
      std::string addresses;
      for (const auto& a : list_at(service, "addresses")) {
        if (a.is_string()) addresses += (addresses.empty() ? "" : ", ") + a.get<std::string>();
      }
      const auto why = text_at(service, "problem");
      auto connector = text_at(service, "connector");
      if (connector.empty() && !why.empty()) connector = "(" + why + ")";
      const auto found = service.find("way");
      const auto& way = found != service.end() && found->is_object() ? *found : json::object();
      const bool on_path = !way.empty();
      rows.push_back({text_at(service, "id"), addresses.empty() ? "none" : addresses, text_at(service, "state"),
                      text_at(service, "path").empty() ? "-" : text_at(service, "path"),
                      on_path ? duration_text(number_at(way, "since_s")) : "-", rtt_text(service),
                      on_path ? fmt::format("{:.1f} %", 100 * number_at(way, "loss")) : "-",
                      text_at(way, "remote").empty() ? "-" : text_at(way, "remote"),
                      connector.empty() ? "-" : connector});
    }
    out += '\n';
    out += table(rows);
    for (const auto& service : services) {
      if (const auto way = service.find("way"); way != service.end() && way->is_object()) {
        out += relay_text(service, *way, status.value("nat", json{}));
      }
    }
  }

  const auto& tunnels = list_at(status, "tunnels");
  if (!tunnels.empty()) {
    std::vector<std::vector<std::string>> rows{{"TUNNEL TO", "PATH", "RTT", "SENT", "RECEIVED", "TCP"}};
    for (const auto& t : tunnels) {
      rows.push_back({text_at(t, "connector").empty() ? "(opening)" : text_at(t, "connector"), text_at(t, "path"),
                      rtt_text(t), size_text(number_at(t, "bytes_sent")), size_text(number_at(t, "bytes_received")),
                      fmt::format("{:.0f}", number_at(t, "tcp_connections"))});
    }
    out += '\n';
    out += table(rows);
  }
  const auto packets = status.find("packets");
  if (packets != status.end() && packets->is_object()) {
    out += fmt::format("\nPackets: {:.0f} carried, {:.0f} delivered, {:.0f} dropped\n", number_at(*packets, "carried"),
                       number_at(*packets, "delivered"), number_at(*packets, "dropped"));
  }
  return out;
}

}  // namespace ztna::apps
