#include "intermediate/worker.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include "wire/first_byte.h"

namespace ztna::intermediate {
namespace {

constexpr Duration kTick = 1s;
/// A client's handshake takes three round trips, more when packets are lost; who answers Retry and goes silent holds a
/// place for so long.
constexpr Duration kHandshakeTimeout = 4s;
/// One source may hold a twentieth of the places.
constexpr std::size_t kSourceShare = 20;

}  // namespace

std::string_view to_string(InputFate fate) {
  switch (fate) {
    case InputFate::quic: return "quic";
    case InputFate::handed_over: return "handed_over";
    case InputFate::probe: return "probe";
    case InputFate::junk: return "junk";
    case InputFate::count_: break;
  }
  return "unknown";
}

Worker::Worker(WorkerOptions options, Registry& registry, RouteTable& routes, SharedCounters& counters, WorkerUdp& udp,
               WorkerMail& mail, Random& random, std::shared_ptr<const quic::TlsContext> tls)
    : options_(std::move(options)),
      registry_(registry),
      counters_(counters),
      udp_(udp),
      mail_(mail),
      tls_(std::move(tls)),
      relay_(routes, counters.relay, options_.relay_bytes_per_second_per_route),
      limiter_(options_.handshakes_per_source),
      probes_(counters.probes) {
  quic::EndpointOptions endpoint;
  endpoint.worker = options_.index;
  endpoint.workers = options_.workers;
  endpoint.reset_secret = options_.reset_secret;
  endpoint.token_secret = options_.token_secret;
  endpoint.max_connections = options_.max_connections;
  endpoint.max_handshakes = options_.max_handshakes;
  endpoint_ = quic::Endpoint::create(endpoint, random, this);
}

Worker::~Worker() = default;

void Worker::receive(const SocketAddress& local, const SocketAddress& from, MutableBytes row, std::size_t segment,
                     TimePoint now, WallTime wall) {
  now_ = now;
  wall_ = wall;
  segment = segment == 0 ? row.size() : segment;
  if (options_.probe_port != 0 && local.port == options_.probe_port) {
    if (row.empty()) answer_probe(local, from, row);
    for (std::size_t at = 0; at < row.size(); at += segment) {
      answer_probe(local, from, row.subspan(at, std::min(segment, row.size() - at)));
    }
    return;
  }
  if (row.empty()) counters_.inputs.add(InputFate::junk);
  // Taken once per run of relayed segments, and never while QUIC code runs: that takes the registry's lock, and then
  // this one.
  std::optional<RouteTable::Reader> routes;
  for (std::size_t at = 0; at < row.size();) {
    const auto payload = row.subspan(at, std::min(segment, row.size() - at));
    const auto kind = wire::classify(payload);
    if (kind == wire::PayloadKind::routed_datagram) {
      if (!routes) routes.emplace(relay_.routes());
      at += relay_.forward(*routes, from, row.subspan(at), segment, now, udp_);
      continue;
    }
    routes.reset();
    at += payload.size();
    if (kind == wire::PayloadKind::quic) {
      receive_quic({local, from}, payload, now);
    } else if (kind == wire::PayloadKind::probe) {
      counters_.inputs.add(InputFate::probe);
      answer_probe(local, from, payload);
    } else {
      counters_.inputs.add(InputFate::junk);
    }
  }
}

void Worker::answer_probe(const SocketAddress& local, const SocketAddress& from, Bytes payload) {
  const auto other = local.port == options_.probe_port ? options_.port : options_.probe_port;
  const auto answer = probes_.receive(payload, from, other != 0, now_);
  if (!answer) return;
  udp_.send({local.ip, answer->from_other_port ? other : local.port}, from, answer->octets, answer->octets.size());
}

void Worker::receive_quic(const quic::Path& path, Bytes packet, TimePoint now) {
  now_ = now;
  const auto fate = endpoint_->receive(path, packet, now, *this);
  if (fate != quic::PacketFate::foreign_worker) {
    counters_.inputs.add(InputFate::quic);
    return;
  }
  // Long header: octet 6 is the destination connection id's first; short header: octet 1 (RFC 9000 17).
  const std::size_t at = (packet[0] & 0x80U) != 0 ? 6 : 1;
  counters_.inputs.add(InputFate::handed_over);
  if (packet.size() > at) mail_.hand_over(static_cast<std::uint8_t>(packet[at] % options_.workers), path, packet);
}

TimePoint Worker::deadline() const { return std::min(next_tick_, endpoint_->deadline()); }

void Worker::on_deadline(TimePoint now, WallTime wall) {
  now_ = now;
  wall_ = wall;
  endpoint_->on_deadline(now);
  if (now >= next_tick_) {
    next_tick_ = now + kTick;
    tick();
  }
}

void Worker::tick() {
  limiter_.tick(now_);
  probes_.tick(now_);
  // Closing a session asks the registry; what comes of it is delivered later.
  for (auto& [id, session] : sessions_) session->tick();
  std::erase_if(sessions_, [](const auto& entry) { return entry.second->closed(); });
  if (options_.index == 0) (void)ask([this](Registry& registry) { return registry.tick(now_); });
}

Result<void> Worker::ask(const std::function<Result<Actions>(Registry&)>& call) {
  // Own sessions' messages go by mail too: one that another worker posted before must not be overtaken.
  const std::lock_guard order{registry_.delivery_order()};
  auto actions = call(registry_);
  if (!actions) return fail(actions.error());
  for (auto& kick : actions->kicks) mail_.kick(std::move(kick));
  for (auto& delivery : actions->deliveries) mail_.deliver(std::move(delivery));
  return {};
}

void Worker::deliver(const Delivery& delivery) {
  const auto found = sessions_.find(delivery.to.id);
  if (found != sessions_.end()) found->second->send(delivery.message);
}

void Worker::kick(const Kick& kick) {
  const auto found = sessions_.find(kick.session.id);
  if (found != sessions_.end()) found->second->close(kick.code, kick.why);
}

void Worker::close_all(std::string_view why) {
  for (auto& [id, session] : sessions_) session->close(wire::CloseCode::draining, why);
}

quic::Acceptor::Admit Worker::admit(const quic::Path& path, bool validated, TimePoint now) {
  if (draining_) return Admit::ignore;
  if (options_.retry && !validated) return Admit::retry;  // costs us one packet and no state
  const auto share = std::max<std::size_t>(1, options_.max_handshakes / kSourceShare);
  if (limiter_.unfinished(path.remote.ip) >= share || !limiter_.allow(path.remote.ip, now)) {
    counters_.handshakes_limited.add();
    return Admit::ignore;
  }
  return Admit::accept;
}

Result<quic::Acceptor::Accepted> Worker::accept(quic::Connection& connection, const quic::Path& path, TimePoint now) {
  now_ = now;
  const SessionRef ref{options_.index, next_session_++};
  auto session = std::make_unique<ControlSession>(static_cast<SessionOwner&>(*this), connection, ref);
  Accepted accepted;
  accepted.tls = tls_;
  accepted.transport.handshake_timeout = kHandshakeTimeout;
  accepted.transport.idle_timeout = 30s;
  accepted.transport.stream_window = 256U << 10U;
  accepted.transport.connection_window = 512U << 10U;
  accepted.transport.max_peer_streams = 1;
  accepted.transport.datagrams = false;
  accepted.handler = session.get();
  sessions_.emplace(ref.id, std::move(session));
  limiter_.begin(path.remote.ip);
  return accepted;
}

}  // namespace ztna::intermediate
