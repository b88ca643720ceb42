#include "virtual/system_virtual/whole_world.h"

#include <algorithm>

namespace ztna::test {
namespace {

using agent::testing::at;
using agent::testing::ip;

const SocketAddress kIntermediate = at("192.0.2.1", 4433);
constexpr std::uint16_t kProbePort = 4435;
const SocketAddress kAgent = at("10.0.1.2", 5000);
const SocketAddress kConnector = at("10.0.2.2", 4434);

WallTime wall() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

path::HostAddress host(const SocketAddress& address) { return {address.ip, 24, "eth0", 2, true}; }

LeafSpec leaf(const std::string& role) {
  LeafSpec spec;
  if (role == "intermediate") {
    spec.ips = {"192.0.2.1"};
  } else {
    spec.dns = {role + ".web.ztna"};
  }
  spec.uris = {"spiffe://ztna.internal/" + role + "/one"};
  return spec;
}

}  // namespace

// -- backends --------------------------------------------------------------------------------------------------------

class EchoBackends::Udp final : public connector::BackendUdp {
 public:
  Udp(EchoBackends& owner, connector::BackendUdpEvents& events) : owner_(owner), events_(events) {
    owner_.udp_.insert(this);
  }
  ~Udp() override { owner_.udp_.erase(this); }
  connector::Sent send(Bytes row, std::size_t segment) override {
    rows_.emplace_back(ByteVector{row.begin(), row.end()}, segment);
    const bool several = segment != 0 && segment < row.size();
    return {connector::SendStatus::ok, row.size(), several ? (row.size() + segment - 1) / segment : 1, row.size()};
  }
  std::size_t path_mtu() const override { return 1500; }
  bool run(TimePoint now) {
    if (rows_.empty()) return false;
    for (const auto& [row, segment] : std::exchange(rows_, {})) events_.on_backend_datagrams(row, segment, now);
    return true;
  }

 private:
  EchoBackends& owner_;
  connector::BackendUdpEvents& events_;
  std::vector<std::pair<ByteVector, std::size_t>> rows_;
};

class EchoBackends::Tcp final : public tunnel::TcpPort {
 public:
  Tcp(EchoBackends& owner, connector::BackendTcpEvents& events) : owner_(owner), events_(events) {
    owner_.tcp_.insert(this);
  }
  ~Tcp() override { owner_.tcp_.erase(this); }
  tunnel::IoResult read(MutableBytes into) override {
    if (held_.empty()) return {ended_ ? tunnel::IoStatus::end_of_stream : tunnel::IoStatus::would_block, 0};
    const auto n = std::min(into.size(), held_.size());
    std::copy_n(held_.begin(), n, into.begin());
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(n));
    return {tunnel::IoStatus::ok, n};
  }
  tunnel::IoResult write(std::span<const Bytes> blocks) override {
    std::size_t n = 0;
    for (const auto& block : blocks) {
      held_.insert(held_.end(), block.begin(), block.end());
      n += block.size();
    }
    return {tunnel::IoStatus::ok, n};
  }
  void shutdown_write() override { ended_ = true; }
  void abort() override {}
  void want(bool readable, bool) override { wants_ = readable; }
  bool run(TimePoint now) {
    if (!std::exchange(connected_, true)) {
      events_.on_connected({}, now);
      return true;
    }
    if (!wants_ || (held_.empty() && !ended_)) return false;
    events_.on_readable();
    return true;
  }

 private:
  EchoBackends& owner_;
  connector::BackendTcpEvents& events_;
  std::deque<std::uint8_t> held_;
  bool connected_ = false;
  bool ended_ = false;
  bool wants_ = false;
};

Result<std::unique_ptr<connector::BackendUdp>> EchoBackends::connect_udp(const SocketAddress&,
                                                                         connector::BackendUdpEvents& events) {
  return std::make_unique<Udp>(*this, events);
}

Result<std::unique_ptr<tunnel::TcpPort>> EchoBackends::connect_tcp(const SocketAddress&, Duration,
                                                                   connector::BackendTcpEvents& events) {
  return std::make_unique<Tcp>(*this, events);
}

bool EchoBackends::run(TimePoint now) {
  bool any = false;
  for (auto* udp : std::set{udp_}) any = (udp_.contains(udp) && udp->run(now)) || any;
  for (auto* tcp : std::set{tcp_}) any = (tcp_.contains(tcp) && tcp->run(now)) || any;
  return any;
}

// -- the world -------------------------------------------------------------------------------------------------------

struct WholeWorld::Port final : tunnel::UdpPort, tunnel::SideSockets {
  using OnPacket = std::function<void(tunnel::SocketId socket, const SimPacket& packet)>;

  Port(SimNat& n, const SocketAddress& where, unsigned most) : nat(n), own(where), max_side(most) {}
  void start(OnPacket receiver) {
    on_packet = std::move(receiver);
    nat.attach(own, [this](const SimPacket& packet) { on_packet(tunnel::kMainSocket, packet); });
  }
  void send(const SocketAddress& to, Bytes row, std::size_t segment) override {
    const auto routed = routes.find(to);
    const auto from = routed == routes.end() ? own : side.at(routed->second);
    for (std::size_t n = 0; n < row.size(); n += segment) {
      const auto packet = row.subspan(n, std::min(segment, row.size() - n));
      nat.send({from, to, ByteVector{packet.begin(), packet.end()}});
    }
  }
  bool writable() const override { return true; }
  std::vector<tunnel::SocketId> open_side(unsigned count) override {
    std::vector<tunnel::SocketId> opened;
    while (opened.size() < count && side.size() < max_side) {
      const auto id = ++last;
      const SocketAddress at{own.ip, static_cast<std::uint16_t>(30'000 + id)};
      side.emplace(id, at);
      nat.attach(at, [this, id](const SimPacket& packet) { on_packet(id, packet); });
      opened.push_back(id);
    }
    return opened;
  }
  void send_from(tunnel::SocketId socket, const SocketAddress& to, Bytes payload) override {
    if (side.contains(socket)) nat.send({side.at(socket), to, ByteVector{payload.begin(), payload.end()}});
  }
  void route(tunnel::SocketId socket, const SocketAddress& remote) override {
    if (side.contains(socket)) routes[remote] = socket;
  }
  void close_side(tunnel::SocketId socket) override {
    if (const auto found = side.find(socket); found != side.end()) {
      nat.detach(found->second);
      side.erase(found);
    }
    std::erase_if(routes, [&](const auto& entry) { return entry.second == socket; });
  }

  SimNat& nat;
  SocketAddress own;
  unsigned max_side;
  OnPacket on_packet;
  tunnel::SocketId last = 0;
  std::map<tunnel::SocketId, SocketAddress> side;
  std::map<SocketAddress, tunnel::SocketId> routes;
};

WholeWorld::WholeWorld(Nat of_agent, Nat of_connector, Duration rtt, WholeOptions options)
    : random(options.seed), options_(std::move(options)) {
  network.defaults.delay = rtt / 2;
  const auto nat = [&](const Nat& kind, const char* outside) {
    SimNat::Config config;
    config.outside = ip(outside);
    config.mapping = kind.mapping;
    config.filtering = kind.filtering;
    return std::make_unique<SimNat>(network, std::move(config));
  };
  const auto outside = [](const Nat& kind, const SocketAddress& own, const char* nat_ip) {
    return kind.mapping == wire::NatMapping::none ? own.ip : ip(nat_ip);
  };
  agent_nat = nat(of_agent, "198.51.100.9");
  connector_nat = nat(of_connector, "203.0.113.7");
  agent_outside_ = outside(of_agent, kAgent, "198.51.100.9");
  connector_outside_ = outside(of_connector, kConnector, "203.0.113.7");
  make_intermediate();
  make_connector();
  make_agent();
}

WholeWorld::~WholeWorld() {
  agent.reset();  // they give their side sockets back
  connector.reset();
}

std::shared_ptr<const quic::TlsContext> WholeWorld::tls(quic::Side side, const LeafSpec& spec, const char* alpn) const {
  const auto own = ca.issue(spec);
  quic::TlsOptions options;
  options.ca_pem = ca.pem();
  options.cert_pem = own.cert;
  options.key_pem = own.key;
  options.alpn = alpn;
  return *quic::TlsContext::create(side, std::move(options));
}

void WholeWorld::make_intermediate() {
  registry_ = std::make_unique<intermediate::Registry>(
      intermediate::RegistryLimits{}, std::vector<intermediate::Pool>{{*Prefix::parse("10.100.0.0/24"), {}}}, routes_,
      random);
  intermediate::WorkerOptions options;
  options.port = kIntermediate.port;
  options.probe_port = kProbePort;
  worker_ = std::make_unique<intermediate::Worker>(
      options, *registry_, routes_, counters_, static_cast<intermediate::WorkerUdp&>(*this),
      static_cast<intermediate::WorkerMail&>(*this), random, tls(quic::Side::server, leaf("intermediate"), "ztna-v1"));
  for (const auto port : {kIntermediate.port, kProbePort}) {
    network.attach({kIntermediate.ip, port}, [this](const SimPacket& packet) {
      auto row = packet.payload;
      worker_->receive(packet.to, packet.from, row, row.size(), network.now(), wall());
    });
  }
}

void WholeWorld::make_connector() {
  connector_port_ = std::make_unique<Port>(*connector_nat, kConnector, options_.max_side_sockets);
  connector::ConnectorOptions options;
  options.servers = {{"192.0.2.1", 4433}};
  options.services = {{agent::testing::id("web"),
                       "10.9.9.9",
                       80,
                       {{connector::Transport::tcp, 80, 80}, {connector::Transport::udp, 7000, 7000}},
                       {}}};
  options.instance = wire::InstanceId{{9}};
  options.direct.local.port_v4 = kConnector.port;
  options.direct.local.external = options_.connector_external;
  options.direct.birthday = options_.connector_birthday;
  options.control_tls = tls(quic::Side::client, leaf("connector"), "ztna-v1");
  options.tunnel_tls = tls(quic::Side::server, leaf("connector"), "ztna-tunnel-v1");
  connector = std::make_unique<connector::Connector>(
      std::move(options),
      connector::ConnectorPorts{*connector_port_, backends, names_, random, wall, connector_port_.get()});
  connector_port_->start([this](tunnel::SocketId socket, const SimPacket& packet) {
    connector->receive(packet.from, packet.payload, packet.payload.size(), network.now(), socket);
  });
  connector->network_changed(now(), std::vector{host(kConnector)});
  connector->start(now());
}

void WholeWorld::make_agent() {
  agent_port_ = std::make_unique<Port>(*agent_nat, kAgent, options_.max_side_sockets);
  agent::AgentOptions options;
  options.servers = {{"192.0.2.1", 4433}};
  options.services = {{agent::testing::id("web"), {}}};
  options.addresses = agent::testing::own_addresses();
  options.direct.local.port_v4 = kAgent.port;
  options.direct.birthday = options_.agent_birthday;
  options.direct.local.tunnels = {*Prefix::parse("10.100.0.0/24")};
  agent = *agent::Agent::create(std::move(options), {*agent_port_, tun, names_, random, wall, agent_port_.get()},
                                {tls(quic::Side::client, leaf("agent"), "ztna-v1"),
                                 tls(quic::Side::client, leaf("agent"), "ztna-tunnel-v1"), ByteVector{1}});
  agent->set_listener(Family::v4, 40'000);
  agent_port_->start([this](tunnel::SocketId socket, const SimPacket& packet) {
    agent->udp_received(packet.from, packet.payload, packet.payload.size(), network.now(), socket);
  });
  agent->set_hosts({host(kAgent)}, now());
  agent->start(now());
}

void WholeWorld::send(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) {
  for (std::size_t n = 0; n < row.size(); n += segment) {
    const auto packet = row.subspan(n, std::min(segment, row.size() - n));
    network.send({local, to, ByteVector{packet.begin(), packet.end()}});
  }
}

std::size_t WholeWorld::agent_sockets() const { return agent_port_->side.size(); }
std::size_t WholeWorld::connector_sockets() const { return connector_port_->side.size(); }

bool WholeWorld::registered() const {
  const auto services = agent->snapshot(now()).services;
  return !services.empty() && services[0].v4 && (services[0].state == "ready" || services[0].state == "open");
}

bool WholeWorld::direct() const {
  const auto tunnels = agent->snapshot(now()).tunnels;
  return !tunnels.empty() && tunnels[0].path == "direct";
}

agent::PathStatus WholeWorld::way() const {
  const auto services = agent->snapshot(now()).services;
  return services.empty() ? agent::PathStatus{} : services[0].way.value_or(agent::PathStatus{});
}

void WholeWorld::out(ByteVector packet) {
  lent_.push_back(std::move(packet));
  agent->tun_packet({}, lent_.back(), now());
}

void WholeWorld::block(bool out_blocked, bool back_blocked) {
  network.link(agent_outside_, connector_outside_).blocked = out_blocked;
  network.link(connector_outside_, agent_outside_).blocked = back_blocked;
}

void WholeWorld::intermediate_reachable(bool reachable) {
  for (const auto& end : {agent_outside_, connector_outside_}) {
    network.link(end, kIntermediate.ip).blocked = !reachable;
    network.link(kIntermediate.ip, end).blocked = !reachable;
  }
}

bool WholeWorld::run_until(const std::function<bool()>& done, Duration limit) {
  const auto end = now() + limit;
  for (;;) {
    for (; !mail_.empty(); mail_.pop_front()) worker_->deliver(mail_.front());
    for (; !kicks_.empty(); kicks_.pop_front()) worker_->kick(kicks_.front());
    worker_->flush(now());
    agent->flush(now());
    lent_.clear();
    connector->set_now(now());
    while (backends.run(now())) {
    }
    connector->flush(now());
    if (done()) return true;
    auto next = std::min({network.next_event(), worker_->deadline(), agent->deadline(), connector->deadline()});
    if (!mail_.empty() || !kicks_.empty()) next = now();
    if (next > end) {
      network.advance(end);
      return done();
    }
    network.advance(std::max(next, now()));
    if (worker_->deadline() <= now()) worker_->on_deadline(now(), wall());
    if (agent->deadline() <= now()) agent->on_deadline(now());
    if (connector->deadline() <= now()) connector->on_deadline(now());
  }
}

}  // namespace ztna::test
