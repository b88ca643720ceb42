// Under which addresses this end can be found: what the machine, the Intermediates, a router and the configuration say,
// put together for offers, for the rules about whom to probe, and for NAT discovery. Used by Agent and Connector.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/address.h"
#include "path/candidate.h"
#include "path/nat_discovery.h"
#include "path/probe_policy.h"
#include "tunnel/control_client.h"

namespace ztna::tunnel {

/// One Intermediate, as its control connection knows it.
struct IntermediateView {
  std::vector<IpAddress> addresses;     // that its name has
  std::optional<SocketAddress> server;  // in use; nothing: the control connection is down
  std::optional<std::uint16_t> probe_port;
  std::optional<SocketAddress> observed_v4, observed_v6;  // this end, as it sees it
  friend bool operator==(const IntermediateView&, const IntermediateView&) = default;
};
IntermediateView view_of(const ControlClient& control);

struct LocalOptions {
  std::uint16_t port_v4 = 0;        // of the one socket; 0: no socket of this family
  std::uint16_t port_v6 = 0;        //
  std::vector<IpAddress> external;  // configured; offered with the socket's port
  std::vector<Prefix> tunnels;      // networks of our own TUN
};

class LocalCandidates {
 public:
  explicit LocalCandidates(LocalOptions options = {});

  // Each tells whether the candidates have changed by it: then offer what is new to peers of live sessions.
  bool set_options(LocalOptions options);
  bool set_hosts(std::vector<path::HostAddress> hosts);
  /// What a router gave us (NAT-PMP, UPnP); replaces what was given before.
  bool set_mapped(std::vector<SocketAddress> mapped);
  bool set_intermediate(std::size_t index, IntermediateView view);
  bool remove_intermediate(std::size_t index);
  /// Where that Intermediate sees us, as far as it is known.
  std::optional<SocketAddress> observed_by(std::size_t index, Family family) const;
  /// As NAT discovery observed it; the control connection may know one family only.
  bool set_discovered(Family family, std::optional<SocketAddress> observed);

  /// Best first, and why others are not offered.
  const path::Gathered& gathered() const { return gathered_; }
  const std::vector<wire::Candidate>& candidates() const { return gathered_.candidates; }
  path::ProbePolicy policy() const;

  const std::vector<path::HostAddress>& hosts() const { return input_.hosts; }
  const LocalOptions& options() const { return options_; }
  bool has_socket(Family family) const { return port(family) != 0; }
  std::uint16_t port(Family family) const { return family == Family::v4 ? options_.port_v4 : options_.port_v6; }
  /// Addresses of this host with the port of its socket.
  std::vector<SocketAddress> own(Family family) const;
  /// As the Intermediates' control connections see us.
  std::vector<SocketAddress> observed(Family family) const;
  /// What NAT discovery needs of a family; nothing: no Intermediate in use has an address of it, or we no socket.
  std::optional<path::NatDiscovery::Targets> nat_targets(Family family) const;

 private:
  bool gather();

  LocalOptions options_;
  path::GatherInput input_;
  path::Gathered gathered_;
  std::map<std::size_t, IntermediateView> intermediates_;
  std::optional<SocketAddress> discovered_v4_, discovered_v6_;
};

}  // namespace ztna::tunnel
