#include "agent/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace ztna::agent {
namespace {

constexpr std::size_t kUsual = 1400;
constexpr std::chrono::seconds kSoon{3600};

Finding control(const Snapshot& s) {
  if (!s.connected) {
    return {"control", Verdict::fail,
            fmt::format("no connection to {}: {}", s.server, s.problem.empty() ? "connecting" : s.problem),
            "see the lines about dns, udp and clock; is the Intermediate up?"};
  }
  if (!s.problem.empty()) {
    return {"control", Verdict::fail, fmt::format("{} refuses our registration: {}", s.server, s.problem),
            "ask for a certificate that names the service"};
  }
  const auto rtt = std::chrono::duration<double, std::milli>(s.control_rtt).count();
  return {"control", Verdict::ok, fmt::format("connected to {}, {:.1f} ms", s.server, rtt), ""};
}

Finding nat(const char* check, const char* family, const NatStatus::Side& side, bool birthday) {
  const auto text = fmt::format("{}: {}{}", family, side.description,
                                side.observed ? fmt::format(", seen as {}", to_string(*side.observed)) : std::string{});
  if (side.state != "done") return {check, Verdict::warn, text, "try again in a few seconds"};
  if (side.kind == "symmetric") {
    return {check, Verdict::warn, text,
            birthday ? "Connectors behind a NAT that filters by port are reached directly by a birthday search only, "
                       "which can fail: forward a port here or there, or use IPv6"
                     : "Connectors behind a NAT that filters by port are not reached directly: set p2p.birthday to "
                       "true, forward a port here or there, or use IPv6"};
  }
  if (side.kind == "unknown") {
    return {check, Verdict::warn, text, "let UDP to the Intermediate's probe port through; has it one (probe_port)?"};
  }
  return {check, Verdict::ok, text, ""};
}

/// Only where it is of use: the services whose tunnels had to search.
std::optional<Finding> birthday(const Snapshot& status) {
  std::string text;
  auto verdict = Verdict::ok;
  for (const auto& service : status.services) {
    if (!service.way || service.way->birthday.empty()) continue;
    const auto& result = service.way->birthday;
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", service.id, birthday_text(result));
    if (result != "found" && result != "searching") verdict = Verdict::warn;
  }
  if (text.empty()) return std::nullopt;
  return Finding{"birthday", verdict, text,
                 verdict == Verdict::ok ? "" : "see `ztna-agent status`; the relay carries what has no direct path"};
}

Finding ipv6(const NatStatus& nat) {
  if (nat.v6.observed) return {"ipv6", Verdict::ok, fmt::format("seen as {}", to_string(*nat.v6.observed)), ""};
  const bool have =
      std::any_of(nat.candidates.begin(), nat.candidates.end(), [](const auto& c) { return !c.address.ip.is_v4(); });
  if (have) return {"ipv6", Verdict::ok, "this machine has an address; no Intermediate was asked by IPv6", ""};
  return {"ipv6", Verdict::warn, "this machine has no IPv6 address that others can reach",
          "nothing must be done; direct paths are found more often with IPv6"};
}

Finding mtu(const DoctorFacts& f) {
  if (f.control_mtu == 0) return {"mtu", Verdict::warn, "not known without a connection", "mend the connection first"};
  auto least = f.control_mtu;
  for (const auto& tunnel : f.status.tunnels) {
    if (tunnel.max_udp_payload > 0) least = std::min(least, tunnel.max_udp_payload);
  }
  const auto text = fmt::format("UDP payloads of {} octets pass on every path in use", least);
  if (least >= kUsual) return {"mtu", Verdict::ok, text, ""};
  return {"mtu", Verdict::warn, text,
          "everything works, in more packets; a VPN or PPPoE on the way is the usual reason"};
}

Finding firewall(const DoctorFacts& f) {
  const auto failed = [](const std::optional<bool>& tried) { return tried && !*tried; };
  if (!failed(f.reentry_v4) && !failed(f.reentry_v6)) {
    return {"firewall", Verdict::ok, "TCP re-enters the kernel by the tunnel's device", ""};
  }
  const auto* which = failed(f.reentry_v4) && failed(f.reentry_v6) ? "IPv4 and IPv6"
                      : failed(f.reentry_v4)                       ? "IPv4"
                                                                   : "IPv6";
  return {"firewall", Verdict::fail,
          fmt::format("this machine's firewall drops TCP that re-enters by the tunnel's device ({})", which),
          "let the firewall accept what comes in by the tunnel's device, e.g. nft: iifname \"ztna0\" accept"};
}

Finding clock(const DoctorFacts& f) {
  if (f.now < f.certificate_begins) {
    return {"clock", Verdict::fail, "by this machine's clock its certificate is not valid yet", "set the clock (NTP)"};
  }
  if (f.now > f.certificate_ends) {
    return {"clock", Verdict::fail, "by this machine's clock its certificate has ended",
            "set the clock (NTP), or renew the certificate"};
  }
  if (f.certificate_ends - f.now < kSoon) {
    return {"clock", Verdict::warn, "the certificate ends within the hour", "renew it"};
  }
  return {"clock", Verdict::ok, "within the certificate's time", ""};
}

}  // namespace

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::ok: return "ok";
    case Verdict::warn: return "warn";
    case Verdict::fail: return "fail";
  }
  return "unknown";
}

std::string_view birthday_text(std::string_view result) {
  if (result == "searching") return "under way";
  if (result == "found") return "found a way";
  if (result == "failed") return "found no way";
  if (result == "off") return "switched off here (p2p.birthday)";
  if (result == "off_at_peer") return "switched off at the Connector (p2p.birthday)";
  if (result == "limit") return "not now: too many at once, or too soon for the Connector";
  if (result == "no_sockets") return "this machine gave no socket for it: raise the limit on open files";
  if (result == "bad_address") return "the other end's address, as the Intermediate sees it, may not be probed";
  if (result == "no_ipv4") return "not possible: the Intermediate sees this end or the other over IPv6 only";
  if (result == "not_signaled") return "the Intermediate did not carry the messages";
  return "given up";
}

std::vector<Finding> diagnose(const DoctorFacts& facts) {
  std::vector<Finding> out{control(facts.status)};
  const auto& seen = facts.status.nat;
  if (!seen.enabled) {
    out.push_back(
        {"nat", Verdict::warn, "direct paths are switched off, the NAT is not measured", "set p2p.enabled to true"});
  } else {
    const bool v6 = seen.v6.state == "done";
    if (seen.v4.state != "not_run" || !v6) out.push_back(nat("nat", "IPv4", seen.v4, seen.birthday));
    if (v6) out.push_back(nat("nat-ipv6", "IPv6", seen.v6, seen.birthday));
    if (auto found = birthday(facts.status)) out.push_back(std::move(*found));
  }
  out.insert(out.end(), {ipv6(seen), mtu(facts), firewall(facts), clock(facts)});
  return out;
}

}  // namespace ztna::agent
