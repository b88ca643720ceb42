// What `ztna-agent status` shows: plain values, taken at one moment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/time.h"

namespace ztna::agent {

/// An address of the Connector that a direct path was tried to.
struct CandidateCheck {
  SocketAddress address;
  std::string kind;     // "host", "server_reflexive", ...
  std::string verdict;  // "allowed", or why it is never sent to
  unsigned sent = 0;
  unsigned received = 0;        // probes of the Connector from there
  std::optional<Duration> rtt;  // of the first answer; nothing: none came
};

/// Which path a tunnel is on, and why.
struct PathStatus {
  std::string kind;                     // "relay", "direct"
  std::string state;                    // path::PathState: also "punching", "validating"
  std::optional<SocketAddress> remote;  // of the Connector, or of the Intermediate that relays
  Duration since{};                     // how long it has been there
  std::optional<Duration> rtt;          // smoothed; nothing: not measured on this path yet
  double loss = 0;                      // 0 to 1, since it is there
  unsigned sessions = 0;                // tries to go direct
  std::string last_cause;               // why it last fell back; empty: never
  // On the relay:
  std::string reason;       // path::RelayReason
  std::string explanation;  // the same as a sentence
  std::string remedy;       // what would mend it; empty: nothing
  std::string
      birthday;  // also when direct: "searching", or tunnel::SearchEnd of the last search; empty: none was of use
  std::optional<Duration> next_try;
  std::string peer_nat;                // the Connector's; our own is in NatStatus
  std::string peer_nat_description;    // its mapping and filtering, for people
  std::vector<CandidateCheck> checks;  // of the last session, or the one under way
};

/// What was found out about the network that this machine is in.
struct NatStatus {
  struct Side {
    std::string state;        // path::NatReport::State
    std::string kind;         // "none", "port_restricted_cone", ...
    std::string description;  // for people
    std::optional<SocketAddress> observed;
    std::optional<Duration> rtt;
  };
  struct Offered {
    SocketAddress address;
    std::string kind;
  };
  bool enabled = true;
  bool birthday = true;  // birthday searches are allowed
  Side v4, v6;
  std::vector<Offered> candidates;
};

struct ServiceStatus {
  std::string id;
  std::optional<IpAddress> v4, v6;
  std::string state;  // "open", "opening", "ready" (no tunnel yet: it comes with the first packet), "down", "refused",
                      // "offline"
  std::string connector;          // of the tunnel; empty: none
  std::string path;               // "relay", "direct"; empty: no tunnel
  std::optional<Duration> rtt;    // as in PathStatus
  std::optional<PathStatus> way;  // of the tunnel
  std::size_t waiting = 0;        // packets and connections
  std::string problem;            // why not, for people; empty: none
};

struct TunnelStatus {
  std::string connector;
  std::string path;
  std::optional<Duration> rtt;  // as in PathStatus
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
  NatStatus nat;
  std::vector<ServiceStatus> services;
  std::vector<TunnelStatus> tunnels;
  std::size_t tcp_connections = 0;
  std::uint64_t packets_carried = 0;
  std::uint64_t packets_delivered = 0;
  std::uint64_t packets_dropped = 0;
};

}  // namespace ztna::agent
