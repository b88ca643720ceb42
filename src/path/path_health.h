// Whether the path of a tunnel still carries what is sent on it: judged from what the QUIC connection has seen
// (docs/architecture.md). Pure; the same at both ends. The Agent falls back on the verdict, the Connector tells it to
// the Agent (PathReport).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/time.h"

namespace ztna::path {

/// What a connection has seen on its current path; as quic::Liveness, which this layer does not know.
struct PathSample {
  TimePoint since{};  // packets have gone this way
  TimePoint waiting_since =
      kNever;           // something is in flight, and nothing was acknowledged since; kNever: nothing waits
  TimePoint heard{};    // last authentic packet; TimePoint{}: none yet
  TimePoint payload{};  // last of them with user data
  TimePoint large_since =
      kNever;      // a packet above 1200 octets left, and none of that size is known to have arrived since
  Duration rtt{};  // smoothed; zero: not measured yet
  Duration rtt_variation{};
};

enum class PathHealth : std::uint8_t {
  alive,
  silent,          // something waits, and nothing at all comes
  unacknowledged,  // packets come, but none that acknowledges what waits: our way is dead, theirs is not
  large_lost,      // small packets pass, those above 1200 octets do not (MTU black hole)
};
std::string_view to_string(PathHealth health);

/// How long each may last before the path counts as dead. Shorter, and one lost packet looks like death: its
/// replacement leaves after srtt + 4 rttvar + 25 ms (RFC 9002 6.2.1) and is acknowledged another srtt later. Longer
/// than a second, and users notice.
struct PathPatience {
  Duration silent;          // the larger of 4 srtt and 2 srtt + 4 rttvar, + 50 ms; 150 ms to 1 s
  Duration unacknowledged;  // the larger of 6 srtt and 2 srtt + 4 rttvar, + 50 ms; 250 ms to 1 s
  Duration large;           // 6 srtt; 300 ms to 1 s
};
/// `rtt` zero: as kUnknownRtt.
PathPatience patience(Duration rtt, Duration variation);
inline constexpr Duration kUnknownRtt = 100ms;

PathHealth judge(const PathSample& sample, TimePoint now);
/// When to judge again if nothing else happens; kNever: nothing waits.
TimePoint next_judgement(const PathSample& sample);
/// From when on silence makes the path doubtful: srtt and the larger of 4 rttvar + 25 ms and 50 ms, by when what waits
/// is acknowledged while nothing is lost (RFC 9002 6.2.1); no later than a dead path is given up. kNever: nothing
/// waits.
TimePoint doubtful_from(const PathSample& sample);

}  // namespace ztna::path
