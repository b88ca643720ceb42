#include "wire/ip/rewrite.h"

#include <algorithm>

#include "wire/ip/checksum.h"
#include "wire/ip/ip_header.h"

namespace ztna::wire::ip {
namespace {

constexpr std::size_t kTcpChecksum = 16;

std::uint16_t get_u16(Bytes at) { return static_cast<std::uint16_t>(at[0] << 8 | at[1]); }

std::uint16_t sum_of_addresses(const IpAddress& a, const IpAddress& b) {
  return add_sums(sum(a.octets()), sum(b.octets()));
}

void put_octets(MutableBytes at, Bytes octets) { std::ranges::copy(octets, at.begin()); }

}  // namespace

Result<void> rewrite_tcp(MutableBytes packet, const PacketView& view, const SocketAddress& src,
                         const SocketAddress& dst, L4Checksum l4) {
  if (view.protocol != Protocol::tcp || view.fragment.is_fragment() || !view.has_l4_header) {
    return fail(Errc::invalid_argument, "TCP rewrite: no whole TCP packet");
  }
  if (src.ip.family() != view.family || dst.ip.family() != view.family || packet.data() != view.packet.data() ||
      packet.size() != view.packet.size()) {
    return fail(Errc::invalid_argument, "TCP rewrite: other family, or view of other octets");
  }
  const auto addresses_before = sum_of_addresses(view.src, view.dst);
  const auto addresses_after = sum_of_addresses(src.ip, dst.ip);
  if (view.family == Family::v4) {
    const auto check = packet.subspan(10, 2);
    put_u16(check, update_checksum(get_u16(check), addresses_before, addresses_after));
    put_octets(packet.subspan(12, 4), src.ip.octets());
    put_octets(packet.subspan(16, 4), dst.ip.octets());
  } else {
    put_octets(packet.subspan(8, 16), src.ip.octets());
    put_octets(packet.subspan(24, 16), dst.ip.octets());
  }
  const auto tcp = packet.subspan(view.header_size);
  const auto check = tcp.subspan(kTcpChecksum, 2);
  if (l4 == L4Checksum::partial) {
    // Only the addresses are in a pseudo-header sum. Its length may be whatever the kernel put there for a
    // super-packet.
    put_u16(check, update_sum(get_u16(check), addresses_before, addresses_after));
  } else {
    const auto before = add_sums(addresses_before, add_sums(view.src_port, view.dst_port));
    const auto after = add_sums(addresses_after, add_sums(src.port, dst.port));
    put_u16(check, update_checksum(get_u16(check), before, after));
  }
  put_u16(tcp.subspan(0, 2), src.port);
  put_u16(tcp.subspan(2, 2), dst.port);
  return {};
}

Result<void> complete_checksum(MutableBytes packet, std::size_t start, std::size_t offset) {
  if (start > packet.size() || packet.size() - start < 2 || offset > packet.size() - start - 2) {
    return fail(Errc::malformed, "checksum at {} + {} of {} octets", start, offset, packet.size());
  }
  const auto total = sum(packet.subspan(start));
  put_u16(packet.subspan(start + offset, 2), total == 0xFFFF ? total : complement(total));
  return {};
}

}  // namespace ztna::wire::ip
