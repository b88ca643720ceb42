#include "os/tun_segments.h"

#include <algorithm>

namespace ztna::os {
namespace {

constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;
constexpr std::size_t kIp6Header = 40;
constexpr std::size_t kUdpHeader = 8;
constexpr std::size_t kTcpHeader = 20;
constexpr std::size_t kTcpFlags = 13;
constexpr std::uint8_t kFin = 0x01;
constexpr std::uint8_t kPsh = 0x08;
constexpr std::uint8_t kCwr = 0x80;

std::uint16_t get16(Bytes in, std::size_t at) { return static_cast<std::uint16_t>(in[at] << 8U | in[at + 1]); }

void put16(MutableBytes out, std::size_t at, std::size_t value) {
  out[at] = static_cast<std::uint8_t>(value >> 8U);
  out[at + 1] = static_cast<std::uint8_t>(value);
}

std::uint32_t get32(Bytes in, std::size_t at) {
  return static_cast<std::uint32_t>(get16(in, at)) << 16U | get16(in, at + 2);
}

void put32(MutableBytes out, std::size_t at, std::uint32_t value) {
  put16(out, at, value >> 16U);
  put16(out, at + 2, value & 0xFFFFU);
}

bool is_v6(Bytes packet) { return packet[0] >> 4U == 6; }

}  // namespace

std::uint64_t checksum_add(std::uint64_t sum, Bytes data) {
  std::size_t i = 0;
  for (; i + 4 <= data.size(); i += 4) sum += get32(data, i);  // carries of 2^16 fold back to the same sum
  if (i + 2 <= data.size()) {
    sum += get16(data, i);
    i += 2;
  }
  if (i < data.size()) sum += static_cast<std::uint64_t>(data[i]) << 8U;
  return sum;
}

std::uint16_t checksum_finish(std::uint64_t sum) {
  while (sum >> 16U != 0) sum = (sum & 0xFFFFU) + (sum >> 16U);
  return static_cast<std::uint16_t>(~sum);
}

std::uint64_t pseudo_header_sum(Bytes packet, std::uint8_t protocol, std::size_t l4_size) {
  const Bytes addresses = is_v6(packet) ? packet.subspan(8, 32) : packet.subspan(12, 8);
  return checksum_add(protocol + l4_size, addresses);
}

bool complete_checksum(const VirtioNetHeader& header, MutableBytes packet) {
  if (!header.needs_checksum()) return true;
  const std::size_t start = header.csum_start;
  const std::size_t field = start + header.csum_offset;
  if (field + 2 > packet.size()) return false;
  // The field holds the pseudo header's sum already, so that the sum over everything includes it.
  const std::uint16_t sum = checksum_finish(checksum_add(0, packet.subspan(start)));
  put16(packet, field, sum == 0 ? 0xFFFF : sum);  // RFC 768: zero would mean "none"
  return true;
}

std::optional<TunSegments> TunSegments::of(const VirtioNetHeader& header, Bytes packet) {
  if (packet.size() < 20 || (is_v6(packet) && packet.size() < kIp6Header)) return std::nullopt;
  TunSegments s;
  s.packet_ = packet;
  s.header_ = header;
  const std::uint8_t kind = header.gso();
  if (kind == VirtioNetHeader::kGsoNone) {
    const std::size_t field = std::size_t{header.csum_start} + header.csum_offset;
    if (header.needs_checksum() && field + 2 > packet.size()) return std::nullopt;
    return s;
  }

  s.v6_ = is_v6(packet);
  s.tcp_ = kind == VirtioNetHeader::kGsoTcp4 || kind == VirtioNetHeader::kGsoTcp6;
  if (!s.tcp_ && kind != VirtioNetHeader::kGsoUdp) return std::nullopt;
  if (s.tcp_ && s.v6_ != (kind == VirtioNetHeader::kGsoTcp6)) return std::nullopt;
  const std::uint8_t protocol = s.v6_ ? packet[6] : packet[9];
  if (protocol != (s.tcp_ ? kTcp : kUdp)) return std::nullopt;
  if (!s.v6_ && packet[0] >> 4U != 4) return std::nullopt;

  s.l4_ = s.v6_ ? kIp6Header : (packet[0] & 0x0FU) * std::size_t{4};
  if (s.l4_ < 20 || packet.size() < s.l4_ + (s.tcp_ ? kTcpHeader : kUdpHeader)) return std::nullopt;
  const std::size_t l4_header = s.tcp_ ? (packet[s.l4_ + 12] >> 4U) * std::size_t{4} : kUdpHeader;
  if (s.tcp_ && l4_header < kTcpHeader) return std::nullopt;
  s.payload_ = s.l4_ + l4_header;
  if (packet.size() < s.payload_ || header.gso_size == 0) return std::nullopt;
  s.segment_ = header.gso_size;
  s.at_ = s.payload_;
  return s;
}

std::size_t TunSegments::count() const {
  if (segment_ == 0) return 1;
  return std::max<std::size_t>((packet_.size() - payload_ + segment_ - 1) / segment_, 1);
}

std::size_t TunSegments::max_size() const {
  return segment_ == 0 ? packet_.size() : std::min(packet_.size(), payload_ + segment_);
}

std::size_t TunSegments::next(MutableBytes out) {
  if (done_) return 0;
  if (segment_ == 0) {
    if (out.size() < packet_.size()) return 0;
    std::copy(packet_.begin(), packet_.end(), out.begin());
    complete_checksum(header_, out.first(packet_.size()));
    done_ = true;
    return packet_.size();
  }

  const std::size_t octets = std::min(segment_, packet_.size() - at_);
  const std::size_t size = payload_ + octets;
  if (out.size() < size) return 0;
  const bool last = at_ + octets == packet_.size();
  const MutableBytes p = out.first(size);
  std::copy_n(packet_.begin(), payload_, p.begin());
  std::copy_n(packet_.begin() + static_cast<std::ptrdiff_t>(at_), octets,
              p.begin() + static_cast<std::ptrdiff_t>(payload_));

  if (v6_) {
    put16(p, 4, size - kIp6Header);
  } else {
    put16(p, 2, size);
    put16(p, 4, get16(packet_, 4) + index_);
    put16(p, 10, 0);
    put16(p, 10, checksum_finish(checksum_add(0, p.first(l4_))));
  }
  const std::size_t l4_size = size - l4_;
  const std::size_t field = l4_ + (tcp_ ? 16 : 6);
  if (tcp_) {
    put32(p, l4_ + 4, get32(packet_, l4_ + 4) + static_cast<std::uint32_t>(at_ - payload_));
    std::uint8_t& flags = p[l4_ + kTcpFlags];
    if (!last) flags = static_cast<std::uint8_t>(flags & ~(kFin | kPsh));
    if (index_ != 0) flags = static_cast<std::uint8_t>(flags & ~kCwr);
  } else {
    put16(p, l4_ + 4, l4_size);
  }
  put16(p, field, 0);
  const std::uint64_t pseudo = pseudo_header_sum(p, tcp_ ? kTcp : kUdp, l4_size);
  const std::uint16_t sum = checksum_finish(checksum_add(pseudo, p.subspan(l4_)));
  put16(p, field, sum == 0 && !tcp_ ? 0xFFFF : sum);

  at_ += octets;
  ++index_;
  done_ = last;
  return size;
}

}  // namespace ztna::os
