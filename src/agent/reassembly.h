// Joins the fragments of IP datagrams that the kernel cut at the TUN's MTU (RFC 791 3.2, RFC 8200 4.5). Overlaps void
// the whole datagram (RFC 5722). Memory and time are bounded.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

#include "agent/packet_fate.h"
#include "base/bytes.h"
#include "base/counters.h"
#include "base/time.h"
#include "wire/ip/packet_view.h"

namespace ztna::agent {

/// The one counted fate of each datagram of which a fragment was kept.
enum class ReassemblyFate : std::uint8_t {
  joined,
  overlap,   // parts overlap or contradict each other
  timeout,   // a part never came
  overflow,  // gave way to newer ones
  count_
};
std::string_view to_string(ReassemblyFate fate);

class Reassembly {
 public:
  static constexpr std::size_t kMaxDatagrams = 256;
  static constexpr std::size_t kMaxOctets = 8U << 20U;
  static constexpr Duration kTimeout = 30s;  // RFC 1122 3.3.2 wants 60 to 120 s, Linux takes 30

  struct Outcome {
    TunFate fate = TunFate::fragment_kept;  // of this fragment, unless it completed the datagram
    ByteVector whole;  // not empty: the datagram, without fragment fields; it has a fate of its own
  };
  /// `view` must be a fragment.
  Outcome add(const wire::ip::PacketView& view, TimePoint now);

  void expire(TimePoint now);
  /// When expire() has something to do; kNever when nothing waits.
  TimePoint deadline() const;

  std::size_t datagrams() const { return waiting_.size(); }
  std::size_t octets() const { return octets_; }
  const CounterSet<ReassemblyFate>& fates() const { return fates_; }

 private:
  struct Key {
    IpAddress src, dst;
    std::uint32_t id = 0;
    std::uint8_t protocol = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Waiting {
    TimePoint begun;
    ByteVector header;             // of the first fragment, up to its fragment header (IPv6)
    std::uint8_t next_header = 0;  // IPv6: what follows the fragment header of the first fragment
    ByteVector octets;
    std::map<std::size_t, std::size_t> ranges;  // begin -> end
    std::size_t received = 0;                   // octets in them
    std::optional<std::size_t> total;
    bool is_void = false;
  };
  using Map = std::map<Key, Waiting>;
  void make_room(std::size_t octets, const Key& keep);
  void forget(Map::iterator which, ReassemblyFate fate);
  static ByteVector join(Waiting& w, Family family);
  static void keep_fragment_header(Waiting& w);

  Map waiting_;
  std::size_t octets_ = 0;
  CounterSet<ReassemblyFate> fates_;
};

}  // namespace ztna::agent
