// Non-blocking TCP.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "os/event_loop.h"
#include "os/fd.h"
#include "os/io_status.h"

namespace ztna::os {

struct TcpOptions {
  bool no_delay = true;
  Duration keep_alive = 60s;    // idle time before the first probe; 0: off. Then every quarter of it, 4 probes
  std::size_t send_buffer = 0;  // 0: kernel's default and autotuning
  std::size_t receive_buffer = 0;
};

/// A connected (or connecting) socket. Closing it with unread octets makes the kernel send RST, as always.
class TcpSocket {
 public:
  TcpSocket() = default;
  /// Takes over a connected, non-blocking descriptor.
  explicit TcpSocket(Fd fd) : fd_(std::move(fd)) {}

  /// Begins to connect; when writable, connect_result() tells. Fails at once (unreachable, denied, ...) where the
  /// kernel does.
  static Result<TcpSocket> start_connect(const SocketAddress& to, const TcpOptions& options = {});
  /// ok, would_block (not yet), refused, unreachable, timed_out, failed. Clears the pending error.
  IoStatus connect_result();

  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  SocketAddress local() const;
  SocketAddress peer() const;

  /// ok with octets > 0, would_block, eof (FIN), reset, timed_out, failed.
  IoResult read(MutableBytes into);
  /// ok with octets > 0 (maybe fewer than given), would_block, reset, timed_out, failed. At most kMaxParts parts are
  /// looked at.
  static constexpr std::size_t kMaxParts = 16;
  IoResult write(Bytes data);
  IoResult writev(std::span<const Bytes> parts);
  /// FIN after what was written.
  void shutdown_write();
  /// RST (SO_LINGER 0) and close.
  void abort();
  void close() { fd_.reset(); }

 private:
  Fd fd_;
};

/// An attempt to connect, with a callback on the loop. Destroying it (also inside the callback) gives up silently.
class TcpConnect {
 public:
  /// `fn` is called once, never before start() returned. Errors: refused, unreachable, timed_out (after `timeout`, or
  /// by the kernel), denied, io.
  using Callback = std::function<void(Result<TcpSocket>)>;
  static std::unique_ptr<TcpConnect> start(EventLoop& loop, const SocketAddress& to, const TcpOptions& options,
                                           Duration timeout, Callback fn);
  ~TcpConnect();

 private:
  TcpConnect();
  struct State;
  std::shared_ptr<State> state_;
};

struct ListenOptions {
  /// SO_BINDTODEVICE; empty: any. Beware: this host's own connections to an address of the device count as arrived by
  /// it.
  std::string device;
  int backlog = 1024;
  bool v6_only = true;
  TcpOptions socket;  // for accepted ones
};

class TcpListener {
 public:
  /// SO_REUSEADDR is set. Errors: conflict, denied, invalid_argument, io; the text names the address.
  static Result<TcpListener> listen(const SocketAddress& local, ListenOptions options = {});

  int fd() const { return fd_.get(); }
  const SocketAddress& local() const { return local_; }

  struct Accepted {
    IoStatus status = IoStatus::ok;  // would_block: none waits; failed: e.g. out of descriptors (try later); else:
    TcpSocket socket;
    SocketAddress peer;
  };
  /// Call until would_block, bounded.
  Accepted accept();

 private:
  Fd fd_;
  SocketAddress local_;
  ListenOptions options_;
};

}  // namespace ztna::os
