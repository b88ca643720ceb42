#include "agent/pinger.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "wire/ip/build.h"
#include "wire/ip/checksum.h"
#include "wire/writer.h"

namespace ztna::agent {
namespace {

constexpr std::size_t kData = 56;  // as ping(8)
constexpr std::size_t kIcmpHeader = 8;

}  // namespace

ByteVector build_echo_request(const IpAddress& src, const IpAddress& dst, std::uint16_t id, std::uint16_t sequence,
                              Bytes nonce) {
  const bool v4 = src.is_v4();
  ByteVector icmp;
  icmp.reserve(kIcmpHeader + kData);
  wire::Writer w{icmp};
  w.u8(v4 ? wire::ip::IcmpView::kV4EchoRequest : wire::ip::IcmpView::kV6EchoRequest);
  w.u8(0);
  w.u16(0);
  w.u16(id);
  w.u16(sequence);
  w.bytes(nonce);
  icmp.resize(kIcmpHeader + kData);
  const auto sum =
      v4 ? wire::ip::checksum(icmp) : wire::ip::upper_layer_checksum(src, dst, wire::ip::Protocol::icmpv6, icmp);
  icmp[2] = static_cast<std::uint8_t>(sum >> 8U);
  icmp[3] = static_cast<std::uint8_t>(sum);

  ByteVector packet;
  packet.reserve(40 + icmp.size());
  wire::Writer ip{packet};
  if (v4) {
    ip.u16(0x4500);
    ip.u16(static_cast<std::uint16_t>(20 + icmp.size()));
    ip.u32(0);
    ip.u8(wire::ip::kDefaultHopLimit);
    ip.u8(static_cast<std::uint8_t>(wire::ip::Protocol::icmp));
    ip.u16(0);
    ip.bytes(src.octets());
    ip.bytes(dst.octets());
    const auto header = wire::ip::checksum(packet);
    packet[10] = static_cast<std::uint8_t>(header >> 8U);
    packet[11] = static_cast<std::uint8_t>(header);
  } else {
    ip.u32(0x6000'0000);
    ip.u16(static_cast<std::uint16_t>(icmp.size()));
    ip.u8(static_cast<std::uint8_t>(wire::ip::Protocol::icmpv6));
    ip.u8(wire::ip::kDefaultHopLimit);
    ip.bytes(src.octets());
    ip.bytes(dst.octets());
  }
  ip.bytes(icmp);
  return packet;
}

ByteVector Pinger::begin(const IpAddress& src, const IpAddress& dst, TimePoint now, Done done) {
  if (asked_.size() >= kMaxWaiting) return {};
  const auto sequence = next_sequence_++;
  const auto nonce = random_.array<kNonce>();
  asked_.insert_or_assign(sequence, Asked{now, dst, nonce, std::move(done)});
  return build_echo_request(src, dst, id_, sequence, nonce);
}

bool Pinger::take(const wire::ip::PacketView& reply, TimePoint now) {
  const auto icmp = wire::ip::IcmpView::parse(reply.l4());
  if (!icmp || icmp->echo_id() != id_ || icmp->payload.size() < kNonce) return false;
  const auto found = asked_.find(icmp->echo_sequence());
  if (found == asked_.end() || found->second.dst != reply.src ||
      !equal(icmp->payload.first(kNonce), found->second.nonce)) {
    return false;
  }
  auto asked = std::move(found->second);
  asked_.erase(found);
  asked.done(now - asked.sent);
  return true;
}

bool Pinger::is_own(const wire::ip::PacketView& request) const {
  const auto icmp = wire::ip::IcmpView::parse(request.l4());
  if (!request.is_echo_request() || !icmp || icmp->payload.size() < kNonce) return false;
  const auto found = asked_.find(icmp->echo_sequence());
  return found != asked_.end() && equal(icmp->payload.first(kNonce), found->second.nonce);
}

void Pinger::expire(TimePoint now) {
  std::vector<Done> over;
  for (auto it = asked_.begin(); it != asked_.end();) {
    if (now - it->second.sent < kTimeout) {
      ++it;
      continue;
    }
    over.push_back(std::move(it->second.done));
    it = asked_.erase(it);
  }
  for (auto& done : over) done(std::nullopt);
}

TimePoint Pinger::deadline() const {
  TimePoint first = kNever;
  for (const auto& [sequence, asked] : asked_) first = std::min(first, asked.sent + kTimeout);
  return first;
}

}  // namespace ztna::agent
