#include "os/tcp_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "os/sockaddr.h"
#include "os/socket_options.h"

namespace ztna::os {
namespace {

// None of these can fail on a fresh TCP socket in a way that matters.
void apply(int fd, const TcpOptions& options) {
  if (options.no_delay) set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (options.keep_alive > 0s) {
    const auto idle =
        std::max<std::int64_t>(std::chrono::duration_cast<std::chrono::seconds>(options.keep_alive).count(), 1);
    const int seconds = static_cast<int>(std::min<std::int64_t>(idle, 32'767));  // the kernel's maximum
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(seconds / 4, 1));
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
  }
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options.receive_buffer);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options.send_buffer);
}

int stream_socket(Family family) {
  return ::socket(family == Family::v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

}  // namespace

Result<TcpSocket> TcpSocket::start_connect(const SocketAddress& to, const TcpOptions& options) {
  Fd fd{stream_socket(to.ip.family())};
  if (!fd) return fail_errno(errno, "tcp connect {}", to_string(to));
  apply(fd.get(), options);
  sockaddr_storage storage{};
  const socklen_t length = to_sockaddr(to, storage);
  int result = 0;
  do {
    result = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length);
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EINPROGRESS) return fail_errno(errno, "tcp connect {}", to_string(to));
  return TcpSocket{std::move(fd)};
}

IoStatus TcpSocket::connect_result() {
  int err = 0;
  socklen_t length = sizeof err;
  if (getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &err, &length) != 0) return IoStatus::failed;
  if (err != 0) return io_status(err);
  sockaddr_storage peer{};
  length = sizeof peer;
  if (getpeername(fd_.get(), reinterpret_cast<sockaddr*>(&peer), &length) == 0) return IoStatus::ok;
  return errno == ENOTCONN ? IoStatus::would_block : IoStatus::failed;
}

SocketAddress TcpSocket::local() const { return local_address(fd_.get()); }
SocketAddress TcpSocket::peer() const { return peer_address(fd_.get()); }

IoResult TcpSocket::read(MutableBytes into) {
  ssize_t n = 0;
  do {
    n = ::recv(fd_.get(), into.data(), into.size(), 0);
  } while (n < 0 && errno == EINTR);
  if (n > 0) return {IoStatus::ok, static_cast<std::size_t>(n)};
  if (n == 0) return {into.empty() ? IoStatus::ok : IoStatus::eof, 0};
  return {io_status(errno), 0};
}

IoResult TcpSocket::write(Bytes data) { return writev({&data, 1}); }

IoResult TcpSocket::writev(std::span<const Bytes> parts) {
  std::array<iovec, kMaxParts> row{};
  const std::size_t count = std::min(parts.size(), kMaxParts);
  for (std::size_t i = 0; i < count; ++i) row[i] = {const_cast<std::uint8_t*>(parts[i].data()), parts[i].size()};
  msghdr message{};
  message.msg_iov = row.data();
  message.msg_iovlen = count;
  ssize_t n = 0;
  do {
    n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return {IoStatus::ok, static_cast<std::size_t>(n)};
  return {io_status(errno), 0};
}

void TcpSocket::shutdown_write() { ::shutdown(fd_.get(), SHUT_WR); }

void TcpSocket::abort() {
  if (!fd_) return;
  const linger now{1, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd_.reset();
}

Result<TcpListener> TcpListener::listen(const SocketAddress& local, ListenOptions options) {
  const std::string what = fmt::format("tcp listen {}", to_string(local));
  TcpListener l;
  l.fd_.reset(stream_socket(local.ip.family()));
  if (!l.fd_) return fail_errno(errno, "{}", what);
  const int fd = l.fd_.get();
  set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (local.ip.is_v6() && !set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, options.v6_only ? 1 : 0)) {
    return fail_errno(errno, "{}: IPV6_V6ONLY", what);
  }
  if (!options.device.empty() && !bind_to_device(fd, options.device)) {
    return fail_errno(errno, "{}: device {}", what, options.device);
  }
  // Buffer sizes must be there before the handshake to count for the window scale; accepted sockets inherit them.
  apply(fd, options.socket);
  sockaddr_storage storage{};
  const socklen_t length = to_sockaddr(local, storage);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&storage), length) != 0) return fail_errno(errno, "{}", what);
  if (::listen(fd, options.backlog) != 0) return fail_errno(errno, "{}", what);
  l.local_ = local_address(fd);
  l.options_ = std::move(options);
  return l;
}

TcpListener::Accepted TcpListener::accept() {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  int fd = -1;
  do {
    length = sizeof storage;
    fd = ::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
  if (fd < 0) return {errno == EAGAIN ? IoStatus::would_block : IoStatus::failed, {}, {}};
  Accepted accepted{IoStatus::ok, TcpSocket{Fd{fd}}, from_sockaddr(storage).value_or(SocketAddress{})};
  apply(fd, options_.socket);
  return accepted;
}

}  // namespace ztna::os
