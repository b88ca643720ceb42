// Backends' names to addresses, cached: packets never wait for DNS once a name was found.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/counters.h"
#include "base/time.h"
#include "tunnel/ports.h"

namespace ztna::connector {

class BackendNames {
 public:
  /// The system's resolver tells no TTL: names are asked for again after this, while the old answer serves.
  static constexpr Duration kFresh = 30s;
  /// After a failure; an older answer serves on.
  static constexpr Duration kRetry = 5s;

  /// `resolver` must outlive this.
  explicit BackendNames(tunnel::Resolver& resolver);

  /// Addresses to try, in order. Null: not known (yet); a query is on its way if it makes sense. Borrowed until the
  /// next call.
  const std::vector<IpAddress>* known(const std::string& host, TimePoint now);

  /// Gets the addresses, or none if the name does not resolve. Not called from inside wait().
  using Done = std::function<void(const std::vector<IpAddress>& addresses)>;
  using Ticket = std::uint64_t;
  /// For when known() gave null: `done` comes with the answer of the query under way; it starts one if there is none.
  Ticket wait(const std::string& host, TimePoint now, Done done);
  void cancel(Ticket ticket);

  const Counter& failures() const { return failures_; }

 private:
  struct Entry {
    std::vector<IpAddress> addresses;
    TimePoint ask_again{};
    bool asking = false;
    std::map<Ticket, Done> waiting;
  };
  void ask(const std::string& host, Entry& entry, TimePoint now);
  void answered(const std::string& host, Result<std::vector<IpAddress>> answer);

  tunnel::Resolver& resolver_;
  std::map<std::string, Entry, std::less<>> entries_;
  Ticket next_ticket_ = 1;
  Counter failures_;
  std::shared_ptr<bool> alive_;  // a resolver's answer may come after us
};

}  // namespace ztna::connector
