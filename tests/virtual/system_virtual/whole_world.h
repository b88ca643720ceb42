// Everything real but the machines: an Agent and a Connector behind NATs, and an Intermediate, on virtual time:
//
//   user and kernel (the test) -- TUN -- Agent --- NAT --- 198.51.100.9 --+             +-- 203.0.113.7 --- NAT ---
//   Connector -- EchoBackends
//                                     10.0.1.2:5000                       |  Internet   |              10.0.2.2:4434
//                                                                         +-- 192.0.2.1 Intermediate (Worker, Registry)
#pragma once

#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/agent.h"
#include "connector/connector.h"
#include "intermediate/worker.h"
#include "support/sim_nat.h"
#include "support/test_pki.h"
#include "unit/agent/packets.h"

namespace ztna::test {

/// Backends of the Connector: what they get they send back.
class EchoBackends final : public connector::BackendFactory {
 public:
  Result<std::unique_ptr<connector::BackendUdp>> connect_udp(const SocketAddress&,
                                                             connector::BackendUdpEvents& events) override;
  Result<std::unique_ptr<tunnel::TcpPort>> connect_tcp(const SocketAddress&, Duration,
                                                       connector::BackendTcpEvents& events) override;
  /// What backends do between two batches of the Connector. True: something happened.
  bool run(TimePoint now);

 private:
  class Udp;
  class Tcp;
  std::set<Udp*> udp_;
  std::set<Tcp*> tcp_;
};

struct NatOf {
  wire::NatMapping mapping = wire::NatMapping::none;
  wire::NatFiltering filtering = wire::NatFiltering::none;
};

/// What a test changes of the two programs.
struct WholeOptions {
  bool agent_birthday = true;
  bool connector_birthday = true;
  unsigned max_side_sockets = 384;            // that each machine lets its program open
  std::vector<IpAddress> connector_external;  // that the Connector claims
  std::uint64_t seed = 18;
};

class WholeWorld : private intermediate::WorkerUdp, private intermediate::WorkerMail {
 public:
  using Nat = NatOf;
  static constexpr Nat kOpen{};
  static constexpr Nat kFullCone{wire::NatMapping::endpoint_independent, wire::NatFiltering::endpoint_independent};
  static constexpr Nat kPortRestricted{wire::NatMapping::endpoint_independent,
                                       wire::NatFiltering::address_and_port_dependent};
  static constexpr Nat kSymmetric{wire::NatMapping::address_and_port_dependent,
                                  wire::NatFiltering::address_and_port_dependent};

  WholeWorld(Nat of_agent, Nat of_connector, Duration rtt = 30ms, WholeOptions options = {});
  ~WholeWorld();

  bool run_until(const std::function<bool()>& done, Duration limit = 5s);
  void run_for(Duration duration) {
    run_until([] { return false; }, duration);
  }
  /// Side sockets that are open now.
  std::size_t agent_sockets() const;
  std::size_t connector_sockets() const;
  TimePoint now() const { return network.now(); }
  bool registered() const;
  bool direct() const;
  agent::PathStatus way() const;

  /// The user's packet goes into the TUN.
  void out(ByteVector packet);
  std::vector<agent::testing::FakeTun::Written> in() { return std::exchange(tun.written, {}); }

  /// Between the two ends' public addresses.
  void block(bool out, bool back);
  void intermediate_reachable(bool reachable);

  SimNetwork network{17};
  TestCa ca;
  SeededRandom random;
  agent::testing::FakeTun tun;
  EchoBackends backends;
  const SocketAddress user = agent::testing::at("10.100.0.254", 5000);
  SocketAddress service;  // as the Intermediate gave it
  std::unique_ptr<SimNat> agent_nat, connector_nat;
  std::unique_ptr<agent::Agent> agent;
  std::unique_ptr<connector::Connector> connector;

 private:
  struct Port;
  struct NoNames final : tunnel::Resolver {
    void resolve(const std::string&, Done) override {}
  };
  void make_intermediate();
  void make_agent();
  void make_connector();
  std::shared_ptr<const quic::TlsContext> tls(quic::Side side, const LeafSpec& spec, const char* alpn) const;

  // intermediate::WorkerUdp, WorkerMail
  void send(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) override;
  void forward(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) override {
    send(local, to, row, segment);
  }
  bool writable() const override { return true; }
  void deliver(intermediate::Delivery delivery) override { mail_.push_back(std::move(delivery)); }
  void kick(intermediate::Kick kick) override { kicks_.push_back(std::move(kick)); }
  void hand_over(std::uint8_t, const quic::Path&, Bytes) override {}

  WholeOptions options_;
  IpAddress agent_outside_, connector_outside_;
  NoNames names_;
  std::unique_ptr<Port> agent_port_, connector_port_;
  intermediate::RouteTable routes_;
  std::unique_ptr<intermediate::Registry> registry_;
  intermediate::SharedCounters counters_;
  std::deque<intermediate::Delivery> mail_;
  std::deque<intermediate::Kick> kicks_;
  std::unique_ptr<intermediate::Worker> worker_;
  std::list<ByteVector> lent_;  // the user's packets, borrowed until the flush
};

}  // namespace ztna::test
