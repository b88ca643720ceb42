#include <optional>

#include "os/clock.h"
#include "os/tcp_socket.h"

namespace ztna::os {
namespace {

Errc errc_of_connect(IoStatus status) {
  switch (status) {
    case IoStatus::refused:
    case IoStatus::reset: return Errc::refused;
    case IoStatus::unreachable: return Errc::unreachable;
    case IoStatus::timed_out: return Errc::timed_out;
    case IoStatus::denied: return Errc::denied;
    default: return Errc::io;
  }
}

}  // namespace

struct TcpConnect::State : std::enable_shared_from_this<TcpConnect::State> {
  State(EventLoop& loop, const SocketAddress& address, Callback callback)
      : to(address), fn(std::move(callback)), timer(loop, [this] { with_self(&State::on_timer); }) {}

  SocketAddress to;
  Callback fn;
  Timer timer;
  Watch watch;
  TcpSocket socket;
  std::optional<Error> failed;  // at once; told from the timer, so that start() returns first

  /// The user's callback may destroy the TcpConnect: *this stays until the handler has returned.
  void with_self(void (State::*handler)()) {
    const auto self = shared_from_this();
    (this->*handler)();
  }

  void finish(Result<TcpSocket> result) {
    watch.reset();
    timer.cancel();
    if (!fn) return;
    const auto callback = std::move(fn);
    fn = nullptr;
    callback(std::move(result));  // may destroy *this
  }

  void on_timer() {
    if (failed) return finish(fail(*failed));
    socket.abort();
    finish(fail(Errc::timed_out, "tcp connect {}: timed out", to_string(to)));
  }

  void on_writable() {
    const IoStatus status = socket.connect_result();
    if (status == IoStatus::would_block) return;
    if (status == IoStatus::ok) {
      watch.reset();  // before the descriptor gets a new owner
      return finish(std::move(socket));
    }
    finish(fail(errc_of_connect(status), "tcp connect {}: {}", to_string(to), to_string(status)));
  }
};

TcpConnect::TcpConnect() = default;

TcpConnect::~TcpConnect() {
  state_->fn = nullptr;
  state_->watch.reset();
  state_->timer.cancel();
}

std::unique_ptr<TcpConnect> TcpConnect::start(EventLoop& loop, const SocketAddress& to, const TcpOptions& options,
                                              Duration timeout, Callback fn) {
  std::unique_ptr<TcpConnect> connect{new TcpConnect};
  connect->state_ = std::make_shared<State>(loop, to, std::move(fn));
  State& s = *connect->state_;
  auto socket = TcpSocket::start_connect(to, options);
  if (!socket) {
    s.failed = socket.error();
    s.timer.set(now());
    return connect;
  }
  s.socket = std::move(*socket);
  s.watch = loop.watch(s.socket.fd(), {}, [&s] { s.with_self(&State::on_writable); });
  s.watch.want_read(false);
  s.watch.want_write(true);
  s.timer.set(now() + timeout);
  return connect;
}

}  // namespace ztna::os
