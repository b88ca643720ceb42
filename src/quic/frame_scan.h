// ngtcp2 1.11 keeps a peer's STOP_SENDING to itself: no callback tells of it, nor of its code. So the frames of each
// decrypted 1-RTT packet are walked for it (RFC 9000 section 19).
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace ztna::quic {

struct StopSending {
  std::int64_t stream = 0;
  std::uint64_t code = 0;
};

/// Appends every STOP_SENDING frame of `payload`. Stops at a frame that is malformed or of an unknown type: ngtcp2
/// closes the connection over it anyway.
void find_stop_sending(Bytes payload, std::vector<StopSending>& out);

}  // namespace ztna::quic
