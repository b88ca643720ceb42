#include "wire/ip/fault.h"

namespace ztna::wire::ip {

std::string_view to_string(PacketFault fault) {
  switch (fault) {
    case PacketFault::not_ip: return "not_ip";
    case PacketFault::truncated: return "truncated";
    case PacketFault::bad_length: return "bad_length";
    case PacketFault::bad_header: return "bad_header";
    case PacketFault::bad_fragment: return "bad_fragment";
    case PacketFault::bad_checksum: return "bad_checksum";
    case PacketFault::unsupported_protocol: return "unsupported_protocol";
    case PacketFault::count_: break;
  }
  return "unknown";
}

}  // namespace ztna::wire::ip
