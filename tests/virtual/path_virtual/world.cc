#include "virtual/path_virtual/world.h"

#include <array>

namespace ztna::path {

using test::SimNat;
using test::SimPacket;
using wire::NatFiltering;
using wire::NatMapping;
using wire::ProbeKind;

namespace {

constexpr NatKind kPortRestricted{NatMapping::endpoint_independent, NatFiltering::address_and_port_dependent};
constexpr NatKind kSymmetric{NatMapping::address_and_port_dependent, NatFiltering::address_and_port_dependent};

}  // namespace

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::none: return "none";
    case Kind::firewall: return "firewall";
    case Kind::full_cone: return "full_cone";
    case Kind::address_restricted: return "address_restricted";
    case Kind::port_restricted: return "port_restricted";
    case Kind::symmetric: return "symmetric";
    case Kind::symmetric_counts: return "symmetric_counts";
    case Kind::cgnat: return "cgnat";
    case Kind::cgnat_symmetric: return "cgnat_symmetric";
    case Kind::udp_blocked: return "udp_blocked";
  }
  return "unknown";
}

NatKind truth(Kind kind) {
  switch (kind) {
    case Kind::none: return {NatMapping::none, NatFiltering::none};
    case Kind::firewall: return {NatMapping::none, NatFiltering::address_and_port_dependent};
    case Kind::full_cone: return {NatMapping::endpoint_independent, NatFiltering::endpoint_independent};
    case Kind::address_restricted: return {NatMapping::endpoint_independent, NatFiltering::address_dependent};
    case Kind::port_restricted:
    case Kind::cgnat:
    case Kind::udp_blocked: return kPortRestricted;
    case Kind::symmetric:
    case Kind::symmetric_counts:
    case Kind::cgnat_symmetric: return kSymmetric;
  }
  return {};
}

World::World(const Options& options) : net(options.seed), options_(options), random_(options.seed + 1000) {
  agent.role = wire::Role::agent;
  connector.role = wire::Role::connector;
  net.defaults.delay = options.rtt / 2;
  net.defaults.loss = options.loss;
  net.defaults.jitter = options.jitter;
  for (const auto& port : {kMainPort, kOtherPort}) {
    net.attach(port, [this](const SimPacket& p) { intermediate(p); });
  }
}

std::unique_ptr<SimNat> World::make_nat(const std::string& outside, NatKind kind, SimNat* upstream,
                                        SimNat::Ports ports) {
  SimNat::Config c{.outside = ip(outside), .mapping = kind.mapping, .filtering = kind.filtering, .ports = ports};
  return std::make_unique<SimNat>(net, c, upstream);
}

World::End& World::place(wire::Role role, Kind kind) {
  auto& end = role == wire::Role::agent ? agent : connector;
  const std::string side = role == wire::Role::agent ? "1" : "2";
  const bool is_public = kind == Kind::none || kind == Kind::firewall;
  end.inside = addr(is_public ? "203.0.113." + side + "0:4434" : "192.168." + side + ".10:4434");
  const auto outside = "198.51.100." + side;
  if (kind == Kind::cgnat || kind == Kind::cgnat_symmetric) {
    end.own_nats.push_back(make_nat(outside, truth(kind), nullptr));
    auto* upstream = end.own_nats.back().get();
    end.own_nats.push_back(make_nat("100.64." + side + ".7", kPortRestricted, upstream));
  } else if (kind == Kind::udp_blocked) {
    SimNat::Config c{.outside = ip(outside)};
    c.permits = [](const SocketAddress& remote) { return remote.ip == kMainPort.ip; };
    end.own_nats.push_back(std::make_unique<SimNat>(net, c));
  } else {
    const auto ports = kind == Kind::symmetric_counts ? SimNat::Ports::sequential : SimNat::Ports::random;
    end.own_nats.push_back(make_nat(outside, truth(kind), nullptr, ports));
  }
  end.nat = end.own_nats.back().get();
  attach(end);
  return end;
}

void World::place_together(bool hairpin, bool one_network) {
  shared_nats_.push_back(
      std::make_unique<SimNat>(net, SimNat::Config{.outside = ip("198.51.100.1"), .hairpin = hairpin}));
  auto* outer = shared_nats_.back().get();
  agent.inside = addr("192.168.1.10:4434");
  connector.inside = addr("192.168.1.11:4434");
  for (auto* end : {&agent, &connector}) {
    end->nat = outer;
    if (!one_network) {
      end->own_nats.push_back(make_nat(end == &agent ? "10.7.1.2" : "10.7.1.3", kPortRestricted, outer));
      end->nat = end->own_nats.back().get();
    }
    attach(*end);
  }
}

void World::attach(End& end) {
  end.nat->attach(end.inside, [this, &end](const SimPacket& p) { receive(end, 0, p); });
  end.input.hosts = {{.address = end.inside.ip,
                      .prefix_length = 24,
                      .interface = "eth0",
                      .interface_index = 2,
                      .default_route = true}};
  end.input.port_v4 = end.inside.port;
}

ProbePolicy World::End::policy() const {
  const std::array intermediates{kMainPort.ip};
  return make_policy(input, gathered, intermediates);
}

void World::intermediate(const SimPacket& packet) {
  const auto probe = wire::Probe::parse(packet.payload);
  if (!probe || !wire::is_open_request(probe->kind)) return;
  auto answer = *probe;
  answer.kind = ProbeKind::open_response;
  answer.address = packet.from;
  auto from = packet.to;
  if (probe->kind == ProbeKind::open_request_other) from = from == kMainPort ? kOtherPort : kMainPort;
  net.send({from, packet.from, wire::encode_probe(answer, wire::Role::agent)});
}

void World::receive(End& end, unsigned socket, const SimPacket& packet) {
  const auto probe = wire::Probe::parse(packet.payload);
  if (!probe) return;
  if (!wire::has_mac(probe->kind)) {
    if (end.discovery) end.discovery->receive(packet.from, *probe, net.now());
  } else if (end.birthday) {
    end.birthday->receive(socket, packet.from, *probe, net.now());
  } else if (end.session) {
    const auto fate = end.session->receive(packet.from, *probe, net.now());
    if (fate == ProbeFate::taken && !end.first_answer) end.first_answer = net.now();
  }
  poll(end);
}

void World::poll(End& end) {
  const auto send = [&](unsigned socket, const SocketAddress& to, const ByteVector& octets) {
    end.nat->send({{end.inside.ip, static_cast<std::uint16_t>(end.inside.port + socket)}, to, octets});
  };
  if (end.discovery) {
    for (const auto& out : end.discovery->poll(net.now())) send(0, out.to, out.octets);
  }
  if (end.session) {
    for (const auto& out : end.session->poll(net.now())) send(0, out.to, out.octets);
  }
  if (end.birthday) {
    for (const auto& out : end.birthday->poll(net.now())) send(out.socket, out.to, out.octets);
  }
}

TimePoint World::deadline(const End& end) const {
  auto at = kNever;
  if (end.discovery) at = std::min(at, end.discovery->deadline());
  if (end.session) at = std::min(at, end.session->deadline());
  if (end.birthday) at = std::min(at, end.birthday->deadline());
  return at;
}

void World::run_until(TimePoint until, const std::function<bool()>& done) {
  while (!done || !done()) {
    const auto next = std::min({net.next_event(), deadline(agent), deadline(connector), until});
    net.advance(next);
    poll(agent);
    poll(connector);
    if (next >= until) return;
  }
}

void World::discover() {
  for (auto* end : {&agent, &connector}) {
    if (end->nat == nullptr) continue;
    end->discovery = std::make_unique<NatDiscovery>(random_);
    const std::array own{end->inside};
    end->discovery->start({kMainPort, kOtherPort, std::nullopt}, own, net.now());
  }
  run_until(net.now() + 20s, [&] {
    return (!agent.discovery || !agent.discovery->running()) &&
           (!connector.discovery || !connector.discovery->running());
  });
  for (auto* end : {&agent, &connector}) {
    if (!end->discovery) continue;
    if (const auto& observed = end->discovery->report().observed) end->input.reflexive = {*observed};
    end->gathered = gather(end->input);
  }
}

void World::start_punching() {
  started = net.now();
  for (auto* end : {&agent, &connector}) {
    const auto& other = end == &agent ? connector : agent;
    end->session = std::make_unique<PunchSession>(PunchSession::Config{.role = end->role,
                                                                       .session = wire::SessionId{{1, 2, 3}},
                                                                       .mac = test::fake_mac(kTunnelKey),
                                                                       .policy = end->policy()},
                                                  random_, net.now());
    end->session->add_remote(other.gathered.candidates, net.now());
    end->session->start(net.now() + (end == &connector ? options_.skew : Duration{}));
  }
}

void World::punch() {
  start_punching();
  const auto decided = [](const End& e) {
    return e.session->state() != PunchSession::State::waiting && e.session->state() != PunchSession::State::punching;
  };
  run_until(net.now() + 10s, [&] { return decided(agent) && decided(connector); });
}

void World::search(Duration lag) {
  for (auto* end : {&agent, &connector}) {
    const auto& other = end == &agent ? connector : agent;
    const auto side = birthday_side(end->discovery->report().kind, other.discovery->report().kind);
    if (!side) return;
    end->session.reset();
    end->birthday =
        std::make_unique<BirthdaySearch>(BirthdaySearch::Config{.role = end->role,
                                                                .side = *side,
                                                                .session = wire::SessionId{{4, 5, 6}},
                                                                .mac = test::fake_mac(kTunnelKey),
                                                                .peer = *other.discovery->report().observed},
                                         random_);
    for (unsigned i = 1; i <= end->birthday->sockets_wanted(); ++i) {
      end->nat->attach({end->inside.ip, static_cast<std::uint16_t>(end->inside.port + i)},
                       [this, end, i](const SimPacket& p) { receive(*end, i, p); });
    }
  }
  started = net.now();
  agent.birthday->start(agent.birthday->sockets_wanted(), net.now());
  run_until(net.now() + lag);
  connector.birthday->start(connector.birthday->sockets_wanted(), net.now());
  const auto decided = [](const End& e) { return e.birthday->state() != BirthdaySearch::State::searching; };
  run_until(net.now() + 10s, [&] { return decided(agent) && decided(connector); });
}

}  // namespace ztna::path
