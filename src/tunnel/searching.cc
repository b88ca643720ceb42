#include "tunnel/searching.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/rate.h"
#include "quic/hmac.h"
#include "tunnel/probe_key.h"

namespace ztna::tunnel {

using State = path::BirthdaySearch::State;

std::string_view to_string(SearchEnd end) {
  switch (end) {
    case SearchEnd::found: return "found";
    case SearchEnd::failed: return "failed";
    case SearchEnd::off: return "off";
    case SearchEnd::off_at_peer: return "off_at_peer";
    case SearchEnd::paused: return "paused";
    case SearchEnd::limit: return "limit";
    case SearchEnd::no_sockets: return "no_sockets";
    case SearchEnd::bad_address: return "bad_address";
    case SearchEnd::no_ipv4: return "no_ipv4";
    case SearchEnd::not_signaled: return "not_signaled";
    case SearchEnd::given_up: return "given_up";
    case SearchEnd::count_: break;
  }
  return "unknown";
}

struct Searching::Search {
  Search(const wire::SessionId& i, const wire::TunnelId& t, quic::HmacSha256 h, TimePoint now)
      : id(i), tunnel(t), hmac(std::move(h)), begun(now) {}

  wire::SessionId id;
  wire::TunnelId tunnel;
  quic::HmacSha256 hmac;
  TimePoint begun;
  TimePoint start_at = kNever;                 // StartPunching has come
  std::optional<path::BirthdaySearch> search;  // then
  std::vector<SocketId> sockets;               // that the search names 1, 2, ...; kMainSocket: closed since
  bool kept = false;                           // what it has chosen is in kept_
  unsigned counted = 0;                        // of search->sent()
  Rate checks{kChecksPerSecond, kChecksPerSecond};

  bool waits() const { return !search || search->state() == State::waiting; }
  bool looks() const { return waits() || search->state() == State::searching; }
  TimePoint deadline() const {
    if (!search) return begun + kUnstarted;
    return search->state() == State::waiting ? start_at : search->deadline();
  }
};

Searching::Searching(wire::Role role, UdpPort& udp, SideSockets* side, Random& random, SearchingOwner& owner)
    : role_(role), udp_(udp), side_(side), random_(random), owner_(owner) {}

Searching::~Searching() = default;

// -- begin and end -------------------------------------------------------------------------------------------------

Result<void> Searching::begin(const wire::SessionId& id, const wire::TunnelId& tunnel, quic::Connection& connection,
                              TimePoint now) {
  if (searches_.contains(id)) return fail(Errc::conflict, "session id is in use");
  std::erase_if(searches_, [&](const auto& entry) {
    if (entry.second->tunnel != tunnel) return false;
    close_others(*entry.second);
    return true;
  });
  if (kept_.size() >= kMaxKept || (searches_.size() >= kMaxSearches && !make_room()))
    return fail(Errc::exhausted, "too many birthday searches");
  auto hmac = export_probe_key(connection, id);
  if (!hmac) return fail(hmac.error());
  searches_.emplace(id, std::make_unique<Search>(id, tunnel, std::move(*hmac), now));
  return {};
}

/// What has come to an end already, and only answers late requests, gives way.
bool Searching::make_room() {
  const auto done = std::ranges::find_if(searches_, [](const auto& entry) { return !entry.second->looks(); });
  if (done == searches_.end()) return false;
  erase(wire::SessionId{done->first});
  return true;
}

bool Searching::start(const wire::SessionId& id, path::BirthdaySide side, const SocketAddress& peer, Duration delay,
                      TimePoint now) {
  const auto found = searches_.find(id);
  if (found == searches_.end() || found->second->search) return false;
  auto& s = *found->second;
  path::BirthdaySearch::Config config;
  config.role = role_;
  config.side = side;
  config.session = id;
  config.mac = mac_function(s.hmac, random_);
  config.peer = peer;
  s.search.emplace(std::move(config), random_);
  s.start_at = now + delay;
  begun_.add();
  const auto wanted = s.search->sockets_wanted();
  if (wanted != 0 && side_ != nullptr) s.sockets = side_->open_side(wanted);
  sockets_.add(s.sockets.size());
  sockets_missing_.add(wanted - s.sockets.size());
  log::info(
      "birthday search",
      {{"side", path::to_string(side)}, {"peer", to_string(peer)}, {"sockets", s.sockets.size()}, {"wanted", wanted}});
  if (wanted != 0 && s.sockets.empty()) {
    lose(s, SearchEnd::no_sockets);
    erase(id);
    return true;
  }
  if (s.start_at <= now) work(s, now);
  return true;
}

void Searching::end(const wire::SessionId& id) { erase(id); }

void Searching::end_tunnel(const wire::TunnelId& tunnel) {
  const auto of_it = [&](const auto& entry) { return entry.second->tunnel == tunnel; };
  if (const auto found = std::ranges::find_if(searches_, of_it); found != searches_.end())
    erase(wire::SessionId{found->first});
  forget(tunnel);
}

void Searching::forget(const wire::TunnelId& tunnel) {
  remembered_.erase(tunnel);
  give_up_kept(tunnel, Which::all);
}

void Searching::give_up_kept(const wire::TunnelId& tunnel, Which which) {
  for (auto it = kept_.begin(); it != kept_.end();) {
    auto& kept = it->second;
    const bool meant = which == Which::all || kept.moved;
    const bool last = meant && kept.tunnels.erase(tunnel) != 0 && kept.tunnels.empty();
    if (last) close(kept.socket);
    it = last ? kept_.erase(it) : std::next(it);
  }
}

void Searching::erase(const wire::SessionId& id) {
  const auto found = searches_.find(id);
  if (found == searches_.end()) return;
  close_others(*found->second);
  searches_.erase(found);
}

void Searching::lose(Search& s, SearchEnd why) {
  ends_.add(why);
  owner_.on_search_failed(wire::SessionId{s.id}, wire::TunnelId{s.tunnel}, why);
}

bool Searching::looking(const wire::SessionId& id) const {
  const auto found = searches_.find(id);
  return found != searches_.end() && found->second->looks();
}

// -- sockets ---------------------------------------------------------------------------------------------------------

void Searching::use(const wire::TunnelId& tunnel, const SocketAddress& remote) {
  if (const auto found = kept_.find(remote); found != kept_.end()) found->second.tunnels.insert(tunnel);
  if (const auto found = remembered_.find(tunnel); found != remembered_.end()) found->second.failed = 0;
}

void Searching::left(const wire::TunnelId& tunnel) {
  const auto found = remembered_.find(tunnel);
  if (found != remembered_.end() && found->second.moved) remembered_.erase(found);
  give_up_kept(tunnel, Which::moved);
}

void Searching::not_punched(const wire::TunnelId& tunnel) {
  const auto found = remembered_.find(tunnel);
  if (found != remembered_.end() && ++found->second.failed >= kPatience) forget(tunnel);
}

void Searching::network_changed(const std::function<bool(const wire::TunnelId&)>& in_use) {
  std::set<wire::TunnelId> tunnels;
  for (auto& [tunnel, memory] : remembered_) {
    memory.moved = true;
    tunnels.insert(tunnel);
  }
  for (auto& [remote, kept] : kept_) {
    kept.moved = true;
    tunnels.insert(kept.tunnels.begin(), kept.tunnels.end());
  }
  for (const auto& tunnel : tunnels) {
    if (!in_use(tunnel)) forget(tunnel);
  }
}

std::optional<SocketAddress> Searching::remembered(const wire::TunnelId& tunnel) const {
  const auto found = remembered_.find(tunnel);
  if (found == remembered_.end()) return std::nullopt;
  return found->second.remote;
}

void Searching::close(SocketId socket) {
  if (socket == kMainSocket || side_ == nullptr) return;
  side_->close_side(socket);
  sockets_.sub();
}

/// What goes to the peer leaves by the chosen socket from now on. An older one for the same address leads nowhere any
/// more, or the peer would have been reached by it.
void Searching::keep_chosen(Search& s) {
  const auto& chosen = s.search->chosen();
  if (s.kept || !chosen || chosen->socket > s.sockets.size()) return;
  s.kept = true;
  give_up_kept(s.tunnel, Which::all);  // one a tunnel; it would not search if the last one led anywhere
  if (chosen->socket == 0) {           // the main one: its port was hit
    if (const auto older = kept_.find(chosen->remote); older != kept_.end()) {
      close(older->second.socket);
      kept_.erase(older);
    }
    return;
  }
  const auto socket = std::exchange(s.sockets[chosen->socket - 1], kMainSocket);
  auto& kept = kept_[chosen->remote];
  close(std::exchange(kept.socket, socket));
  kept.moved = false;
  kept.tunnels.insert(s.tunnel);
  side_->route(socket, chosen->remote);
}

void Searching::close_others(Search& s) {
  for (const auto socket : std::exchange(s.sockets, {})) close(socket);
}

// -- probes ----------------------------------------------------------------------------------------------------------

bool Searching::admit(const wire::SessionId& id, TimePoint now) {
  const auto found = searches_.find(id);
  return found != searches_.end() && found->second->checks.take(now);
}

path::ProbeFate Searching::receive(SocketId socket, const SocketAddress& from, const wire::Probe& probe,
                                   TimePoint now) {
  const auto found = searches_.find(probe.session);
  if (found == searches_.end()) return path::ProbeFate::wrong_session;
  auto& s = *found->second;
  if (s.waits()) return path::ProbeFate::ended;  // the peer began earlier: it goes on
  unsigned number = 0;                           // as the search counts sockets
  if (socket != kMainSocket) {
    const auto& chosen = s.search->chosen();
    const auto kept = chosen ? kept_.find(chosen->remote) : kept_.end();
    const auto at = std::ranges::find(s.sockets, socket);
    if (s.kept && kept != kept_.end() && kept->second.socket == socket) {
      number = chosen->socket;
    } else if (at != s.sockets.end()) {
      number = static_cast<unsigned>(at - s.sockets.begin()) + 1;
    } else {
      return path::ProbeFate::ended;  // a socket of another search
    }
  }
  const auto fate = s.search->receive(number, from, probe, now);
  work(s, now);
  return fate;
}

TimePoint Searching::deadline() const {
  auto first = kNever;
  for (const auto& [id, s] : searches_) first = std::min(first, s->deadline());
  return first;
}

void Searching::on_deadline(TimePoint now) {
  std::vector<wire::SessionId> due;  // the owner may begin and end searches meanwhile
  for (const auto& [id, s] : searches_) {
    if (s->deadline() <= now) due.push_back(id);
  }
  for (const auto& id : due) {
    if (const auto found = searches_.find(id); found != searches_.end()) work(*found->second, now);
  }
}

void Searching::work(Search& s, TimePoint now) {
  const auto id = s.id;
  if (!s.search) {
    if (now < s.begun + kUnstarted) return;
    lose(s, SearchEnd::not_signaled);
    erase(id);
    return;
  }
  if (s.search->state() == State::waiting && now >= s.start_at)
    s.search->start(static_cast<unsigned>(s.sockets.size()), now);
  keep_chosen(s);
  send(s, now);
  if (!s.search->take_change()) return;
  switch (s.search->state()) {
    case State::found: {
      close_others(s);
      const auto found = *s.search->found();
      remembered_[s.tunnel] = {found.remote};
      ends_.add(SearchEnd::found);
      return owner_.on_search_found(id, wire::TunnelId{s.tunnel}, found);
    }
    case State::failed: close_others(s); return lose(s, SearchEnd::failed);
    case State::ended:
      if (!s.search->found()) forget(s.tunnel);  // a request came in, and nothing after it
      return erase(id);
    case State::waiting:
    case State::searching: return;
  }
}

void Searching::send(Search& s, TimePoint now) {
  for (const auto& probe : s.search->poll(now)) {
    if (probe.socket == 0 || (s.kept && s.search->chosen()->socket == probe.socket)) {
      udp_.send(probe.to, probe.octets, probe.octets.size());  // also by the chosen socket: it is routed
    } else if (probe.socket <= s.sockets.size() && side_ != nullptr) {
      side_->send_from(s.sockets[probe.socket - 1], probe.to, probe.octets);
    }
  }
  requests_sent_.add(s.search->sent() - std::exchange(s.counted, s.search->sent()));
}

}  // namespace ztna::tunnel
