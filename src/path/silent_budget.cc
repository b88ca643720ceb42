#include "path/silent_budget.h"

namespace ztna::path {
namespace {

constexpr Duration kRefilled = Duration{1s} * SilentBudget::kBurst / SilentBudget::kPerSecond;
constexpr Duration kSweep = 1s;  // a full table is looked through this often at most

}  // namespace

SilentBudget::Entry* SilentBudget::entry(const IpAddress& ip, TimePoint now) {
  if (const auto found = entries_.find(ip); found != entries_.end()) return &found->second;
  if (entries_.size() >= kMaxAddresses && now >= swept_ + kSweep) {
    swept_ = now;
    // Those that say no more than a new one would.
    std::erase_if(entries_,
                  [&](const auto& e) { return now >= e.second.used + kRefilled && now >= e.second.proved_until; });
  }
  return entries_.size() >= kMaxAddresses ? nullptr : &entries_[ip];
}

bool SilentBudget::take(const IpAddress& ip, TimePoint now) {
  auto* known = entry(ip, now);
  if (known == nullptr) return others_.take(now);
  known->used = now;
  return now < known->proved_until || known->rate.take(now);
}

void SilentBudget::proved(const IpAddress& ip, TimePoint now) {
  if (auto* known = entry(ip, now)) known->proved_until = now + kProved;
}

}  // namespace ztna::path
