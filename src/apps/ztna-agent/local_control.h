// The running agent's side of `status`, `ping` and `down`: one JSON object a line over a Unix socket.
//
//   {"command": "status"}                    -> {"ok": true, "status": {...}}
//   {"command": "ping", "service": "web"}    -> {"ok": true, "path": "relay", "rtt_ms": 12.3, "address": "...",
//   "connector": "..."}
//   {"command": "doctor"}                    -> {"ok": true, "checks": [{"check", "verdict", "text", "remedy"}]}
//   {"command": "down"}                      -> {"ok": true}, then the agent stops
//   anything else, and what cannot be done   -> {"ok": false, "problem": "..."}
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/agent.h"
#include "os/unix_socket.h"

namespace ztna::apps {

class LocalControl {
 public:
  /// `loop` and `agent` must outlive it. `on_down` is called after its answer was queued. Makes the socket's directory.
  /// Errors: as os::LineServer::listen.
  Result<void> open(os::EventLoop& loop, const std::string& path, agent::Agent& agent, std::function<void()> on_down);

 private:
  void on_line(os::LineConnection& client, std::string_view line);
  void doctor(os::LineConnection& client);
  void ping(os::LineConnection& client, const std::string& service);

  agent::Agent* agent_ = nullptr;
  std::function<void()> on_down_;
  std::unique_ptr<os::LineServer> server_;
};

}  // namespace ztna::apps
