// What one Agent did with one service in one tunnel: the access log's figures.
#pragma once

#include <cstdint>

namespace ztna::connector {

struct ServiceUse {
  std::uint64_t octets_to_backend = 0;  // payload of UDP and TCP
  std::uint64_t octets_to_agent = 0;
  std::uint64_t udp_flows = 0;
  std::uint64_t tcp_connections = 0;
  std::uint64_t echoes = 0;
  std::uint64_t refused = 0;  // packets and streams that the service does not take
};

}  // namespace ztna::connector
