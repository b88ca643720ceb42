// ICMP errors and TCP resets that the Agent makes for the user's own packets, at a limited rate (RFC 1812 4.3.2.8).
#pragma once

#include "agent/ports.h"
#include "base/counters.h"
#include "base/time.h"
#include "wire/ip/build.h"
#include "wire/ip/packet_view.h"

namespace ztna::agent {

class ErrorSender {
 public:
  static constexpr double kPerSecond = 1000;  // as Linux' icmp_msgs_per_sec
  static constexpr double kBurst = 200;

  /// `tun` must outlive the sender.
  ErrorSender(TunPort& tun, Addresses own) : tun_(tun), own_(own) {}

  /// From the re-entry address (the TUN's next hop, so to say) to the sender of `original`.
  void icmp(wire::ip::IcmpError error, const wire::ip::PacketView& original, TimePoint now);
  /// The same for a packet that was kept.
  void icmp(wire::ip::IcmpError error, Bytes original, TimePoint now);
  /// RST to the sender of `segment`.
  void tcp_reset(const wire::ip::PacketView& segment, TimePoint now);
  /// RST that answers a held SYN: never limited, since it ends state that we hold.
  void refuse_syn(Bytes syn);

  const Counter& icmp_sent() const { return icmp_sent_; }
  const Counter& resets_sent() const { return resets_sent_; }
  const Counter& suppressed() const { return suppressed_; }

 private:
  bool allow(TimePoint now);

  TunPort& tun_;
  Addresses own_;
  double tokens_ = kBurst;
  TimePoint refilled_{};
  Counter icmp_sent_, resets_sent_, suppressed_;
};

}  // namespace ztna::agent
