#include "tunnel/punching.h"

#include <utility>

#include "base/log.h"
#include "quic/hmac.h"
#include "tunnel/probe_key.h"

namespace ztna::tunnel {
namespace {

PunchFate arrival_of(path::ProbeFate fate) {
  switch (fate) {
    case path::ProbeFate::answered: return PunchFate::answered;
    case path::ProbeFate::replayed: return PunchFate::replayed;
    case path::ProbeFate::taken: return PunchFate::taken;
    case path::ProbeFate::duplicate: return PunchFate::duplicate;
    case path::ProbeFate::wrong_session: return PunchFate::unknown_session;
    case path::ProbeFate::forged: return PunchFate::forged;
    case path::ProbeFate::unknown_transaction: return PunchFate::unknown_transaction;
    case path::ProbeFate::wrong_source: return PunchFate::wrong_source;
    case path::ProbeFate::wrong_kind: return PunchFate::wrong_kind;
    case path::ProbeFate::bad_source: return PunchFate::bad_source;
    case path::ProbeFate::over_limit: return PunchFate::over_limit;
    case path::ProbeFate::ended:
    case path::ProbeFate::count_: break;
  }
  return PunchFate::ended;
}

bool is_looking(path::PunchSession::State state) {
  return state == path::PunchSession::State::waiting || state == path::PunchSession::State::punching;
}

}  // namespace

std::string_view to_string(PunchFate arrival) {
  switch (arrival) {
    case PunchFate::answered: return "answered";
    case PunchFate::replayed: return "replayed";
    case PunchFate::taken: return "taken";
    case PunchFate::duplicate: return "duplicate";
    case PunchFate::nat_discovery: return "nat_discovery";
    case PunchFate::malformed: return "malformed";
    case PunchFate::unknown_session: return "unknown_session";
    case PunchFate::throttled: return "throttled";
    case PunchFate::forged: return "forged";
    case PunchFate::unknown_transaction: return "unknown_transaction";
    case PunchFate::wrong_source: return "wrong_source";
    case PunchFate::wrong_kind: return "wrong_kind";
    case PunchFate::bad_source: return "bad_source";
    case PunchFate::over_limit: return "over_limit";
    case PunchFate::ended: return "ended";
    case PunchFate::count_: break;
  }
  return "unknown";
}

struct Punching::Session {
  Session(const wire::TunnelId& t, quic::HmacSha256 h, TimePoint now) : tunnel(t), hmac(std::move(h)), begun(now) {}

  wire::TunnelId tunnel;
  quic::HmacSha256 hmac;
  std::optional<path::PunchSession> punch;  // set once its mac function can refer to `hmac`
  Rate checks{kSessionChecksPerSecond, kSessionCheckBurst};
  std::vector<wire::Candidate> told;
  std::optional<IpAddress> vouched;  // by the Intermediate, for the peer
  TimePoint begun;
  bool counted = false;  // as punched
  std::size_t heap_slot = quic::kNoSlot;

  TimePoint deadline() const {
    const bool unstarted = punch->state() == path::PunchSession::State::waiting;
    return std::min(punch->deadline(), unstarted ? begun + kUnstarted : kNever);
  }
};

Punching::Punching(wire::Role role, UdpPort& udp, Random& random, PunchingOwner& owner, LocalOptions options,
                   SideSockets* side)
    : role_(role),
      udp_(udp),
      random_(random),
      owner_(owner),
      local_(std::move(options)),
      nat_(random),
      searching_(role, udp, side, random, owner) {}

Punching::~Punching() = default;

// -- own addresses -------------------------------------------------------------------------------------------------

void Punching::set_options(LocalOptions options, TimePoint now) {
  local_changed(local_.set_options(std::move(options)), false, now);
}

void Punching::set_hosts(std::vector<path::HostAddress> hosts, TimePoint now) {
  local_changed(local_.set_hosts(std::move(hosts)), false, now);
}

void Punching::set_mapped(std::vector<SocketAddress> mapped, TimePoint now) {
  local_changed(local_.set_mapped(std::move(mapped)), false, now);
}

void Punching::set_intermediate(std::size_t index, IntermediateView view, TimePoint now) {
  bool untold = false;
  for (const auto family : {Family::v4, Family::v6}) {
    const auto& seen = family == Family::v4 ? view.observed_v4 : view.observed_v6;
    if (seen && seen != local_.observed_by(index, family)) untold = forget_told(*seen) || untold;
  }
  const bool changed = local_.set_intermediate(index, std::move(view));
  local_changed(changed || untold, false, now);
}

// An Intermediate passes on only what it sees of us. What it has come to see just now, it took out of what we said
// before.
bool Punching::forget_told(const SocketAddress& reflexive) {
  std::size_t forgotten = 0;
  for (auto& [id, session] : sessions_) {
    forgotten += std::erase_if(session->told, [&](const wire::Candidate& c) {
      return c.kind == wire::CandidateKind::server_reflexive && c.address == reflexive;
    });
  }
  return forgotten != 0;
}

void Punching::remove_intermediate(std::size_t index, TimePoint now) {
  local_changed(local_.remove_intermediate(index), false, now);
}

void Punching::network_changed(TimePoint now) { local_changed(false, true, now); }

void Punching::local_changed(bool candidates, bool anew, TimePoint now) {
  nat_.update(local_, anew, now);
  send(nat_.poll(now), now);
  if (candidates) owner_.on_local_changed();
}

void Punching::work_nat(TimePoint now) {
  send(nat_.poll(now), now);
  if (!nat_.take_change()) return;
  for (const auto family : {Family::v4, Family::v6}) local_.set_discovered(family, nat_.report(family).observed);
  log::info("NAT measured",
            {{"v4", path::describe(nat_.report(Family::v4))}, {"v6", path::describe(nat_.report(Family::v6))}});
  owner_.on_local_changed();
}

// -- sessions ------------------------------------------------------------------------------------------------------

wire::SessionId Punching::new_session() {
  wire::SessionId id;
  do {
    id.value = random_.array<8>();
  } while (sessions_.contains(id) || searching_.contains(id));
  return id;
}

Result<void> Punching::begin(const wire::SessionId& id, const wire::TunnelId& tunnel, quic::Connection& connection,
                             TimePoint now) {
  if (sessions_.contains(id) || searching_.contains(id)) return fail(Errc::conflict, "session id is in use");
  end_tunnel(tunnel);
  if (sessions_.size() >= kMaxSessions && !make_room()) return fail(Errc::exhausted, "too many punching sessions");
  auto hmac = export_probe_key(connection, id);
  if (!hmac) return fail(hmac.error());

  auto session = std::make_unique<Session>(tunnel, std::move(*hmac), now);
  path::PunchSession::Config config;
  config.role = role_;
  config.session = id;
  config.policy = local_.policy();
  config.mac = mac_function(session->hmac, random_);
  session->punch.emplace(std::move(config), random_, now);
  timers_.set(*session, session->deadline());
  sessions_.emplace(id, std::move(session));
  of_tunnel_[tunnel] = id;
  sessions_begun_.add();
  live_.set(sessions_.size());
  return {};
}

/// What has come to an end already, and only answers late requests, gives way.
bool Punching::make_room() {
  for (const auto& [id, session] : sessions_) {
    if (is_looking(session->punch->state())) continue;
    erase(wire::SessionId{id});
    return true;
  }
  return false;
}

bool Punching::add_remote(const wire::SessionId& id, std::span<const wire::Candidate> candidates, TimePoint now) {
  auto* session = get(id);
  if (session == nullptr) return false;
  session->punch->add_remote(candidates, now);
  work(*session, now);
  return true;
}

void Punching::add_remembered(const wire::SessionId& id, TimePoint now) {
  const auto tunnel = tunnel_of(id);
  const auto remote = tunnel ? searching_.remembered(*tunnel) : std::nullopt;
  if (!remote) return;
  const wire::Candidate candidate{wire::CandidateKind::peer_reflexive,
                                  path::candidate_priority(wire::CandidateKind::peer_reflexive, 0xFFFF), *remote};
  add_remote(id, std::span{&candidate, 1}, now);
}

bool Punching::start(const wire::SessionId& id, Duration delay, TimePoint now,
                     const std::optional<SocketAddress>& vouched) {
  auto* session = get(id);
  if (session == nullptr) return false;
  if (vouched && !session->vouched) session->vouched = vouched->ip;
  session->punch->start(now + delay);
  work(*session, now);
  return true;
}

std::vector<wire::Candidate> Punching::take_untold(const wire::SessionId& id) {
  auto* session = get(id);
  if (session == nullptr || !is_looking(session->punch->state())) return {};
  auto fresh = path::newly_gathered(session->told, local_.candidates());
  session->told.insert(session->told.end(), fresh.begin(), fresh.end());
  return fresh;
}

void Punching::end_tunnel(const wire::TunnelId& tunnel) {
  if (const auto found = of_tunnel_.find(tunnel); found != of_tunnel_.end()) erase(wire::SessionId{found->second});
}

void Punching::erase(const wire::SessionId& id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  timers_.remove(*found->second);
  of_tunnel_.erase(found->second->tunnel);
  sessions_.erase(found);
  live_.set(sessions_.size());
}

Punching::Session* Punching::get(const wire::SessionId& id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second.get();
}

const path::PunchSession* Punching::find(const wire::SessionId& id) const {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : &*found->second->punch;
}

std::optional<wire::SessionId> Punching::session_of(const wire::TunnelId& tunnel) const {
  const auto found = of_tunnel_.find(tunnel);
  if (found == of_tunnel_.end()) return std::nullopt;
  return found->second;
}

std::optional<wire::TunnelId> Punching::tunnel_of(const wire::SessionId& id) const {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return std::nullopt;
  return found->second->tunnel;
}

std::vector<wire::SessionId> Punching::looking() const {
  std::vector<wire::SessionId> out;
  for (const auto& [id, session] : sessions_) {
    if (is_looking(session->punch->state())) out.push_back(id);
  }
  return out;
}

// -- driving -------------------------------------------------------------------------------------------------------

void Punching::on_probe(SocketId socket, const SocketAddress& from, Bytes payload, TimePoint now) {
  arrivals_.add(arrival(socket, from, payload, now));
}

PunchFate Punching::arrival(SocketId socket, const SocketAddress& from, Bytes payload, TimePoint now) {
  const auto probe = wire::Probe::parse(payload);
  if (!probe) return PunchFate::malformed;
  if (probe->kind == wire::ProbeKind::open_response) return take_nat(from, *probe, now);
  if (!wire::has_mac(probe->kind)) return PunchFate::wrong_kind;
  if (searching_.contains(probe->session)) {
    if (!searching_.admit(probe->session, now) || !checks_.take(now)) return PunchFate::throttled;
    return arrival_of(searching_.receive(socket, from, *probe, now));
  }
  auto* session = get(probe->session);
  if (session == nullptr) return PunchFate::unknown_session;
  if (!session->checks.take(now) || !checks_.take(now)) return PunchFate::throttled;
  const auto fate = session->punch->receive(from, *probe, now);
  if (fate == path::ProbeFate::taken) silent_.proved(from.ip, now);
  work(*session, now);
  return arrival_of(fate);
}

PunchFate Punching::take_nat(const SocketAddress& from, const wire::Probe& probe, TimePoint now) {
  const auto fate = nat_.receive(from, probe, now);
  work_nat(now);
  switch (fate) {
    case path::NatDiscovery::Fate::taken: return PunchFate::nat_discovery;
    case path::NatDiscovery::Fate::wrong_source: return PunchFate::wrong_source;
    case path::NatDiscovery::Fate::wrong_kind: return PunchFate::wrong_kind;
    default: return PunchFate::unknown_transaction;
  }
}

void Punching::on_deadline(TimePoint now) {
  if (nat_.deadline() <= now) work_nat(now);
  if (searching_.deadline() <= now) searching_.on_deadline(now);
  // Each session comes by once: what is due again at the same time waits for the next call.
  for (auto left = sessions_.size(); left > 0 && timers_.earliest() <= now; --left) work(*timers_.top(), now);
}

void Punching::work(Session& session, TimePoint now) {
  send(session.punch->poll(now), now, session.vouched);
  const auto id = session.punch->id();
  const auto tunnel = session.tunnel;
  const auto state = session.punch->state();
  const bool never_began = state == path::PunchSession::State::waiting && now >= session.begun + kUnstarted;
  if (state == path::PunchSession::State::ended || never_began) {
    erase(id);
    return;
  }
  timers_.set(session, session.deadline());
  if (!session.punch->take_change()) return;
  if (state == path::PunchSession::State::failed) {
    sessions_failed_.add();
    owner_.on_not_punched(id, tunnel, *session.punch);
  } else if (session.punch->selected()) {
    if (!std::exchange(session.counted, true)) sessions_punched_.add();
    owner_.on_punched(id, tunnel, *session.punch);
  }
}

void Punching::send(const std::vector<path::Outgoing>& probes, TimePoint now, const std::optional<IpAddress>& vouched) {
  for (const auto& probe : probes) {
    if (probe.request && probe.to.ip != vouched && !silent_.take(probe.to.ip, now)) {
      probes_withheld_.add();
      continue;
    }
    udp_.send(probe.to, probe.octets, probe.octets.size());
    probes_sent_.add();
  }
}

}  // namespace ztna::tunnel
