// The HTTP that every daemon offers to its operator: /metrics, /healthz, /readyz. HTTP/1.1 by Boost.Beast on one thread
// of its own, so that a scrape never holds up packets. Everything that a stranger can make grow has a limit.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/address.h"
#include "base/metrics.h"
#include "base/result.h"

namespace ztna::http {

struct Readiness {
  bool ready = false;  // 200 or 503
  std::string text;    // "registered", "draining", ...; the body
};

struct ServerOptions {
  IpAddress bind = IpAddress::v4(0x7f000001);
  std::uint16_t port = 0;                     // 0: any free one (tests); a daemon with metrics port 0 starts no server
  std::size_t max_connections = 64;           // more are closed at once
  std::size_t max_header_bytes = 8192;        // 431 above
  std::size_t max_body_bytes = 4096;          // 413 above
  std::chrono::milliseconds timeout{10'000};  // for a whole request to arrive, for a response to leave, and for idling
};

class Server {
 public:
  /// Listens and serves until destroyed. `metrics` is borrowed and must not change while the server lives; its read
  /// functions and `readiness` are called on the server's thread. `readiness` may be empty: always 200 `ok`.
  /// Errors: conflict (port taken), denied (privileged port), io; each one line that names the port and how to mend it.
  static Result<std::unique_ptr<Server>> start(const ServerOptions& options, const Metrics& metrics,
                                               std::function<Readiness()> readiness);
  /// Closes all connections and joins the thread.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// The port listened on.
  std::uint16_t port() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ztna::http
