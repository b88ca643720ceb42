#include "connector/backend_names.h"

#include <utility>

#include "base/log.h"

namespace ztna::connector {

BackendNames::BackendNames(tunnel::Resolver& resolver) : resolver_(resolver), alive_(std::make_shared<bool>(true)) {}

const std::vector<IpAddress>* BackendNames::known(const std::string& host, TimePoint now) {
  auto found = entries_.find(host);
  if (found == entries_.end()) {
    found = entries_.emplace(host, Entry{}).first;
    if (const auto literal = IpAddress::parse(host)) {
      found->second.addresses = {*literal};
      found->second.ask_again = kNever;
    }
  }
  auto& entry = found->second;
  if (now >= entry.ask_again) ask(host, entry, now);
  return entry.addresses.empty() ? nullptr : &entry.addresses;
}

BackendNames::Ticket BackendNames::wait(const std::string& host, TimePoint now, Done done) {
  (void)known(host, now);
  auto& entry = entries_.find(host)->second;
  const auto ticket = next_ticket_++;
  entry.waiting.emplace(ticket, std::move(done));
  if (!entry.asking) ask(host, entry, now);
  return ticket;
}

void BackendNames::cancel(Ticket ticket) {
  for (auto& [host, entry] : entries_) {
    if (entry.waiting.erase(ticket) != 0) return;
  }
}

void BackendNames::ask(const std::string& host, Entry& entry, TimePoint now) {
  if (entry.asking) return;
  entry.asking = true;
  entry.ask_again = now + (entry.addresses.empty() ? kRetry : kFresh);
  resolver_.resolve(host, [this, host, alive = std::weak_ptr<bool>(alive_)](auto answer) {
    if (!alive.expired()) answered(host, std::move(answer));
  });
}

void BackendNames::answered(const std::string& host, Result<std::vector<IpAddress>> answer) {
  auto& entry = entries_.find(host)->second;
  entry.asking = false;
  if (answer && !answer->empty()) {
    // The first answer came in reply to a question with the short interval: it is good for the long one.
    if (entry.addresses.empty()) entry.ask_again += kFresh - kRetry;
    if (entry.addresses != *answer)
      log::debug("backend resolved", {{"host", host}, {"address", to_string(answer->front())}});
    entry.addresses = std::move(*answer);
  } else {
    failures_.add();
    log::warn("backend's name does not resolve", {{"host", host},
                                                  {"why", answer ? "no address" : answer.error().text},
                                                  {"old_answer", !entry.addresses.empty()}});
  }
  const auto addresses = entry.addresses;  // callbacks may come back to us
  for (auto& [ticket, done] : std::exchange(entry.waiting, {})) done(addresses);
}

}  // namespace ztna::connector
