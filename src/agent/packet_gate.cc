#include "agent/packet_gate.h"

#include <optional>
#include <utility>

#include "wire/ip/ipv6.h"
#include "wire/ip/rewrite.h"

namespace ztna::agent {
namespace {

using wire::ip::IcmpError;
using wire::ip::IcmpView;
using wire::ip::PacketView;
using wire::ip::Protocol;

bool is_echo_reply(const PacketView& view) {
  return view.has_l4_header &&
         view.icmp_type == (view.family == Family::v4 ? IcmpView::kV4EchoReply : IcmpView::kV6EchoReply);
}

/// Errors about the user's own packets; redirects, router messages and the like are never a service's to send.
bool is_icmp_error(const PacketView& view) {
  if (!view.has_l4_header) return false;
  if (view.family == Family::v6) return view.icmp_type >= 1 && view.icmp_type <= 4;
  constexpr std::uint8_t kTimeExceeded = 11, kParameterProblem = 12;
  return view.icmp_type == IcmpView::kV4Unreachable || view.icmp_type == kTimeExceeded ||
         view.icmp_type == kParameterProblem;
}

/// Whether the IP packet is whole in itself: then it is an upper header that claims more than there is.
bool ip_is_whole(Bytes packet) {
  if (packet.empty()) return false;
  return packet[0] >> 4U == 4 ? wire::ip::Ipv4View::parse(packet).has_value()
                              : wire::ip::Ipv6View::parse(packet).has_value();
}

}  // namespace

void PacketGate::from_tun(const PacketOffload& offload, MutableBytes packet, TimePoint now) {
  if (const auto fate = sort(offload, packet, now)) tun_fates_.add(*fate);
}

std::optional<TunFate> PacketGate::sort(const PacketOffload& offload, MutableBytes packet, TimePoint now) {
  const auto view = wire::ip::parse_ip_packet(packet);
  if (!view) {
    const auto fate = fate_of(view.error());
    return fate == TunFate::truncated && ip_is_whole(packet) ? TunFate::bad_length : fate;
  }
  if (own_.reentry(view->family) == view->dst) {
    if (view->protocol != Protocol::tcp || view->fragment.is_fragment()) return TunFate::tcp_foreign_return;
    return reentry_.from_listener(*view, offload, packet, now);
  }
  const bool own_source = own_.tun(view->family) == view->src;
  const auto* service = services_.by_address(view->dst);
  if (service == nullptr) {
    if (own_source) errors_.icmp(IcmpError::host_unreachable, *view, now);
    return TunFate::unknown_address;
  }
  if (!own_source) return TunFate::spoofed_source;
  if (view->fragment.is_fragment()) return join(*view, now);
  if (view->protocol == Protocol::tcp) return reentry_.from_user(*view, offload, packet, service->id, now);
  if (offload.gso_type != 0) return TunFate::bad_header;
  if (offload.needs_csum && !wire::ip::complete_checksum(packet, offload.csum_start, offload.csum_offset)) {
    return TunFate::bad_header;
  }
  return carry(*view, *service, now);
}

std::optional<TunFate> PacketGate::join(const PacketView& view, TimePoint now) {
  if (auto ok = wire::ip::verify_checksums(view); !ok) return fate_of(ok.error());
  auto outcome = reassembly_.add(view, now);
  if (outcome.whole.empty()) return outcome.fate;
  joined_.push_back(std::move(outcome.whole));
  const auto whole = wire::ip::parse_ip_packet(joined_.back());
  if (!whole) return fate_of(whole.error());
  const auto* service = services_.by_address(whole->dst);
  if (service == nullptr) return TunFate::unknown_address;
  if (whole->protocol == Protocol::tcp) return reentry_.from_user(*whole, {}, joined_.back(), service->id, now);
  return carry(*whole, *service, now);
}

std::optional<TunFate> PacketGate::carry(const PacketView& view, const Service& service, TimePoint now) {
  if (auto ok = wire::ip::verify_checksums(view); !ok) return fate_of(ok.error());
  if (view.protocol != Protocol::udp && !view.is_echo_request()) {
    return TunFate::wrong_protocol;
  }
  if (!service.up && !(service.connector_gone() && carrier_.serves(service.id))) {
    const bool denied = service.down_reason == wire::ServiceDownReason::not_permitted;
    errors_.icmp(denied ? IcmpError::administratively_denied : IcmpError::host_unreachable, view, now);
    return TunFate::service_down;
  }
  const auto flow = LiveFlows::key(view);
  if (!carrier_.takes_new_flows() && !live_flows_.knows(flow, now)) {
    errors_.icmp(IcmpError::administratively_denied, view, now);
    return TunFate::offline;
  }
  live_flows_.note(flow, now);
  const auto kind = view.protocol == Protocol::udp ? TunFate::carried_udp : TunFate::carried_icmp;
  return carrier_.carry(service.id, kind, view.packet);
}

void PacketGate::send_own(const wire::ServiceId& service, ByteVector packet) {
  own_packets_.push_back(std::move(packet));
  carrier_.carry(service, TunFate::carried_icmp, own_packets_.back());
}

void PacketGate::waiting_over(TunFate fate, Bytes packet, TimePoint now) {
  const auto view = wire::ip::parse_ip_packet(packet);
  if (view && pinger_.is_own(*view)) return;  // not read from the TUN
  tun_fates_.add(fate);
  if (!view) return;
  if (fate == TunFate::queue_timeout || fate == TunFate::service_down) {
    errors_.icmp(IcmpError::host_unreachable, *view, now);
  } else if (fate == TunFate::refused) {
    errors_.icmp(IcmpError::administratively_denied, *view, now);
  }
}

void PacketGate::from_tunnel(const wire::ServiceId& service, Bytes packet, TimePoint now) {
  tunnel_fates_.add(admit(service, packet, now));
}

TunnelFate PacketGate::admit(const wire::ServiceId& service_id, Bytes packet, TimePoint now) {
  const auto* service = services_.by_id(service_id);
  if (service == nullptr) return TunnelFate::unknown_handle;
  const auto view = wire::ip::parse_ip_packet(packet);
  if (!view) {
    return view.error() == wire::ip::PacketFault::unsupported_protocol ? TunnelFate::wrong_protocol
                                                                       : TunnelFate::malformed;
  }
  if (service->address(view->family) != view->src) return TunnelFate::wrong_source;
  if (own_.tun(view->family) != view->dst) return TunnelFate::wrong_destination;
  if (view->fragment.is_fragment()) return TunnelFate::fragment;
  if (view->protocol == Protocol::tcp) return TunnelFate::wrong_protocol;
  if (!wire::ip::verify_checksums(*view)) return TunnelFate::bad_checksum;
  if (view->protocol != Protocol::udp) {
    if (is_echo_reply(*view)) {
      if (pinger_.take(*view, now)) return TunnelFate::pong;
    } else if (!is_icmp_error(*view)) {
      return TunnelFate::wrong_protocol;
    }
  }
  PacketOffload verified;
  verified.data_valid = true;
  return tun_.write(verified, packet) ? TunnelFate::delivered : TunnelFate::tun_full;
}

}  // namespace ztna::agent
