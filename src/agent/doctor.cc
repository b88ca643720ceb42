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

Finding nat(const char* check, const char* family, const NatStatus::Side& side) {
  const auto text = fmt::format("{}: {}{}", family, side.description,
                                side.observed ? fmt::format(", seen as {}", to_string(*side.observed)) : std::string{});
  if (side.state != "done") return {check, Verdict::warn, text, "try again in a few seconds"};
  if (side.kind == "symmetric") {
    return {check, Verdict::warn, text,
            "Connectors behind a NAT that filters by port are reached directly by luck only: forward a port here or "
            "there, or use IPv6"};
  }
  if (side.kind == "unknown") {
    return {check, Verdict::warn, text, "let UDP to the Intermediate's probe port through; has it one (probe_port)?"};
  }
  return {check, Verdict::ok, text, ""};
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

std::vector<Finding> diagnose(const DoctorFacts& facts) {
  std::vector<Finding> out{control(facts.status)};
  const auto& seen = facts.status.nat;
  if (!seen.enabled) {
    out.push_back(
        {"nat", Verdict::warn, "direct paths are switched off, the NAT is not measured", "set p2p.enabled to true"});
  } else {
    const bool v6 = seen.v6.state == "done";
    if (seen.v4.state != "not_run" || !v6) out.push_back(nat("nat", "IPv4", seen.v4));
    if (v6) out.push_back(nat("nat-ipv6", "IPv6", seen.v6));
  }
  out.insert(out.end(), {ipv6(seen), mtu(facts), firewall(facts), clock(facts)});
  return out;
}

}  // namespace ztna::agent
