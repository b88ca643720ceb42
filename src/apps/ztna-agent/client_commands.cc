#include "apps/ztna-agent/client_commands.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/ztna-agent/local_firewall.h"
#include "apps/ztna-agent/network_setup.h"
#include "apps/ztna-agent/reach.h"
#include "apps/ztna-agent/status_view.h"
#include "os/unix_socket.h"

namespace ztna::apps {
namespace {

using nlohmann::json;

constexpr Duration kAnswerTimeout = 8s;  // a ping gives up after 5 s
constexpr Duration kStopTimeout = 10s;   // a drain takes 3 s
constexpr std::chrono::milliseconds kBetweenPings{1000};
constexpr std::chrono::milliseconds kBetweenStatus{1000};

int say(std::string_view text, int code) {
  std::cerr << "ztna-agent: " << text << '\n';
  return code;
}

Result<os::LineClient> connect(const AgentRun& run) {
  const auto& path = run.config.control_socket;
  auto client = os::LineClient::connect(path);
  if (client) return client;
  switch (client.error().code) {
    case Errc::not_found:
    case Errc::refused:
      return fail(client.error().code, "no agent is running ({}); start it with: ztna-agent up", path);
    case Errc::denied:
      return fail(Errc::denied, "{}: permission denied; run as the user that runs the agent, or root", path);
    default: return client;
  }
}

Result<json> ask(os::LineClient& client, const json& request, Duration timeout = kAnswerTimeout) {
  if (auto sent = client.send(request.dump()); !sent) return fail(sent.error());
  auto line = client.receive(timeout);
  if (!line) return fail("the agent does not answer", line.error());
  auto answer = json::parse(*line, nullptr, false);
  if (!answer.is_object()) return fail(Errc::malformed, "the agent's answer cannot be read");
  const auto ok = answer.find("ok");
  if (ok != answer.end() && ok->is_boolean() && ok->get<bool>()) return answer;
  const auto problem = answer.find("problem");
  return fail(Errc::refused, "{}",
              problem != answer.end() && problem->is_string() ? problem->get<std::string>() : "refused");
}

/// The running agent's, then those of our own flags and file that it was not told.
std::vector<config::Server> servers_to_reach(const json& answer, const std::vector<config::Server>& own) {
  std::vector<config::Server> servers;
  for (const auto& entry : answer.value("servers", json::array())) {
    servers.push_back({entry.value("host", ""), entry.value("port", std::uint16_t{0})});
  }
  for (const auto& server : own) {
    if (std::find(servers.begin(), servers.end(), server) == servers.end()) servers.push_back(server);
  }
  return servers;
}

std::vector<ServiceAddress> service_addresses(const json& answer) {
  std::vector<ServiceAddress> services;
  for (const auto& entry : answer.value("services", json::array())) {
    if (auto ip = IpAddress::parse(entry.value("address", ""))) services.push_back({entry.value("id", ""), *ip});
  }
  return services;
}

}  // namespace

int run_status(const AgentRun& run) {
  auto client = connect(run);
  if (!client) return say(client.error().text, kExitUsage);
  const bool clear = run.status_watch && !run.status_json && ::isatty(STDOUT_FILENO) != 0;
  do {
    const auto answer = ask(*client, {{"command", "status"}});
    if (!answer) return say(answer.error().text, kExitFailure);
    const auto status = answer->value("status", json::object());
    if (clear) std::cout << "\x1b[H\x1b[2J";
    // With --watch each JSON status is one line, so that a reader can tell them apart.
    std::cout << (run.status_json ? status.dump(run.status_watch ? -1 : 2) + "\n" : to_text(status));
    if (run.status_watch && !run.status_json && !clear) std::cout << "\n";
    std::cout.flush();
    if (!std::cout) return kExitOk;  // the reader has gone
    if (run.status_watch) std::this_thread::sleep_for(kBetweenStatus);
  } while (run.status_watch);
  return kExitOk;
}

int run_ping(const AgentRun& run) {
  auto client = connect(run);
  if (!client) return say(client.error().text, kExitUsage);
  unsigned answered = 0;
  double least = 0, most = 0, sum = 0;
  std::string problem;
  for (unsigned i = 0; i < run.ping_count; ++i) {
    if (i > 0) std::this_thread::sleep_for(kBetweenPings);
    const auto answer = ask(*client, {{"command", "ping"}, {"service", run.ping_service}});
    if (!answer) {
      if (answer.error().text != problem) say(answer.error().text, kExitFailure);
      problem = answer.error().text;
      if (answered == 0) break;  // it does not exist, or cannot be reached: said once
      continue;
    }
    const auto rtt = answer->value("rtt_ms", 0.0);
    least = answered == 0 ? rtt : std::min(least, rtt);
    most = std::max(most, rtt);
    sum += rtt;
    ++answered;
    std::cout << fmt::format("{} ({}) by {}: {}, {:.1f} ms\n", run.ping_service, answer->value("address", ""),
                             answer->value("connector", ""), answer->value("path", ""), rtt)
              << std::flush;
  }
  if (answered == 0) return kExitFailure;
  if (run.ping_count > 1) {
    std::cout << fmt::format("{} of {} answered, {:.1f} to {:.1f} ms, {:.1f} on average\n", answered, run.ping_count,
                             least, most, sum / answered);
  }
  return kExitOk;
}

int run_doctor(const AgentRun& run) {
  auto client = connect(run);
  if (!client) return say(client.error().text, kExitUsage);
  const auto answer = ask(*client, {{"command", "doctor"}});
  if (!answer) return say(answer.error().text, kExitFailure);
  auto findings = reach_servers(servers_to_reach(*answer, run.config.servers));
  const auto blocked = check_local_firewall(service_addresses(*answer));
  for (const auto& check : answer->value("checks", json::array())) {
    findings.push_back({{"check", check.value("check", "")},
                        {"verdict", check.value("verdict", "")},
                        {"text", check.value("text", "")},
                        {"remedy", check.value("remedy", "")}});
    // The agent's own check is of the way to its listener; what it found there is the nearer cause.
    if (blocked && check.value("check", "") == "firewall" && check.value("verdict", "") == "ok") {
      findings.back() = *blocked;
    }
  }
  const bool ok = std::none_of(findings.begin(), findings.end(), [](const auto& f) { return f["verdict"] == "fail"; });
  if (run.doctor_json) {
    std::cout << json{{"ok", ok}, {"checks", findings}}.dump(2) << '\n';
    return ok ? kExitOk : kExitFailure;
  }
  for (const auto& f : findings) {
    std::cout << fmt::format("{:<5} {:<9} {}\n", f["verdict"].template get<std::string>(),
                             f["check"].template get<std::string>(), f["text"].template get<std::string>());
    const auto remedy = f["remedy"].template get<std::string>();
    if (!remedy.empty()) std::cout << fmt::format("{:<15} to mend it: {}\n", "", remedy);
  }
  return ok ? kExitOk : kExitFailure;
}

int run_down(const AgentRun& run) {
  auto client = connect(run);
  if (client) {
    const auto answer = ask(*client, {{"command", "down"}});
    if (!answer) return say(answer.error().text, kExitFailure);
    const auto gone = client->receive(kStopTimeout);  // the agent closes the socket when it ends
    if (!gone && gone.error().code == Errc::timed_out) return say("the agent does not stop", kExitFailure);
    std::cout << "The agent is down.\n";
    return kExitOk;
  }
  if (client.error().code == Errc::denied) return say(client.error().text, kExitUsage);
  auto netlink = os::Netlink::open();
  if (!netlink) return say(netlink.error().text, kExitFailure);
  const auto released = release_routes(*netlink);
  if (!released) return say(released.error().text + "; run as root", kExitUsage);
  std::cout << (*released > 0 ? "No agent was running; its services' networks are no longer held.\n"
                              : "No agent was running.\n");
  return kExitOk;
}

}  // namespace ztna::apps
