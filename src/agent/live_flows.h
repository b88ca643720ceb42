// Which UDP flows of users live: when the Intermediate has been away for longer than offline_grace, they alone go on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_set>

#include "base/time.h"
#include "wire/ip/packet_view.h"

namespace ztna::agent {

/// A flow is remembered for one to two kHalf after its user's last packet: no longer than the Connector keeps its
/// socket.
class LiveFlows {
 public:
  static constexpr Duration kHalf = 90s;
  static constexpr std::size_t kMax = 32'768;  // for each half; further ones are not remembered

  /// Of addresses and ports; an echo request's: of its addresses. Two flows may have one key, then both live with one.
  using Key = std::uint64_t;
  static Key key(const wire::ip::PacketView& packet);

  void note(Key flow, TimePoint now);
  bool knows(Key flow, TimePoint now);

 private:
  void age(TimePoint now);

  TimePoint turned_{};
  Key last_ = 0;  // packets come in rows of one flow
  std::unordered_set<Key> recent_, older_;
};

}  // namespace ztna::agent
