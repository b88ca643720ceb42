#include "connector/packet_fate.h"

namespace ztna::connector {

std::string_view to_string(PacketFate fate) {
  switch (fate) {
    case PacketFate::forwarded_udp: return "forwarded_udp";
    case PacketFate::echo_answered: return "echo_answered";
    case PacketFate::unknown_handle: return "unknown_handle";
    case PacketFate::not_registered: return "not_registered";
    case PacketFate::wrong_protocol: return "wrong_protocol";
    case PacketFate::wrong_port: return "wrong_port";
    case PacketFate::wrong_service_ip: return "wrong_service_ip";
    case PacketFate::not_agents_source: return "not_agents_source";
    case PacketFate::not_ip: return "not_ip";
    case PacketFate::truncated: return "truncated";
    case PacketFate::bad_length: return "bad_length";
    case PacketFate::bad_header: return "bad_header";
    case PacketFate::bad_checksum: return "bad_checksum";
    case PacketFate::fragment: return "fragment";
    case PacketFate::hop_limit: return "hop_limit";
    case PacketFate::flow_limit: return "flow_limit";
    case PacketFate::offline: return "offline";
    case PacketFate::backend_unknown: return "backend_unknown";
    case PacketFate::backend_unreachable: return "backend_unreachable";
    case PacketFate::backend_refused: return "backend_refused";
    case PacketFate::backend_busy: return "backend_busy";
    case PacketFate::backend_too_large: return "backend_too_large";
    case PacketFate::reply_forwarded: return "reply_forwarded";
    case PacketFate::reply_too_large: return "reply_too_large";
    case PacketFate::reply_queue_full: return "reply_queue_full";
    case PacketFate::error_sent: return "error_sent";
    case PacketFate::error_limited: return "error_limited";
    case PacketFate::error_queue_full: return "error_queue_full";
    case PacketFate::count_: break;
  }
  return "unknown";
}

PacketFate fate_of(wire::ip::PacketFault fault) {
  using wire::ip::PacketFault;
  switch (fault) {
    case PacketFault::not_ip: return PacketFate::not_ip;
    case PacketFault::truncated: return PacketFate::truncated;
    case PacketFault::bad_length: return PacketFate::bad_length;
    case PacketFault::bad_header: return PacketFate::bad_header;
    case PacketFault::bad_fragment: return PacketFate::fragment;
    case PacketFault::bad_checksum: return PacketFate::bad_checksum;
    case PacketFault::unsupported_protocol: return PacketFate::wrong_protocol;
    case PacketFault::count_: break;
  }
  return PacketFate::bad_header;
}

std::string_view to_string(StreamFate fate) {
  switch (fate) {
    case StreamFate::finished: return "finished";
    case StreamFate::reset: return "reset";
    case StreamFate::bad_header: return "bad_header";
    case StreamFate::not_permitted: return "not_permitted";
    case StreamFate::offline: return "offline";
    case StreamFate::limit: return "limit";
    case StreamFate::backend_refused: return "backend_refused";
    case StreamFate::backend_unreachable: return "backend_unreachable";
    case StreamFate::backend_timed_out: return "backend_timed_out";
    case StreamFate::backlog_limit: return "backlog_limit";
    case StreamFate::given_up: return "given_up";
    case StreamFate::count_: break;
  }
  return "unknown";
}

}  // namespace ztna::connector
