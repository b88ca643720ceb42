// Paths as ngtcp2 wants them: sockaddr structures. No system call is made with them; they only are compared and copied.
#pragma once

#include <ngtcp2/ngtcp2.h>

#include "quic/types.h"

namespace ztna::quic {

/// Fills `storage`, whose ngtcp2_path then points into itself: do not copy it afterwards.
void to_storage(const Path& path, ngtcp2_path_storage& storage);
Path from_ngtcp2(const ngtcp2_path& path);

inline std::uint64_t to_ts(TimePoint t) { return static_cast<std::uint64_t>(t.time_since_epoch().count()); }
inline TimePoint from_ts(std::uint64_t ts) {
  constexpr auto kMax = static_cast<std::uint64_t>(kNever.time_since_epoch().count());
  return ts >= kMax ? kNever : TimePoint{Duration{static_cast<std::int64_t>(ts)}};
}
inline ngtcp2_cid to_ngtcp2(const Cid& cid) {
  ngtcp2_cid out;
  ngtcp2_cid_init(&out, cid.octets().data(), cid.octets().size());
  return out;
}
inline Cid from_ngtcp2(const ngtcp2_cid& cid) { return Cid{Bytes{cid.data, cid.datalen}}; }

}  // namespace ztna::quic
