#include "apps/ztna-agent/local_firewall.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "agent/tcp_reentry.h"
#include "os/clock.h"
#include "os/fd.h"
#include "os/sockaddr.h"

namespace ztna::apps {
namespace {

constexpr std::size_t kMaxAddresses = 64;
constexpr Duration kPatience = 1s;

struct Attempt {
  const ServiceAddress* to;
  os::Fd socket;
  bool over = false;
  bool connected = false;
};

void begin(Attempt& attempt) {
  sockaddr_storage to{};
  const auto size = os::to_sockaddr({attempt.to->address, agent::TcpReentry::kCheckPort}, to);
  attempt.socket = os::Fd{::socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (attempt.socket.get() < 0) {
    attempt.over = true;
  } else if (::connect(attempt.socket.get(), reinterpret_cast<const sockaddr*>(&to), size) == 0) {
    attempt.over = attempt.connected = true;
  } else {
    attempt.over = errno != EINPROGRESS;
  }
}

void finish(Attempt& attempt) {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(attempt.socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  attempt.over = true;
  attempt.connected = error == 0 || error == ECONNRESET;  // the agent resets what it has let connect
}

void wait(std::vector<Attempt>& attempts) {
  const auto until = os::now() + kPatience;
  for (auto now = os::now(); now < until; now = os::now()) {
    std::vector<pollfd> waiting;
    waiting.reserve(attempts.size());
    for (const auto& a : attempts) waiting.push_back({a.over ? -1 : a.socket.get(), POLLOUT, 0});
    if (std::all_of(attempts.begin(), attempts.end(), [](const auto& a) { return a.over; })) return;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - now).count() + 1;
    ::poll(waiting.data(), waiting.size(), static_cast<int>(left));
    for (std::size_t i = 0; i < attempts.size(); ++i) {
      if (waiting[i].revents != 0) finish(attempts[i]);
    }
  }
}

}  // namespace

std::optional<nlohmann::json> check_local_firewall(const std::vector<ServiceAddress>& services) {
  std::vector<Attempt> attempts;
  for (const auto& service : services) {
    if (attempts.size() == kMaxAddresses) break;
    attempts.push_back({&service, {}});
    begin(attempts.back());
  }
  wait(attempts);
  std::string silent;
  for (const auto& a : attempts) {
    if (!a.connected)
      silent += fmt::format("{}{} ({})", silent.empty() ? "" : ", ", to_string(a.to->address), a.to->service);
  }
  if (silent.empty()) return std::nullopt;
  return nlohmann::json{{"check", "firewall"},
                        {"verdict", "fail"},
                        {"text", fmt::format("this machine's firewall drops what goes to or comes from {}", silent)},
                        {"remedy",
                         "let the firewall accept what goes out and comes in by the tunnel's device, e.g. nft: "
                         "oifname \"ztna0\" accept and iifname \"ztna0\" accept"}};
}

}  // namespace ztna::apps
