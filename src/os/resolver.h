// Names to addresses without blocking the loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace ztna::os {

class EventLoop;

/// getaddrinfo on Asio's resolver thread. Destroying the resolver drops all callbacks.
class Resolver {
 public:
  /// Addresses in the order of RFC 6724 as the system gives them, IPv4 and IPv6, without duplicates, never empty.
  /// Errors: not_found (no such name), timed_out (no answer from a server; try again), io.
  using Callback = std::function<void(Result<std::vector<SocketAddress>>)>;

  explicit Resolver(EventLoop& loop);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// `host`: a name, or an address (no query then). `fn` is called once on the loop, never before this returns.
  void resolve(const std::string& host, std::uint16_t port, Callback fn);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace ztna::os
