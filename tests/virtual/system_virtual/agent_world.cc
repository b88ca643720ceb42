#include "virtual/system_virtual/agent_world.h"

#include <algorithm>

namespace ztna::agent::testing {
namespace {

std::shared_ptr<const quic::TlsContext> tls(quic::Side side, const test::TestCa& ca, const LeafSpec& spec,
                                            const char* alpn) {
  const auto own = ca.issue(spec);
  quic::TlsOptions options;
  options.ca_pem = ca.pem();
  options.cert_pem = own.cert;
  options.key_pem = own.key;
  options.alpn = alpn;
  return *quic::TlsContext::create(side, std::move(options));
}

}  // namespace

tunnel::IoResult PlayedPort::read(MutableBytes into) {
  if (wire_.to_agent.empty()) {
    return {wire_.end_of_stream ? tunnel::IoStatus::end_of_stream : tunnel::IoStatus::would_block, 0};
  }
  const auto n = std::min(into.size(), wire_.to_agent.size());
  std::copy_n(wire_.to_agent.begin(), n, into.begin());
  wire_.to_agent.erase(0, n);
  return {tunnel::IoStatus::ok, n};
}

tunnel::IoResult PlayedPort::write(std::span<const Bytes> blocks) {
  std::size_t n = 0;
  for (const auto& block : blocks) {
    wire_.from_agent += as_text(block);
    n += block.size();
  }
  return {tunnel::IoStatus::ok, n};
}

AgentWorld::AgentWorld() : AgentWorld(Setup{}) {}

AgentWorld::AgentWorld(const Setup& setup)
    : intermediate(network, {}, &control, 11), connector(network, {}, &tunnels, 12) {
  LeafSpec of_intermediate;
  of_intermediate.ips = {"192.0.2.1", "192.0.2.2"};
  of_intermediate.uris = {setup.intermediate_uri};
  if (setup.intermediate_uri.find("/intermediate/") == std::string::npos) of_intermediate.dns = {"connector.web.ztna"};
  control.tls = tls(quic::Side::server, ca, of_intermediate, "ztna-v1");
  control.prepare = [this](RecordingHandler& handler) {
    auto framer = std::make_shared<wire::Framer>();
    handler.when_data = [this, framer, &handler](quic::StreamId, Bytes data, bool) {
      answering = &handler;
      (void)framer->push(data, [this](const wire::Frame& frame) -> Result<void> {
        if (const auto message = wire::parse_control_message(frame.type, frame.body)) hear(*message);
        return {};
      });
      answering = nullptr;
    };
  };
  for (const auto& where : {intermediate_at, second_intermediate_at}) {
    network.attach(where, [this](const SimPacket& packet) { relay(packet); });
  }

  LeafSpec of_connector;
  of_connector.dns = {"connector." + setup.connector_service + ".ztna"};
  of_connector.uris = {"spiffe://ztna.internal/connector/c1"};
  tunnels.tls = tls(quic::Side::server, ca, of_connector, "ztna-tunnel-v1");
  tunnels.transport.idle_timeout = 900s;
  tunnels.prepare = [this](RecordingHandler& handler) { prepare_tunnel(handler); };
  connector.packet_for = [this](const quic::Path& path, ByteVector payload) {
    ByteVector whole(wire::RelayDatagram::kHeaderSize);
    auto from = intermediate_at;
    for (const auto& [route, own] : routes_) {
      if (own != path) continue;
      wire::write_relay_header(std::span{whole}.first<wire::RelayDatagram::kHeaderSize>(), route);
      if (came_by_.contains(route)) from = came_by_.at(route);
    }
    whole.insert(whole.end(), payload.begin(), payload.end());
    return SimPacket{from, agent_at, std::move(whole)};
  };

  AgentOptions options;
  options.servers = {{"192.0.2.1", 4433}};
  if (setup.two_servers) options.servers.push_back({"192.0.2.2", 4433});
  options.services = setup.services;
  options.direct = setup.direct;
  options.addresses = own_addresses();
  const auto wall = [] { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); };
  agent = *Agent::create(std::move(options), {udp_, tun, names_, random, wall}, agent_tls());
  agent->set_listener(Family::v4, 40'000);
  agent->set_listener(Family::v6, 40'000);
  network.attach(agent_at, [this](const SimPacket& packet) {
    if (!asleep_) agent->udp_received(packet.from, packet.payload, packet.payload.size(), network.now());
  });
  agent->start(now());
}

AgentTls AgentWorld::agent_tls() const {
  static std::uint8_t number = 0;
  LeafSpec of_agent;
  of_agent.dns = {"agent.*.ztna"};
  of_agent.uris = {"spiffe://ztna.internal/agent/laptop"};
  of_agent.purpose = test::Purpose::client;
  return {tls(quic::Side::client, ca, of_agent, "ztna-v1"), tls(quic::Side::client, ca, of_agent, "ztna-tunnel-v1"),
          ByteVector{++number}};
}

void AgentWorld::hear(const wire::ControlMessage& message) {
  heard.push_back(message);
  if (when_heard) when_heard(message);
  if (std::holds_alternative<wire::Hello>(message)) return intermediate_says(wire::Hello{});
  if (const auto* request = std::get_if<wire::RegisterAgent>(&message)) {
    addresses_told = {service.ip, ip("fd5a:7a74:6e61::5")};
    if (request->service == wire::kAllServices) {
      intermediate_says(wire::RegistrationAck{request->service, {}});
      return intermediate_says(wire::Catalog{true, {{id("web"), addresses_told}}});
    }
    return intermediate_says(wire::RegistrationAck{request->service, addresses_told});
  }
  const auto* request = std::get_if<wire::RouteRequest>(&message);
  if (request == nullptr) return;
  if (refuse_routes) return intermediate_says(wire::RouteClosed{request->tunnel, *refuse_routes});
  const wire::RouteId route{100 + ++routes_opened};
  routes_[route] = {at("fd00::1", next_path_), at("fd00::2", next_path_)};
  ++next_path_;
  intermediate_says(
      wire::RouteOpened{request->tunnel, route, wire::Role::connector, connector_instance, "c1", id(request->service)});
}

void AgentWorld::relay(const SimPacket& packet) {
  const auto routed = wire::RelayDatagram::parse(packet.payload);
  if (!routed) {
    intermediate->receive({packet.to, packet.from}, packet.payload, network.now(), intermediate);
    return;
  }
  const auto path = routes_.find(routed->route);
  came_by_[routed->route] = packet.to;
  if (path != routes_.end()) connector->receive(path->second, routed->packet, network.now(), connector);
}

void AgentWorld::prepare_tunnel(RecordingHandler& handler) {
  auto framer = std::make_shared<wire::Framer>();
  fates_.emplace_back();
  auto channel = std::make_shared<tunnel::DatagramChannel>(*handler.connection, fates_.back());
  handler.when_data = [this, framer, &handler](quic::StreamId stream, Bytes data, bool fin) {
    auto& connection = *handler.connection;
    if (stream.value != 0) {
      auto& record = handler.streams[stream.value];
      if (record.octets == data.size()) {  // the header, in one piece
        const ByteVector result{static_cast<std::uint8_t>(stream_result)};
        (void)connection.write(stream, Bytes{result});
        if (stream_result != wire::StreamResult::connected) return connection.finish(stream);
        (void)connection.write(stream, as_bytes(greeting));
        data = data.subspan(wire::StreamHeader::kSize);
      }
      if (!data.empty()) (void)connection.write(stream, data);
      if (fin) connection.finish(stream);
      return;
    }
    (void)framer->push(data, [&connection](const wire::Frame& frame) -> Result<void> {
      const auto message = wire::parse_tunnel_message(frame.type, frame.body);
      if (!message) return fail(message.error());
      if (std::holds_alternative<wire::Hello>(*message)) {
        return connection.write(quic::StreamId{0}, Bytes{wire::encode_frame(wire::Hello{})});
      }
      if (const auto* open = std::get_if<wire::OpenService>(&*message)) {
        return connection.write(quic::StreamId{0}, Bytes{wire::encode_frame(wire::ServiceOpened{open->handle})});
      }
      return {};
    });
  };
  handler.when_datagram = [this, channel](Bytes data) {
    const auto got = channel->receive(data, network.now());
    if (!got) return;
    const auto view = wire::ip::parse_ip_packet(got->packet);
    if (!view) return;
    const bool is_udp = view->protocol == wire::ip::Protocol::udp;
    lent_.push_back(is_udp ? *wire::ip::build_udp_packet(view->destination(), view->source(), view->l4_payload)
                           : *wire::ip::build_echo_reply(*view));
    channel->send(got->service, lent_.back());
  };
}

void AgentWorld::out(ByteVector packet) {
  lent_.push_back(std::move(packet));
  agent->tun_packet({}, lent_.back(), now());
}

std::vector<FakeTun::Written> AgentWorld::in() { return std::exchange(tun.written, {}); }

void AgentWorld::restart_intermediate() {
  quic::EndpointOptions options;
  options.reset_secret.fill(9);
  intermediate.restart(options, &control);
  answering = nullptr;
  routes_.clear();
  heard.clear();
  addresses_told.clear();
}

void AgentWorld::Udp::send(const SocketAddress& to, Bytes row, std::size_t segment) {
  for (std::size_t begin = 0; begin < row.size(); begin += segment) {
    const auto packet = row.subspan(begin, std::min(segment, row.size() - begin));
    world.network.send({world.agent_at, to, ByteVector{packet.begin(), packet.end()}});
  }
}

void AgentWorld::suspend(Duration duration) {
  asleep_ = true;
  for (const auto end = now() + duration; now() < end;) {
    intermediate.flush();
    connector.flush();
    network.advance(std::min({end, std::max(now(), network.next_event()), std::max(now(), intermediate.deadline()),
                              std::max(now(), connector.deadline())}));
    for (auto* endpoint : {&intermediate, &connector}) {
      if (endpoint->deadline() <= now()) endpoint->on_deadline();
    }
  }
  asleep_ = false;
}

bool AgentWorld::run_until(const std::function<bool()>& done, Duration limit) {
  const auto end = now() + limit;
  for (;;) {
    agent->flush(now());
    intermediate.flush();
    connector.flush();
    lent_.clear();
    if (done()) return true;
    const auto next =
        std::min({network.next_event(), agent->deadline(), intermediate.deadline(), connector.deadline()});
    if (next > end) {
      network.advance(end);
      return done();
    }
    network.advance(std::max(next, now()));
    if (agent->deadline() <= now()) agent->on_deadline(now());
    for (auto* endpoint : {&intermediate, &connector}) {
      if (endpoint->deadline() <= now()) endpoint->on_deadline();
    }
  }
}

}  // namespace ztna::agent::testing
