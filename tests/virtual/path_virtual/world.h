// Two ends and an Intermediate on the simulated network, each end behind NATs of any kind:
//
//   agent 192.168.1.10 --- NAT 198.51.100.1 --- wire --- NAT 198.51.100.2 --- connector 192.168.2.10
//                                                |
//                             Intermediate 192.0.2.1:4433 and :4435
//
// Any two outermost addresses are half of `rtt` apart.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "path/birthday.h"
#include "path/candidate.h"
#include "path/nat_discovery.h"
#include "path/punch_session.h"
#include "support/fake_mac.h"
#include "support/sim_nat.h"
#include "support/sim_network.h"

namespace ztna::path {

inline IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
inline SocketAddress addr(std::string_view text) { return SocketAddress::parse(text).value(); }

/// What stands before an end.
enum class Kind : std::uint8_t {
  none,
  firewall,
  full_cone,
  address_restricted,
  port_restricted,
  symmetric,         // random ports
  symmetric_counts,  // sequential ports
  cgnat,             // a port-restricted NAT behind another that is port-restricted
  cgnat_symmetric,   // a port-restricted NAT behind a symmetric one
  udp_blocked,       // but to the Intermediate
};
std::string_view to_string(Kind kind);
/// The kind as the world outside sees it.
NatKind truth(Kind kind);

inline constexpr std::uint64_t kTunnelKey = 0x5EC2E7;
inline const SocketAddress kMainPort = addr("192.0.2.1:4433");
inline const SocketAddress kOtherPort = addr("192.0.2.1:4435");

struct Options {
  Duration rtt = 30ms;
  double loss = 0;
  Duration jitter{};
  std::uint64_t seed = 1;
  Duration skew{};  // the Connector starts so much later
};

class World {
 public:
  explicit World(const Options& options);

  /// One end: its NATs, its socket, and the machines that use it.
  struct End {
    wire::Role role = wire::Role::agent;
    SocketAddress inside;
    std::vector<std::unique_ptr<test::SimNat>> own_nats;
    test::SimNat* nat = nullptr;  // the innermost
    GatherInput input;
    Gathered gathered;
    std::unique_ptr<NatDiscovery> discovery;
    std::unique_ptr<PunchSession> session;
    std::unique_ptr<BirthdaySearch> birthday;
    std::optional<TimePoint> first_answer;

    ProbePolicy policy() const;
  };
  End& place(wire::Role role, Kind kind);
  /// Both behind one port-restricted NAT, in one network, or each behind a NAT of its own inside.
  void place_together(bool hairpin, bool one_network);

  /// NAT discovery at both ends, then gathering.
  void discover();
  /// Sessions at both ends with each other's candidates.
  void start_punching();
  /// The same; runs until both are decided.
  void punch();
  /// A birthday search, after discover(), until both sides are decided. The opener's sockets are further ports of its
  /// inside address; `lag`: the Connector begins so much later.
  void search(Duration lag = {});
  void run_until(TimePoint until, const std::function<bool()>& done = {});

  test::SimNetwork net;
  End agent;
  End connector;
  TimePoint started{};

  bool direct() const {
    return agent.session && connector.session && agent.session->selected() && connector.session->selected();
  }

 private:
  std::unique_ptr<test::SimNat> make_nat(const std::string& outside, NatKind kind, test::SimNat* upstream,
                                         test::SimNat::Ports ports = test::SimNat::Ports::random);
  void attach(End& end);
  void receive(End& end, unsigned socket, const test::SimPacket& packet);
  void intermediate(const test::SimPacket& packet);
  void poll(End& end);
  TimePoint deadline(const End& end) const;

  Options options_;
  test::SeededRandom random_;
  std::vector<std::unique_ptr<test::SimNat>> shared_nats_;
};

}  // namespace ztna::path
