#include "virtual/system_virtual/connector_world.h"

#include <gtest/gtest.h>

namespace ztna::connector::test {

std::vector<ServiceDefinition> two_services() {
  return {{service_id("web"), "10.0.0.5", 8080, {{Transport::tcp, 80, 80}, {Transport::udp, 7, 9}}, {}},
          {service_id("db"), "10.0.0.6", 0, {{Transport::tcp, 5432, 5432}}, {}}};
}

FakeIntermediate::FakeIntermediate(SimNetwork& network, const SocketAddress& where, const std::string& ca,
                                   const PemPair& own)
    : address(where), endpoint(network, {}, &acceptor, 77) {
  acceptor.tls = tls(quic::Side::server, ca, own, "ztna-v1");
  acceptor.prepare = [this](RecordingHandler& handler) {
    inbox = {};
    handler.when_data = [this, &handler](quic::StreamId, Bytes data, bool) {
      const auto before = inbox.all.size();
      inbox.push(data);
      for (auto i = before; i < inbox.all.size(); ++i) {
        ByteVector answer;
        if (std::holds_alternative<wire::Hello>(inbox.all[i])) {
          wire::append_frame(answer, wire::Hello{});
        } else if (const auto* request = std::get_if<wire::RegisterConnector>(&inbox.all[i])) {
          if (refuse) {
            wire::append_frame(answer, wire::RegistrationNack{*refuse, request->service, "the test says no"});
          } else {
            wire::append_frame(answer, wire::RegistrationAck{request->service, virtual_ips});
          }
        }
        if (!answer.empty()) (void)handler.connection->write(quic::StreamId{0}, Bytes{answer});
      }
    };
  };
  network.attach(where, [this, &network](const SimPacket& packet) {
    if (const auto routed = wire::RelayDatagram::parse(packet.payload)) {
      const auto leg = legs.find(routed->route);
      if (leg == legs.end()) return;
      auto copy = packet.payload;
      wire::write_relay_header(std::span{copy}.first<wire::RelayDatagram::kHeaderSize>(), leg->second.other);
      network.send({address, leg->second.to, std::move(copy)});
      return;
    }
    endpoint->receive({packet.to, packet.from}, packet.payload, network.now(), endpoint);
  });
}

MiniAgent::MiniAgent(SimNetwork& network, const SocketAddress& where, const SocketAddress& relay_address,
                     std::shared_ptr<const quic::TlsContext> tls_context, std::uint64_t seed)
    : address(where), relay(relay_address), endpoint(network, {}, nullptr, seed), context(std::move(tls_context)) {
  endpoint.packet_for = [this](const quic::Path& way, ByteVector payload) {
    if (way.remote.ip.is_v4()) return SimPacket{address, way.remote, std::move(payload)};
    ByteVector whole(wire::RelayDatagram::kHeaderSize);
    wire::write_relay_header(std::span{whole}.first<wire::RelayDatagram::kHeaderSize>(), route);
    whole.insert(whole.end(), payload.begin(), payload.end());
    return SimPacket{address, relay, std::move(whole)};
  };
  network.attach(where, [this, &network](const SimPacket& packet) {
    const auto routed = wire::RelayDatagram::parse(packet.payload);
    if (routed && routed->route == route) {
      endpoint->receive(path, routed->packet, network.now(), endpoint);
    } else if (wire::classify(packet.payload) == wire::PayloadKind::quic) {
      endpoint->receive(tunnel::Hub::direct_path(packet.from), packet.payload, network.now(), endpoint);
    } else if (when_probe) {
      when_probe(packet);
    }
  });
  handler.when_data = [this](quic::StreamId id, Bytes data, bool) {
    if (id.value == 0) inbox.push(data);
  };
  handler.when_datagram = [this, &network](Bytes data) {
    if (const auto got = channel->receive(data, network.now()))
      packets.emplace_back(got->packet.begin(), got->packet.end());
  };
}

void MiniAgent::dial(wire::RouteId on, TimePoint now) {
  route = on;
  path = {SocketAddress{test::ip("fd00::1"), next_path}, SocketAddress{test::ip("fd00::2"), next_path}};
  ++next_path;
  quic::ConnectOptions options;
  options.tls = context;
  options.transport.idle_timeout = 0s;
  options.transport.stream_window = stream_window;
  handler.connection = *endpoint->connect(options, path, handler, now);
  channel.emplace(*handler.connection, fates);
}

void MiniAgent::move(wire::RouteId to, TimePoint now) {
  route = to;
  path = {SocketAddress{test::ip("fd00::1"), next_path}, SocketAddress{test::ip("fd00::2"), next_path}};
  ++next_path;
  const auto moved = handler.connection->migrate(path, quic::Migration::immediate, now);
  ASSERT_TRUE(moved) << moved.error().text;
}

void MiniAgent::go_direct(const SocketAddress& connector, TimePoint now) {
  const auto moved =
      handler.connection->migrate(tunnel::Hub::direct_path(connector), quic::Migration::validate_first, now);
  ASSERT_TRUE(moved) << moved.error().text;
}

void MiniAgent::hello(std::uint64_t version) {
  const auto stream = handler.connection->open_stream();
  ASSERT_TRUE(stream);
  ASSERT_EQ(stream->value, 0);
  wire::Hello message;
  message.version = version;
  message.instance = instance;
  tell(message);
}

std::optional<wire::RegistrationStatus> MiniAgent::opened(wire::ServiceHandle handle) const {
  for (const auto& message : inbox.all) {
    const auto* answer = std::get_if<wire::ServiceOpened>(&message);
    if (answer != nullptr && answer->handle == handle) return answer->status;
  }
  return std::nullopt;
}

void MiniAgent::send(wire::ServiceHandle handle, const ByteVector& packet) {
  kept.push_back(packet);
  channel->send(handle, kept.back());
}

quic::StreamId MiniAgent::connect(wire::ServiceHandle handle, std::uint16_t port) {
  const auto id = handler.connection->open_stream();
  if (!id) return quic::StreamId{-1};
  const auto header = wire::StreamHeader{handle, Family::v4, port}.encode();
  EXPECT_TRUE(handler.connection->write(*id, Bytes{header}));
  return *id;
}

ConnectorWorld::ConnectorWorld(std::uint64_t seed, Limits limits)
    : network(seed),
      intermediate(network, intermediate_address, ca.pem(), ca.issue([] {
        LeafSpec spec;
        spec.dns = {"relay.example"};
        spec.ips = {"192.0.2.1"};
        spec.uris = {"spiffe://ztna.internal/intermediate/i1"};
        return spec;
      }())),
      random(seed) {
  LeafSpec own;
  own.dns = {"connector.web.ztna", "connector.db.ztna"};
  own.uris = {"spiffe://ztna.internal/connector/c1"};
  const auto pair = ca.issue(own);
  control_tls = tls(quic::Side::client, ca.pem(), pair, "ztna-v1");
  tunnel_tls = tls(quic::Side::server, ca.pem(), pair, "ztna-tunnel-v1");
  ConnectorOptions options;
  options.servers = {{"192.0.2.1", 4433}};
  options.services = two_services();
  options.instance = wire::InstanceId{{9}};
  options.limits = limits;
  options.direct.local.port_v4 = connector_address.port;
  options.control_tls = control_tls;
  options.tunnel_tls = tunnel_tls;
  const auto wall = [] { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); };
  connector = std::make_unique<Connector>(std::move(options), ConnectorPorts{port_, backends, resolver, random, wall});
  network.attach(connector_address, [this](const SimPacket& packet) {
    connector->receive(packet.from, packet.payload, packet.payload.size(), network.now());
  });
  connector->start(now());
}

void ConnectorWorld::Port::send(const SocketAddress& to, Bytes row, std::size_t segment) {
  for (std::size_t at = 0; at < row.size(); at += segment) {
    const auto packet = row.subspan(at, std::min(segment, row.size() - at));
    ++world.packets_from_connector;
    world.last_destination = to;
    world.network.send({world.connector_address, to, ByteVector{packet.begin(), packet.end()}});
  }
}

bool ConnectorWorld::run_until(const std::function<bool()>& done, Duration limit) {
  const auto end = now() + limit;
  std::vector<SimEndpoint*> endpoints{&intermediate.endpoint};
  for (auto& agent : agents) endpoints.push_back(&agent.endpoint);
  for (;;) {
    connector->flush(now());
    for (auto* endpoint : endpoints) endpoint->flush();
    for (auto& agent : agents) agent.kept.clear();
    if (done()) return true;
    auto next = std::min(network.next_event(), connector->deadline());
    for (auto* endpoint : endpoints) next = std::min(next, endpoint->deadline());
    if (guest_deadline) next = std::min(next, guest_deadline());
    if (next > end) {
      network.advance(end);
      return done();
    }
    network.advance(std::max(next, now()));
    if (connector->deadline() <= now()) connector->on_deadline(now());
    if (guest_deadline && guest_deadline() <= now()) run_guest();
    for (auto* endpoint : endpoints) {
      if (endpoint->deadline() <= now()) endpoint->on_deadline();
    }
  }
}

MiniAgent& ConnectorWorld::add_agent(const std::string& name, const std::vector<std::string>& services) {
  return add_agent(tls(quic::Side::client, ca.pem(), ca.issue(agent_leaf(name, services)), "ztna-tunnel-v1"));
}

MiniAgent& ConnectorWorld::add_agent(std::shared_ptr<const quic::TlsContext> context) {
  const auto number = static_cast<std::uint32_t>(agents.size() + 1);
  const SocketAddress where{IpAddress::v4(0xCB007100U + number), 5000};  // 203.0.113.x
  return agents.emplace_back(network, where, intermediate_address, std::move(context), 1000 + number);
}

wire::RouteId ConnectorWorld::open_route(MiniAgent& agent, std::uint8_t tunnel_number, const std::string& name) {
  const wire::RouteId agent_side{next_route_++};
  const wire::RouteId connector_side{next_route_++};
  intermediate.route(agent_side, agent.address, connector_side, connector_address);
  wire::RouteOpened opened{tunnel_id(tunnel_number), connector_side, wire::Role::agent,
                           agent.instance,           name,           service_id("web")};
  intermediate.tell(opened);
  run_for(30ms);
  return agent_side;
}

bool ConnectorWorld::bring_up(MiniAgent& agent, std::uint8_t tunnel_number, const std::string& service,
                              const std::string& name) {
  if (!run_until([this] { return connector->state().ready; })) return false;
  agent.dial(open_route(agent, tunnel_number, name), now());
  if (!run_until([&] { return agent.handler.established; })) return false;
  agent.hello();
  agent.open_service(wire::ServiceHandle{1}, service);
  return run_until([&] { return agent.opened(wire::ServiceHandle{1}).has_value(); });
}

void ConnectorWorld::echo() {
  for (std::size_t i = 0; i < backends.udp.size(); ++i) {
    auto& socket = backends.udp[i];
    for (auto& n = echoed_[i]; n < socket.sent.size() && socket.events != nullptr; ++n) {
      const auto [row, segment] = socket.sent[n];
      socket.events->on_backend_datagrams(row, segment, now());
    }
  }
}

}  // namespace ztna::connector::test
