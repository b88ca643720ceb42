#include "apps/ztna-agent/local_control.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/ztna-agent/status_view.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/files.h"

namespace ztna::apps {
namespace {

using nlohmann::json;

/// Names and reasons may come from peers: what is no UTF-8 is replaced, not thrown.
std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

void refuse(os::LineConnection& client, const std::string& why) {
  client.send(dump({{"ok", false}, {"problem", why}}));
}

std::string text_of(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

}  // namespace

Result<void> LocalControl::open(os::EventLoop& loop, const std::string& path, agent::Agent& agent,
                                std::function<void()> on_down) {
  agent_ = &agent;
  on_down_ = std::move(on_down);
  if (const auto slash = path.rfind('/'); slash != std::string::npos && slash > 0) {
    if (auto made = os::create_directories(path.substr(0, slash)); !made) return fail(made.error());
  }
  auto server = os::LineServer::listen(
      loop, path, {}, {[this](os::LineConnection& client, std::string_view line) { on_line(client, line); }, {}});
  if (!server) return fail(server.error());
  server_ = std::move(*server);
  return {};
}

void LocalControl::on_line(os::LineConnection& client, std::string_view line) {
  const auto request = json::parse(line, nullptr, false);
  if (!request.is_object()) return refuse(client, "needs a JSON object");
  const auto command = text_of(request, "command");
  if (command == "status") {
    client.send(dump({{"ok", true}, {"status", to_json(agent_->snapshot(os::now()))}}));
  } else if (command == "ping") {
    ping(client, text_of(request, "service"));
  } else if (command == "doctor") {
    doctor(client);
  } else if (command == "down") {
    log::info("told to go down", {{"uid", client.peer().uid}, {"pid", client.peer().pid}});
    client.send(dump({{"ok", true}}));
    on_down_();
  } else {
    refuse(client, "unknown command");
  }
}

void LocalControl::doctor(os::LineConnection& client) {
  const auto id = client.id();
  agent_->examine(
      [this, id](const agent::DoctorFacts& facts) {
        auto* asker = server_ == nullptr ? nullptr : server_->find(id);
        if (asker == nullptr) return;
        auto checks = json::array();
        for (const auto& finding : agent::diagnose(facts)) {
          checks.push_back({{"check", finding.check},
                            {"verdict", agent::to_string(finding.verdict)},
                            {"text", finding.text},
                            {"remedy", finding.remedy}});
        }
        auto servers = json::array();
        for (const auto& server : facts.servers) servers.push_back({{"host", server.host}, {"port", server.port}});
        auto services = json::array();
        for (const auto& service : facts.status.services) {
          for (const auto& address : {service.v4, service.v6}) {
            // A family that our TUN does not have leads elsewhere.
            if (!address || !(address->is_v4() ? facts.reentry_v4 : facts.reentry_v6)) continue;
            services.push_back({{"id", service.id}, {"address", to_string(*address)}});
          }
        }
        asker->send(dump({{"ok", true},
                          {"checks", std::move(checks)},
                          {"servers", std::move(servers)},
                          {"services", std::move(services)}}));
      },
      os::now());
}

void LocalControl::ping(os::LineConnection& client, const std::string& service) {
  const auto id = client.id();
  agent_->ping(
      service,
      [this, id](const agent::Agent::Pong& pong) {
        auto* asker = server_ == nullptr ? nullptr : server_->find(id);
        if (asker == nullptr) return;
        if (!pong.ok) return refuse(*asker, pong.problem);
        const std::chrono::duration<double, std::milli> rtt = pong.rtt;
        asker->send(dump({{"ok", true},
                          {"path", pong.relayed ? "relay" : "direct"},
                          {"rtt_ms", rtt.count()},
                          {"address", to_string(pong.address)},
                          {"connector", pong.connector}}));
      },
      os::now());
}

}  // namespace ztna::apps
