#include "apps/ztna-agent/reach.h"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>

#include "os/clock.h"
#include "os/fd.h"
#include "os/sockaddr.h"
#include "os/system_random.h"
#include "wire/probe.h"

namespace ztna::apps {
namespace {

using nlohmann::json;

constexpr Duration kRepeat = 300ms;  // probes are lost, too
constexpr int kSends = 5;

struct Target {
  SocketAddress address;
  os::Fd socket;
  wire::TransactionId transaction;
  bool answered = false;
  std::string problem;  // of this machine: no route, a local firewall
};

struct Names {
  std::vector<SocketAddress> addresses;
  std::string problem;
};

json finding(const char* check, const char* verdict, std::string text, const char* remedy = "") {
  return {{"check", check}, {"verdict", verdict}, {"text", std::move(text)}, {"remedy", remedy}};
}

Names look_up(const config::Server& server) {
  Names out;
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(server.host.c_str(), std::to_string(server.port).c_str(), &hints, &list);
  if (error != 0) {
    out.problem = ::gai_strerror(error);
    return out;
  }
  for (const auto* entry = list; entry != nullptr; entry = entry->ai_next) {
    const auto address = os::from_sockaddr(entry->ai_addr, entry->ai_addrlen);
    if (address && std::find(out.addresses.begin(), out.addresses.end(), *address) == out.addresses.end()) {
      out.addresses.push_back(*address);
    }
  }
  ::freeaddrinfo(list);
  return out;
}

void open(Target& target, os::SystemRandom& random) {
  target.transaction = wire::TransactionId{random.array<12>()};
  sockaddr_storage to{};
  const auto size = os::to_sockaddr(target.address, to);
  target.socket = os::Fd{::socket(to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (target.socket.get() < 0 || ::connect(target.socket.get(), reinterpret_cast<const sockaddr*>(&to), size) != 0) {
    target.problem = std::generic_category().message(errno);
  }
}

void send(Target& target, os::SystemRandom& random) {
  if (target.answered || target.socket.get() < 0) return;
  const wire::Probe probe{.kind = wire::ProbeKind::open_request,
                          .session = wire::SessionId{random.array<8>()},
                          .transaction = target.transaction,
                          .address = {},
                          .mac = {}};
  const auto octets = wire::encode_probe(probe, wire::Role::agent);
  if (::send(target.socket.get(), octets.data(), octets.size(), MSG_NOSIGNAL) < 0) {
    target.problem = std::generic_category().message(errno);
  }
}

void receive(Target& target) {
  std::array<std::uint8_t, 512> buffer{};
  for (int turn = 0; turn < 16; ++turn) {
    const auto got = ::recv(target.socket.get(), buffer.data(), buffer.size(), 0);
    if (got < 0) {
      if (errno != EAGAIN) target.problem = std::generic_category().message(errno);
      return;
    }
    const auto probe = wire::Probe::parse(Bytes{buffer}.first(static_cast<std::size_t>(got)));
    if (probe && probe->kind == wire::ProbeKind::open_response && probe->transaction == target.transaction) {
      target.answered = true;
      return;
    }
  }
}

void ask(std::vector<Target>& targets) {
  os::SystemRandom random;
  for (auto& target : targets) open(target, random);
  for (int turn = 0; turn < kSends; ++turn) {
    for (auto& target : targets) send(target, random);
    const auto until = os::now() + kRepeat;
    for (auto now = os::now(); now < until; now = os::now()) {
      std::vector<pollfd> waiting;
      waiting.reserve(targets.size());
      for (const auto& target : targets) {
        waiting.push_back({target.answered ? -1 : target.socket.get(), POLLIN, 0});
      }
      if (std::all_of(targets.begin(), targets.end(), [](const auto& t) { return t.answered; })) return;
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - now).count() + 1;
      ::poll(waiting.data(), waiting.size(), static_cast<int>(left));
      for (std::size_t i = 0; i < targets.size(); ++i) {
        if (waiting[i].revents != 0) receive(targets[i]);
      }
    }
  }
}

json udp_finding(const config::Server& server, const std::vector<Target>& targets) {
  std::string reached, silent;
  for (const auto& target : targets) {
    auto& list = target.answered ? reached : silent;
    list += (list.empty() ? "" : ", ") + to_string(target.address);
    if (!target.answered && !target.problem.empty()) list += " (" + target.problem + ")";
  }
  if (reached.empty()) {
    return finding("udp", "fail", fmt::format("{}: no answer by UDP from {}", to_string(server), silent),
                   "let outgoing UDP to this port, and its answers, through the firewalls; is the Intermediate up?");
  }
  if (!silent.empty()) {
    return finding("udp", "warn", fmt::format("{} answers; {} does not", reached, silent),
                   "nothing must be done; the address that answers is used");
  }
  return finding("udp", "ok", fmt::format("{} answers", reached));
}

}  // namespace

std::vector<json> reach_servers(const std::vector<config::Server>& servers) {
  std::vector<json> out;
  for (const auto& server : servers) {
    const auto names = look_up(server);
    if (names.addresses.empty()) {
      out.push_back(finding("dns", "fail", fmt::format("{}: {}", server.host, names.problem),
                            "check the name and this machine's resolver"));
      continue;
    }
    const bool literal = IpAddress::parse(server.host).has_value();
    std::string list;
    for (const auto& address : names.addresses) list += (list.empty() ? "" : ", ") + to_string(address.ip);
    out.push_back(finding("dns", "ok",
                          literal ? fmt::format("{} is an address, no name is looked up", server.host)
                                  : fmt::format("{} is {}", server.host, list)));
    std::vector<Target> targets;
    for (const auto& address : names.addresses) {
      targets.emplace_back();
      targets.back().address = address;
    }
    ask(targets);
    out.push_back(udp_finding(server, targets));
  }
  return out;
}

}  // namespace ztna::apps
