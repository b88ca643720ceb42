// The server end of os/unix_socket.h.
#include "os/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <unordered_map>

#include "os/io_status.h"
#include "os/unix_address.h"

namespace ztna::os {
namespace {

class Server;

class Connection final : public LineConnection, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& server, EventLoop& loop, Fd fd, std::uint64_t id, PeerCredentials peer)
      : server_(server), loop_(loop), fd_(std::move(fd)), id_(id), peer_(peer) {}

  void start() {
    watch_ = loop_.watch(
        fd_.get(), [this] { on_readable(); }, [this] { on_writable(); });
  }
  std::uint64_t id() const override { return id_; }
  const PeerCredentials& peer() const override { return peer_; }
  void send(std::string_view line) override;
  void close() override;
  void detach() {
    over_ = true;
    watch_.reset();
  }

 private:
  void on_readable();
  void on_writable();
  bool flush();
  bool take_lines();
  void end();

  Server& server_;
  EventLoop& loop_;
  Fd fd_;
  std::uint64_t id_;
  PeerCredentials peer_;
  std::string in_;
  std::string out_;
  bool closing_ = false;
  bool over_ = false;
  Watch watch_;
};

class Server final : public LineServer {
 public:
  Server(EventLoop& loop, std::string path, LineServerOptions options, Handler handler, Fd fd, struct stat file)
      : loop_(loop),
        path_(std::move(path)),
        options_(options),
        handler_(std::move(handler)),
        fd_(std::move(fd)),
        file_(file) {
    watch_ = loop_.watch(fd_.get(), [this] { on_readable(); });
  }
  ~Server() override {
    for (auto& [id, connection] : connections_) connection->detach();
    // Only if it is still ours: a successor may have replaced it.
    struct stat now {};
    if (::stat(path_.c_str(), &now) == 0 && now.st_ino == file_.st_ino && now.st_dev == file_.st_dev) {
      ::unlink(path_.c_str());
    }
  }

  LineConnection* find(std::uint64_t id) override {
    const auto it = connections_.find(id);
    return it == connections_.end() ? nullptr : it->second.get();
  }
  std::size_t clients() const override { return connections_.size(); }

  const LineServerOptions& options() const { return options_; }
  const Handler& handler() const { return handler_; }
  void forget(std::uint64_t id) { connections_.erase(id); }

 private:
  void on_readable() {
    constexpr int kBound = 16;
    for (int i = 0; i < kBound; ++i) {
      Fd fd{::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
      if (!fd) return;
      if (connections_.size() >= options_.max_clients) continue;
      ucred who{};
      socklen_t length = sizeof who;
      if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &length) != 0) continue;
      const std::uint64_t id = ++last_id_;
      auto connection =
          std::make_shared<Connection>(*this, loop_, std::move(fd), id, PeerCredentials{who.pid, who.uid, who.gid});
      connections_.emplace(id, connection);
      connection->start();
    }
  }

  EventLoop& loop_;
  std::string path_;
  LineServerOptions options_;
  Handler handler_;
  Fd fd_;
  struct stat file_;
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, std::shared_ptr<Connection>> connections_;
  Watch watch_;
};

void Connection::send(std::string_view line) {
  if (over_ || closing_) return;
  const std::size_t at = out_.size();
  out_.append(line);
  std::replace(out_.begin() + static_cast<std::ptrdiff_t>(at), out_.end(), '\n', ' ');
  out_.push_back('\n');
  if (out_.size() > server_.options().max_queued) {
    out_.clear();
    closing_ = true;
  }
  watch_.want_write(true);  // sent by on_writable, never from here: the caller may be in a loop over clients
}

void Connection::close() {
  closing_ = true;
  watch_.want_write(true);
}

void Connection::on_readable() {
  const auto self = shared_from_this();
  std::array<char, 16 * 1024> block{};
  const ssize_t n = ::recv(fd_.get(), block.data(), block.size(), 0);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) end();
    return;
  }
  if (n == 0) {
    if (out_.empty()) return end();
    watch_.want_read(false);  // half-closed: it may still read our answers
    return close();
  }
  if (closing_) return;
  in_.append(block.data(), static_cast<std::size_t>(n));
  if (!take_lines()) end();
}

/// False: the client broke the rules.
bool Connection::take_lines() {
  std::size_t at = 0;
  for (std::size_t end = in_.find('\n'); end != std::string::npos; end = in_.find('\n', at)) {
    if (end - at > server_.options().max_line) return false;
    const std::string line = in_.substr(at, end - at);
    at = end + 1;
    server_.handler().on_line(*this, line);
    if (over_ || closing_) return true;
  }
  in_.erase(0, at);
  return in_.size() <= server_.options().max_line;
}

void Connection::on_writable() {
  const auto self = shared_from_this();
  if (!flush()) return end();
  if (!out_.empty()) return;
  watch_.want_write(false);
  if (closing_) end();
}

bool Connection::flush() {
  while (!out_.empty()) {
    const ssize_t n = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    out_.erase(0, static_cast<std::size_t>(n));
  }
  return true;
}

void Connection::end() {
  if (over_) return;
  over_ = true;
  watch_.reset();
  if (server_.handler().on_closed) server_.handler().on_closed(*this);
  server_.forget(id_);
}

/// True when somebody accepts connections on `path`.
bool somebody_listens(const sockaddr_un& address) {
  const Fd probe{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!probe) return true;
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
  return errno == EAGAIN || errno == EACCES || errno == EPERM;
}

}  // namespace

Result<std::unique_ptr<LineServer>> LineServer::listen(EventLoop& loop, const std::string& path,
                                                       LineServerOptions options, Handler handler) {
  const auto address = unix_address(path);
  if (!address) return fail(address.error());
  struct stat file {};
  if (::lstat(path.c_str(), &file) == 0) {
    if (!S_ISSOCK(file.st_mode)) return fail(Errc::conflict, "{}: exists and is not a socket", path);
    if (somebody_listens(*address)) return fail(Errc::conflict, "{}: another program listens there", path);
    ::unlink(path.c_str());
  }
  Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!fd) return fail_errno(errno, "{}", path);
  // fchmod before bind sets the mode that the file is created with: there is no moment in which it is wider.
  if (::fchmod(fd.get(), options.mode) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return fail_errno(errno, "{}", path);
  }
  // umask may have narrowed it; widening now is safe, nobody listens yet.
  if (::chmod(path.c_str(), options.mode) != 0 || ::stat(path.c_str(), &file) != 0 || ::listen(fd.get(), 16) != 0) {
    const int err = errno;
    ::unlink(path.c_str());
    return fail_errno(err, "{}", path);
  }
  return std::make_unique<Server>(loop, path, options, std::move(handler), std::move(fd), file);
}

}  // namespace ztna::os
