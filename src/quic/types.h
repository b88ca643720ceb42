// Values of the QUIC layer (RFC 9000). They are small, copied, and free of ngtcp2's types.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>

#include "base/address.h"
#include "base/bytes.h"
#include "base/id.h"
#include "base/time.h"

namespace ztna::quic {

using StreamId = Id<struct StreamTag, std::int64_t>;

/// A network path, RFC 9000 section 9: what an endpoint calls local and remote. For the relay both are synthetic
/// addresses (tunnel/relay_path.h): ngtcp2 tells paths apart by address alone.
struct Path {
  SocketAddress local;
  SocketAddress remote;
  friend auto operator<=>(const Path&, const Path&) = default;
};
std::string to_string(const Path& path);

/// Every connection id that this project issues is this long; its first octet is the worker's index (architecture 6).
inline constexpr std::size_t kCidLength = 8;

/// Connection id, RFC 9000 section 5.1: 0 to 20 octets.
class Cid {
 public:
  static constexpr std::size_t kMax = 20;
  Cid() = default;
  /// Takes at most kMax octets; a longer input is cut and never equals a real id.
  explicit Cid(Bytes octets) : size_(static_cast<std::uint8_t>(std::min(octets.size(), kMax))) {
    std::copy_n(octets.begin(), size_, octets_.begin());
  }
  Bytes octets() const { return {octets_.data(), size_}; }
  friend auto operator<=>(const Cid&, const Cid&) = default;

 private:
  std::array<std::uint8_t, kMax> octets_{};
  std::uint8_t size_ = 0;
};

/// How a connection ended.
struct CloseReason {
  enum class By : std::uint8_t {
    local,            // we closed it
    peer,             // CONNECTION_CLOSE from the peer
    idle,             // idle timeout
    stateless_reset,  // RFC 9000 10.3: the peer has lost its state
    failed,           // handshake or protocol failure on our side
  };
  By by = By::failed;
  bool application = false;  // `code` is an application error code, else a transport error code (0x100+alert: TLS)
  std::uint64_t code = 0;
  std::string text;  // reason phrase or a description; from a peer: printable ASCII only, at most 256 octets
};
std::string to_string(const CloseReason& reason);

/// Measured by the connection; for status pages and decisions.
struct ConnectionStats {
  Duration smoothed_rtt{};
  Duration min_rtt{};
  Duration latest_rtt{};
  std::uint64_t congestion_window = 0;  // octets
  std::uint64_t bytes_in_flight = 0;
  std::uint64_t packets_sent = 0;
  std::uint64_t data_packets_sent = 0;  // those that carried stream data for the first time, or DATAGRAM frames
  std::uint64_t packets_received = 0;
  std::uint64_t packets_lost = 0;  // those that carried stream data
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t datagrams_dropped = 0;      // taken, and never sent: no path with larger packets in time, or the end
  std::uint64_t datagram_packets_lost = 0;  // those that carried DATAGRAM frames, and were sent on the current path
  std::size_t max_udp_payload = 0;          // octets, of the current path
};

/// What tells a path that carries packets from one that does not. Of the current path: begins anew when packets go
/// another way, also when only the connection id changes. Times are those that calls brought.
struct Liveness {
  TimePoint since{};  // packets have gone this way
  /// Something is in flight, and nothing was acknowledged since; kNever: nothing waits. A probe of the path's MTU alone
  /// may vanish and is no waiting.
  TimePoint waiting_since = kNever;
  TimePoint heard{};    // last authentic packet; TimePoint{}: none yet
  TimePoint payload{};  // last stream data or DATAGRAM
  TimePoint sent{};     // last packet out
  /// First packet above 1200 octets with user data of which, or of one after it, nothing is known to have arrived;
  /// kNever: none.
  TimePoint large_since = kNever;
  std::uint64_t packets_heard = 0;  // authentic
  Duration rtt{};                   // smoothed; zero: not measured on this path yet
  Duration rtt_variation{};
};

}  // namespace ztna::quic

template <>
struct std::hash<ztna::quic::Cid> {
  std::size_t operator()(const ztna::quic::Cid& cid) const noexcept {
    return std::hash<std::string_view>{}(ztna::as_text(cid.octets()));
  }
};
template <>
struct std::hash<ztna::quic::Path> {
  std::size_t operator()(const ztna::quic::Path& p) const noexcept {
    return std::hash<ztna::SocketAddress>{}(p.local) * 31 + std::hash<ztna::SocketAddress>{}(p.remote);
  }
};
