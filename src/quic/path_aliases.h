// A server shows ngtcp2 each (path, connection id of ours) as a path of its own, by a made-up remote port. So a client
// that returns to a path that it used a moment ago, with a fresh connection id as RFC 9000 9.5 demands, is on a new
// path to ngtcp2: otherwise its packets do not move the connection while the old path is still being validated, and
// datagrams are lost for half a second. By another address, too, where the client begins anew on a path whose packets
// are lost: a port alone is a NAT's rebinding to ngtcp2, which keeps the congestion window that those fill (RFC
// 9000 9.4).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "quic/sockaddr.h"

namespace ztna::quic {

class PathAliases {
 public:
  struct Entry {
    Path real;
    Cid id;
    ngtcp2_path_storage shown;
    std::uint64_t used = 0;
  };

  /// The entry of a packet that came on `real` with destination id `id`; null: add() it.
  const Entry* find(const Path& real, const Cid& id);
  /// It is tentative until keep(). `anew`: where `real` is known, congestion control shall begin anew on it.
  const Entry& add(const Path& real, const Cid& id, bool anew);
  /// The packet of the last add() was authentic: remember its entry. Without, the next find() forgets it: no address is
  /// learned from a packet that anybody could have sent. `current` is never pushed out.
  void keep(const ngtcp2_path& current);
  /// Null: no such path (any more).
  const Path* real(const ngtcp2_path& shown) const;

 private:
  static constexpr std::size_t kMax = 16;  // twice the connection ids that a peer may have in use
  bool shown_anywhere(const ngtcp2_path& path) const;

  // ngtcp2_path_storage points into itself: entries stay where they are.
  std::vector<std::unique_ptr<Entry>> entries_;
  std::unique_ptr<Entry> tentative_;
  Entry* last_ = nullptr;
  std::uint64_t clock_ = 0;
  std::uint16_t next_port_ = 1;
  std::uint64_t next_address_ = 1;
};

}  // namespace ztna::quic
