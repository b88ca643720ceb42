#include "agent/error_sender.h"

#include <algorithm>
#include <chrono>

namespace ztna::agent {

bool ErrorSender::allow(TimePoint now) {
  const std::chrono::duration<double> passed = now - refilled_;
  tokens_ = std::min(kBurst, tokens_ + passed.count() * kPerSecond);
  refilled_ = now;
  if (tokens_ < 1) {
    suppressed_.add();
    return false;
  }
  tokens_ -= 1;
  return true;
}

void ErrorSender::icmp(wire::ip::IcmpError error, const wire::ip::PacketView& original, TimePoint now) {
  const auto& from = own_.reentry(original.family);
  if (!from || !allow(now)) return;
  const auto packet = wire::ip::build_icmp_error(error, original, *from);
  if (!packet) return;  // about a packet that gets no error (RFC 1122 3.2.2)
  if (tun_.write({}, *packet)) icmp_sent_.add();
}

void ErrorSender::icmp(wire::ip::IcmpError error, Bytes original, TimePoint now) {
  if (const auto view = wire::ip::parse_ip_packet(original)) icmp(error, *view, now);
}

void ErrorSender::tcp_reset(const wire::ip::PacketView& segment, TimePoint now) {
  const auto tcp = wire::ip::tcp_of(segment);
  if (!tcp || tcp->has(wire::ip::TcpFlags::kRst) || !allow(now)) return;
  const auto packet = wire::ip::build_tcp_reset(segment);
  if (packet && tun_.write({}, *packet)) resets_sent_.add();
}

void ErrorSender::refuse_syn(Bytes syn) {
  const auto view = wire::ip::parse_ip_packet(syn);
  if (!view) return;
  const auto packet = wire::ip::build_tcp_reset(*view);
  if (packet && tun_.write({}, *packet)) resets_sent_.add();
}

}  // namespace ztna::agent
