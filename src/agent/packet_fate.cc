#include "agent/packet_fate.h"

namespace ztna::agent {

std::string_view to_string(TunFate fate) {
  switch (fate) {
    case TunFate::carried_udp: return "carried_udp";
    case TunFate::carried_icmp: return "carried_icmp";
    case TunFate::tcp_reentry: return "tcp_reentry";
    case TunFate::tcp_return: return "tcp_return";
    case TunFate::syn_held: return "syn_held";
    case TunFate::syn_repeated: return "syn_repeated";
    case TunFate::syn_answered: return "syn_answered";
    case TunFate::fragment_kept: return "fragment_kept";
    case TunFate::unknown_address: return "unknown_address";
    case TunFate::spoofed_source: return "spoofed_source";
    case TunFate::wrong_protocol: return "wrong_protocol";
    case TunFate::not_ip: return "not_ip";
    case TunFate::truncated: return "truncated";
    case TunFate::bad_length: return "bad_length";
    case TunFate::bad_header: return "bad_header";
    case TunFate::bad_checksum: return "bad_checksum";
    case TunFate::bad_fragment: return "bad_fragment";
    case TunFate::fragment_overlap: return "fragment_overlap";
    case TunFate::fragment_overflow: return "fragment_overflow";
    case TunFate::service_down: return "service_down";
    case TunFate::refused: return "refused";
    case TunFate::offline: return "offline";
    case TunFate::queue_full: return "queue_full";
    case TunFate::queue_full_all: return "queue_full_all";
    case TunFate::queue_timeout: return "queue_timeout";
    case TunFate::tunnel_full: return "tunnel_full";
    case TunFate::tunnel_failed: return "tunnel_failed";
    case TunFate::tcp_stray: return "tcp_stray";
    case TunFate::tcp_foreign_return: return "tcp_foreign_return";
    case TunFate::tcp_limit: return "tcp_limit";
    case TunFate::tun_full: return "tun_full";
    case TunFate::count_: break;
  }
  return "unknown";
}

TunFate fate_of(wire::ip::PacketFault fault) {
  using wire::ip::PacketFault;
  switch (fault) {
    case PacketFault::not_ip: return TunFate::not_ip;
    case PacketFault::truncated: return TunFate::truncated;
    case PacketFault::bad_length: return TunFate::bad_length;
    case PacketFault::bad_header: return TunFate::bad_header;
    case PacketFault::bad_fragment: return TunFate::bad_fragment;
    case PacketFault::bad_checksum: return TunFate::bad_checksum;
    case PacketFault::unsupported_protocol: return TunFate::wrong_protocol;
    case PacketFault::count_: break;
  }
  return TunFate::bad_header;
}

std::string_view to_string(TunnelFate fate) {
  switch (fate) {
    case TunnelFate::delivered: return "delivered";
    case TunnelFate::pong: return "pong";
    case TunnelFate::unknown_handle: return "unknown_handle";
    case TunnelFate::wrong_source: return "wrong_source";
    case TunnelFate::wrong_destination: return "wrong_destination";
    case TunnelFate::wrong_protocol: return "wrong_protocol";
    case TunnelFate::malformed: return "malformed";
    case TunnelFate::bad_checksum: return "bad_checksum";
    case TunnelFate::fragment: return "fragment";
    case TunnelFate::tun_full: return "tun_full";
    case TunnelFate::count_: break;
  }
  return "unknown";
}

}  // namespace ztna::agent
