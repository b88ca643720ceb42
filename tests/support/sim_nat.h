// A NAT (or firewall) in the simulated network, of any kind of RFC 4787 4.1 and 5.
//
//   host --- inside --- SimNat --- outside IP --- SimNetwork
//   host --- inside --- SimNat --- outside IP --- SimNat --- outside IP --- SimNetwork     (double NAT, CGNAT)
//
// Hosts behind one NAT reach each other directly by their inside addresses. Links and their properties are those of the
// outermost outside IPs in SimNetwork; the inside costs `inside_delay`.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "base/address.h"
#include "base/time.h"
#include "support/sim_network.h"
#include "wire/nat.h"

namespace ztna::test {

class SimNat {
 public:
  enum class Ports : std::uint8_t {
    random,      // 1024 to 65535
    sequential,  // the next free one
    preserving,  // the inside port when it is free, else random
  };
  struct Config {
    IpAddress outside;  // mapping `none` (a firewall): not used, addresses stay
    wire::NatMapping mapping = wire::NatMapping::endpoint_independent;
    wire::NatFiltering filtering = wire::NatFiltering::address_and_port_dependent;
    Ports ports = Ports::random;
    bool hairpin = false;     // RFC 4787 6: with the external source address
    Duration timeout = 120s;  // of a mapping and of a filter's entry, refreshed by what goes out (RFC 4787 4.3)
    Duration inside_delay = 100us;
    /// Which remote addresses packets may be exchanged with at all; empty: all.
    std::function<bool(const SocketAddress& remote)> permits;
  };

  /// `network` and `upstream` outlive the NAT.
  SimNat(SimNetwork& network, Config config, SimNat* upstream = nullptr);
  SimNat(const SimNat&) = delete;
  SimNat& operator=(const SimNat&) = delete;

  /// A host inside; packets to `inside` go to `receiver`.
  void attach(const SocketAddress& inside, SimNetwork::Receiver receiver);
  void detach(const SocketAddress& inside) { hosts_.erase(inside); }
  /// All ports of an IP inside (another NAT).
  void attach_ip(const IpAddress& inside, SimNetwork::Receiver receiver);
  /// A packet that an inside host sends.
  void send(const SimPacket& packet);
  /// Forgets all mappings, as a reboot does: next packets get other ports.
  void rebind() { by_key_.clear(), by_port_.clear(); }

  /// Packets from outside that the filter kept out, or that no mapping wanted.
  std::uint64_t kept_out = 0;
  std::size_t mappings() const { return by_port_.size(); }

 private:
  struct Key {
    SocketAddress inside;
    IpAddress remote;               // or unspecified
    std::uint16_t remote_port = 0;  // or 0
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Mapping {
    Key key;
    TimePoint used;
    std::map<SocketAddress, TimePoint> sent_to;
  };

  void receive(const SimPacket& packet);  // from outside
  void deliver(SimPacket packet);         // to an inside host, after inside_delay
  std::uint16_t external_port(const SocketAddress& inside, const SocketAddress& remote);
  std::uint16_t free_port(std::uint16_t wanted);
  bool admits(const Mapping& mapping, const SocketAddress& remote) const;
  bool is_inside(const SocketAddress& address) const;

  SimNetwork& network_;
  Config config_;
  SimNat* upstream_;
  std::map<SocketAddress, SimNetwork::Receiver> hosts_;
  std::map<IpAddress, SimNetwork::Receiver> host_ips_;
  std::map<Key, std::uint16_t> by_key_;
  std::map<std::uint16_t, Mapping> by_port_;  // a firewall's "port" is that of the inside host's address
  std::map<SocketAddress, Mapping> firewall_;
  std::uint16_t next_port_;
};

}  // namespace ztna::test
