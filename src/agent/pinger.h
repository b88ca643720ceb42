// `ztna-agent ping`: ICMP echo requests of the Agent's own, through the tunnel to a service's address.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "base/address.h"
#include "base/bytes.h"
#include "base/random.h"
#include "base/time.h"
#include "wire/ip/packet_view.h"

namespace ztna::agent {

/// An echo request; `nonce` begins its data. Addresses are of one family.
ByteVector build_echo_request(const IpAddress& src, const IpAddress& dst, std::uint16_t id, std::uint16_t sequence,
                              Bytes nonce);

class Pinger {
 public:
  static constexpr Duration kTimeout = 5s;
  static constexpr std::size_t kMaxWaiting = 64;

  /// The time it took; nothing: no answer.
  using Done = std::function<void(std::optional<Duration> rtt)>;

  explicit Pinger(Random& random) : random_(random), id_(static_cast<std::uint16_t>(random.u64())) {}

  /// The packet to send; `done` is called once, from take() or expire(). Empty: too many are waiting, `done` is not
  /// kept.
  ByteVector begin(const IpAddress& src, const IpAddress& dst, TimePoint now, Done done);
  /// Whether this echo reply answers one of ours; it is then not the user's.
  bool take(const wire::ip::PacketView& reply, TimePoint now);
  /// Whether begin() made this packet.
  bool is_own(const wire::ip::PacketView& request) const;
  void expire(TimePoint now);
  TimePoint deadline() const;

 private:
  static constexpr std::size_t kNonce = 16;
  struct Asked {
    TimePoint sent;
    IpAddress dst;
    std::array<std::uint8_t, kNonce> nonce{};
    Done done;
  };
  Random& random_;
  std::uint16_t id_;
  std::uint16_t next_sequence_ = 1;
  std::map<std::uint16_t, Asked> asked_;
};

}  // namespace ztna::agent
