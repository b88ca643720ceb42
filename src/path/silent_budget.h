// What may be sent, by all sessions together, to addresses that have never answered: what keeps a peer that names a
// victim as its address in session after session from making a flood of it.
//
// An IP that has answered (to any session) is free for kProved. Counts by IP, not by port: many behind one NAT share
// it.
#pragma once

#include <cstddef>
#include <unordered_map>

#include "base/address.h"
#include "base/rate.h"
#include "base/time.h"

namespace ztna::path {

class SilentBudget {
 public:
  // A session sends at most 15 requests to one IP. Eight Agents behind one NAT may begin at once.
  static constexpr std::uint32_t kBurst = 120;
  static constexpr std::uint32_t kPerSecond = 2;
  static constexpr Duration kProved = 10min;
  static constexpr std::size_t kMaxAddresses = 4096;  // further ones share what follows
  static constexpr std::uint32_t kOthersBurst = 640;
  static constexpr std::uint32_t kOthersPerSecond = 64;

  /// False: a request to this IP must not be sent now.
  bool take(const IpAddress& ip, TimePoint now);
  /// An authentic answer came from there. (A request proves nothing: its source may be spoofed.)
  void proved(const IpAddress& ip, TimePoint now);

 private:
  struct Entry {
    Rate rate{kPerSecond, kBurst};
    TimePoint proved_until{};
    TimePoint used{};
  };
  Entry* entry(const IpAddress& ip, TimePoint now);

  std::unordered_map<IpAddress, Entry> entries_;
  Rate others_{kOthersPerSecond, kOthersBurst};
  TimePoint swept_{};
};

}  // namespace ztna::path
