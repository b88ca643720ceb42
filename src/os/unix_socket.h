// The local control socket of a program (`ztna-agent status`): text lines over a Unix stream socket. What a line says
// (JSON) is the caller's business.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "os/event_loop.h"
#include "os/fd.h"

namespace ztna::os {

/// SO_PEERCRED: who connected.
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

/// One client, as the server sees it. Lives until on_closed returned.
class LineConnection {
 public:
  virtual ~LineConnection() = default;
  virtual std::uint64_t id() const = 0;  // never reused
  virtual const PeerCredentials& peer() const = 0;
  /// Queues `line` and a newline; newlines inside become spaces. A client that leaves more than
  /// LineServerOptions::max_queued unread is closed (later, not inside this call).
  virtual void send(std::string_view line) = 0;
  /// Closes after what was queued is sent. No on_line follows.
  virtual void close() = 0;
};

struct LineServerOptions {
  mode_t mode = 0600;
  std::size_t max_line = 64 * 1024;  // octets; a longer line closes the client
  std::size_t max_queued = 4U << 20U;
  std::size_t max_clients = 32;  // further ones are closed at once
};

class LineServer {
 public:
  struct Handler {
    std::function<void(LineConnection&, std::string_view line)> on_line;  // without the newline; borrowed for the call
    std::function<void(LineConnection&)> on_closed;                       // may be empty
  };
  /// Listens on `path`. A socket file that nobody listens on is replaced; a live one, or another kind of file, is an
  /// error: conflict. The server must not be destroyed inside its handler. Errors also: too_large (path over 107
  /// octets), denied, not_found (no such directory), io. The file is removed at the end.
  static Result<std::unique_ptr<LineServer>> listen(EventLoop& loop, const std::string& path, LineServerOptions options,
                                                    Handler handler);
  virtual ~LineServer() = default;
  /// The client with this id, or null.
  virtual LineConnection* find(std::uint64_t id) = 0;
  virtual std::size_t clients() const = 0;
};

/// The other end, blocking: for command-line tools.
class LineClient {
 public:
  /// Errors: not_found (no such file), refused (nobody listens: the program is not running), denied.
  static Result<LineClient> connect(const std::string& path);
  Result<void> send(std::string_view line);
  /// The next line, without newline. Errors: timed_out, closed, too_large.
  Result<std::string> receive(Duration timeout, std::size_t max_line = 4U << 20U);

 private:
  Fd fd_;
  std::string path_;
  std::string buffer_;
};

}  // namespace ztna::os
