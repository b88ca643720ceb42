// The client end of os/unix_socket.h.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "os/clock.h"
#include "os/io_status.h"
#include "os/unix_address.h"
#include "os/unix_socket.h"

namespace ztna::os {

Result<LineClient> LineClient::connect(const std::string& path) {
  const auto address = unix_address(path);
  if (!address) return fail(address.error());
  LineClient client;
  client.path_ = path;
  client.fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!client.fd_) return fail_errno(errno, "{}", path);
  if (::connect(client.fd_.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return fail_errno(errno, "{}", path);
  }
  return client;
}

Result<void> LineClient::send(std::string_view line) {
  std::string text{line};
  std::replace(text.begin(), text.end(), '\n', ' ');
  text.push_back('\n');
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t n = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "{}", path_);
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::string> LineClient::receive(Duration timeout, std::size_t max_line) {
  const TimePoint deadline = now() + timeout;
  for (;;) {
    const auto end = buffer_.find('\n');
    if (end != std::string::npos && end <= max_line) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (buffer_.size() > max_line) return fail(Errc::too_large, "{}: a line of more than {} octets", path_, max_line);
    const auto left = std::chrono::ceil<Millis>(deadline - now()).count();
    pollfd wait{fd_.get(), POLLIN, 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000)));
    if (ready == 0) return fail(Errc::timed_out, "{}: no answer", path_);
    if (ready < 0) {
      if (errno == EINTR) continue;
      return fail_errno(errno, "{}", path_);
    }
    std::array<char, 16 * 1024> block{};
    const ssize_t n = ::recv(fd_.get(), block.data(), block.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "{}", path_);
    if (n == 0) return fail(Errc::closed, "{}: closed by the program", path_);
    buffer_.append(block.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace ztna::os
