// What `ztna-agent status` shows: plain values, taken at one moment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/time.h"

namespace ztna::agent {

struct ServiceStatus {
  std::string id;
  std::optional<IpAddress> v4, v6;
  std::string state;  // "open", "opening", "ready" (no tunnel yet: it comes with the first packet), "down", "refused",
                      // "offline"
  std::string connector;  // of the tunnel; empty: none
  std::string path;       // "relay", "direct"; empty: no tunnel
  std::optional<Duration> rtt;
  std::size_t waiting = 0;  // packets and connections
  std::string problem;      // why not, for people; empty: none
};

struct TunnelStatus {
  std::string connector;
  std::string path;
  Duration rtt{};
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t packets_lost = 0;
  std::size_t max_udp_payload = 0;
  std::size_t tcp_connections = 0;
};

struct Snapshot {
  std::string server;  // as configured
  std::optional<SocketAddress> server_address;
  bool connected = false;
  std::string problem;  // why not connected, or why nothing is registered
  Duration control_rtt{};
  std::optional<SocketAddress> observed_v4, observed_v6;  // our address as the Intermediate sees it
  std::uint64_t reconnections = 0;
  std::vector<ServiceStatus> services;
  std::vector<TunnelStatus> tunnels;
  std::size_t tcp_connections = 0;
  std::uint64_t packets_carried = 0;
  std::uint64_t packets_delivered = 0;
  std::uint64_t packets_dropped = 0;
};

}  // namespace ztna::agent
