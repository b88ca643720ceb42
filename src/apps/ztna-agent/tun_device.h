// The TUN as agent::TunPort, and its reader: TCP goes to the Agent as it came, UDP and ICMP as single finished packets
// that live until the next flush.
#pragma once

#include <functional>
#include <vector>

#include "agent/ports.h"
#include "base/counters.h"
#include "os/event_loop.h"
#include "os/tun.h"

namespace ztna::apps {

class TunDevice final : public agent::TunPort {
 public:
  explicit TunDevice(os::Tun tun) : tun_(std::move(tun)), arena_(kArena) {}

  using OnPacket = std::function<void(const agent::PacketOffload&, MutableBytes)>;
  /// Begins to read. `flush` sends everything that on_packet was given: called when the memory for packets is used up.
  /// `gone` is called once if the device disappears.
  void start(os::EventLoop& loop, OnPacket on_packet, std::function<void()> flush, std::function<void()> gone);
  /// Everything was sent: the packets' memory is free again.
  void flushed() { used_ = 0; }

  bool write(const agent::PacketOffload& offload, Bytes packet) override;

  const os::Tun& tun() const { return tun_; }
  const Counter& packets_in() const { return packets_in_; }
  const Counter& packets_out() const { return packets_out_; }

 private:
  static constexpr std::size_t kArena = 1U << 20U;
  static constexpr int kReadsPerTurn = 64;  // then sockets and timers get a turn

  void on_readable();
  void take(const os::TunPacket& read);
  MutableBytes room(std::size_t octets);

  os::Tun tun_;
  ByteVector arena_;
  std::size_t used_ = 0;
  OnPacket on_packet_;
  std::function<void()> flush_;
  std::function<void()> gone_;
  os::Watch watch_;
  Counter packets_in_, packets_out_;
};

}  // namespace ztna::apps
