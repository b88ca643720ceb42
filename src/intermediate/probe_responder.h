// Answers keyless path probes with the source address that they came from, so that clients find out what their NAT does
// (docs/protocol.md 5; RFC 5780). No answer is longer than its request, and each source gets few: there is nothing to
// gain from sending probes in somebody else's name.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/address.h"
#include "base/bytes.h"
#include "base/counters.h"
#include "base/rate.h"
#include "base/time.h"
#include "intermediate/source_limiter.h"

namespace ztna::intermediate {

/// The one counted fate of each path probe, and of each UDP payload that comes to the probe port.
enum class ProbeFate : std::uint8_t {
  answered,        // from the port that it came to
  answered_other,  // from the other port
  not_a_probe,     // at the probe port: another first octet, or empty
  malformed,
  not_a_request,  // of a kind that is not for an Intermediate
  no_other_port,  // asks for an answer from a port that there is not
  source_limit,
  total_limit,
  count_
};
std::string_view to_string(ProbeFate fate);

class ProbeResponder {
 public:
  /// Answers a second; a second's worth may burst. NAT discovery takes a handful, and a NAT may have many users.
  static constexpr std::uint32_t kPerSource = 50;    // IPv4 address or IPv6 /64
  static constexpr std::uint32_t kInTotal = 10'000;  // of one worker
  static constexpr std::uint32_t kTotalBurst = 1000;

  /// `fates` must outlive the responder.
  explicit ProbeResponder(CounterSet<ProbeFate>& fates) : fates_(fates) {}

  struct Answer {
    ByteVector octets;
    bool from_other_port = false;
  };
  /// A UDP payload that is a probe by its first octet, or came to the probe port. Nothing: there is no answer.
  std::optional<Answer> receive(Bytes payload, const SocketAddress& from, bool has_other_port, TimePoint now);
  /// About once a second: forgets sources.
  void tick(TimePoint now) { sources_.tick(now); }

 private:
  CounterSet<ProbeFate>& fates_;
  SourceLimiter sources_{kPerSource};
  Rate total_{kInTotal, kTotalBurst};
};

}  // namespace ztna::intermediate
