// Agent: what `ztna-agent doctor` asks for.
#include <algorithm>
#include <utility>

#include "agent/agent.h"
#include "identity/certificate.h"

namespace ztna::agent {

void Agent::examine(std::function<void(const DoctorFacts&)> done, TimePoint now) {
  now_ = now;
  if (examinations_.empty()) {
    reentry_.check_listener(Family::v4);
    reentry_.check_listener(Family::v6);
    examine_until_ = now + kExaminePatience;
  }
  examinations_.push_back(std::move(done));
}

void Agent::finish_examination() {
  if (examinations_.empty()) return;
  DoctorFacts facts;
  facts.reentry_v4 = reentry_.listener_answered(Family::v4);
  facts.reentry_v6 = reentry_.listener_answered(Family::v6);
  if (now_ < examine_until_ && !(facts.reentry_v4.value_or(true) && facts.reentry_v6.value_or(true))) return;
  facts.status = snapshot(now_);
  facts.servers = options_.servers;
  if (auto* connection = ready() ? control()->connection() : nullptr) {
    facts.control_mtu = connection->stats().max_udp_payload;
  }
  facts.now = ports_.wall_time();
  facts.certificate_ends = tls_.ends;
  if (const auto own = identity::Certificate::parse(tls_.certificate)) facts.certificate_begins = own->not_before;
  examine_until_ = kNever;
  for (const auto& done : std::exchange(examinations_, {})) done(facts);
}

}  // namespace ztna::agent
