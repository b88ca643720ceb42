#include "tunnel/control_client.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "tunnel/control_attempt.h"
#include "tunnel/hub.h"
#include "wire/close_code.h"

namespace ztna::tunnel {
namespace {

// The one in use and those dialled beside it: each may take several seconds, and one of each family is dialled at a
// time.
constexpr std::size_t kMaxAttempts = 11;
constexpr std::size_t kMaxTokens = 16;     // a name may have ever new addresses
constexpr Duration kMinSuspicion = 200ms;  // below: jitter and a busy machine
constexpr Duration kMaxSuspicion = 1s;

}  // namespace

ControlClient::ControlClient(ControlClientOptions options, quic::Endpoint& endpoint, Resolver& resolver, Random& random,
                             std::shared_ptr<const quic::TlsContext> tls, ControlClientOwner& owner)
    : options_(std::move(options)),
      endpoint_(endpoint),
      resolver_(resolver),
      random_(random),
      tls_(std::move(tls)),
      owner_(owner),
      backoff_(random),
      alive_(std::make_shared<bool>(true)) {
  if (auto literal = IpAddress::parse(options_.server.host)) addresses_ = {*literal};
}

ControlClient::~ControlClient() {
  stopped_ = true;
  for (auto& attempt : attempts_) attempt->drop(wire::CloseCode::no_error, "");
}

void ControlClient::start(TimePoint now) {
  now_ = now;
  next_dial_ = now;
  on_deadline(now);
}

void ControlClient::stop(std::string_view why) {
  stopped_ = true;
  next_dial_ = suspect_until_ = look_at_ = kNever;
  pending_.clear();
  current_ = nullptr;
  for (auto& attempt : attempts_) attempt->drop(wire::CloseCode::no_error, why);
}

TimePoint ControlClient::deadline() const {
  auto first = std::min({next_dial_, suspect_until_, look_at_});
  for (const auto& heat : pending_) first = std::min(first, heat.at);
  return first;
}

void ControlClient::on_deadline(TimePoint now) {
  now_ = now;
  reap();
  if (stopped_) return;
  if (now >= look_at_) look(now);
  if (now >= suspect_until_) {
    if (current_ == nullptr || current_->packets_received() != received_at_suspicion_) {
      end_suspicion();
    } else {
      suspect_until_ = now + kMinSuspicion;  // an answer that is only late should find us here still
      if (next_dial_ == kNever) next_dial_ = now;
      owner_.on_control_silent();
      if (stopped_) return;
    }
  }
  for (const auto& heat : std::exchange(pending_, {})) {
    if (now < heat.at) {
      pending_.push_back(heat);
    } else {
      connect_to(heat.address, now);
    }
  }
  if (now < next_dial_) return;
  if (std::exchange(pause_first_, false)) {
    next_dial_ = now + backoff_.next(now);
  } else {
    dial(now);
  }
}

/// A restarted Intermediate answers a keep-alive with a stateless reset, if it may: it has a budget for them, and needs
/// the key of the run before. So what stays unanswered over two looks makes us suspicious too.
void ControlClient::look(TimePoint now) {
  look_at_ = kNever;
  if (current_ == nullptr) return;
  look_at_ = now + options_.keep_alive / 2;
  const auto seen = current_->connection()->stats();
  const bool waiting = seen.bytes_in_flight > 0;
  if (waiting && waiting_then_ && seen.packets_received == received_then_) suspect(now);
  waiting_then_ = waiting;
  received_then_ = seen.packets_received;
  if (now >= rotate_at_ && !waiting) rotate(now);
}

/// ngtcp2 takes a new connection id only with a migration, and a migration wants another local address: of that, only
/// the name changes.
void ControlClient::rotate(TimePoint now) {
  rotate_at_ = now + kRotateAfter;
  auto* connection = current_->connection();
  const auto to = Hub::direct_path(connection->path().remote, connection->path());
  if (auto moved = connection->migrate(to, quic::Migration::immediate, now); !moved) {
    log::debug("connection id cannot be changed now", {{"server", options_.server.host}, {"why", moved.error().text}});
  }
}

void ControlClient::end_suspicion() {
  suspect_until_ = kNever;
  if (current_ == nullptr) return;
  if (renewing_) return owner_.on_control_heard();
  next_dial_ = kNever;  // the connection is alive: what was dialled beside it is not needed
  pending_.clear();
  for (auto& attempt : attempts_) {
    if (attempt.get() != current_) attempt->drop(wire::CloseCode::no_error, "not needed");
  }
  owner_.on_control_heard();
}

/// Begins a race over one address of each family; those of earlier ones go on.
void ControlClient::dial(TimePoint now) {
  resolve();
  next_dial_ = now + backoff_.next(now);  // after an answer that came at once
  if (addresses_.empty()) return;
  ++race_;
  pending_.clear();
  if (now >= favourite_until_) favourite_.reset();
  // Trusted once: a race that has to be repeated shows that it is not the better one now.
  for (const auto& heat : plan_race(addresses_, turn_++, std::exchange(favourite_, std::nullopt))) {
    if (heat.after == Duration{}) {
      connect_to(heat.address, now);
    } else {
      pending_.push_back({now + heat.after, heat.address});
    }
  }
}

/// Names are looked up for every race, since they may move; an older answer serves while the resolver is slow.
void ControlClient::resolve() {
  if (resolving_ || IpAddress::parse(options_.server.host)) return;
  resolving_ = true;
  resolver_.resolve(options_.server.host, [this, alive = std::weak_ptr<bool>(alive_)](auto answer) {
    if (alive.expired()) return;
    resolving_ = false;
    if (stopped_) return;
    if (!answer) {
      last_error_ = answer.error().text;
      log::warn("cannot resolve the Intermediate", {{"server", options_.server.host}, {"why", answer.error().text}});
      return;
    }
    const bool first = addresses_.empty();
    addresses_ = std::move(*answer);
    if (first) next_dial_ = TimePoint{};  // at the owner's next look at deadline()
  });
}

void ControlClient::connect_to(const IpAddress& address, TimePoint now) {
  // Only one attempt more than this may be under way: the oldest that is not in use gives way.
  const auto busy = [this](const auto& a) { return a.get() != current_ && !a->closed(); };
  if (static_cast<std::size_t>(std::ranges::count_if(attempts_, busy)) + 1 >= kMaxAttempts) {
    (*std::ranges::find_if(attempts_, busy))->drop(wire::CloseCode::no_error, "took too long");
  }
  const SocketAddress server{address, options_.server.port};
  auto attempt = std::make_unique<ControlAttempt>(*this, server, race_);
  quic::ConnectOptions connect;
  connect.tls = tls_;
  connect.server_name = options_.server.host;
  connect.check_name = options_.check_server_name;
  if (const auto token = tokens_.find(address); token != tokens_.end()) connect.token = token->second;
  connect.session = session_;
  connect.transport.idle_timeout = 30s;
  connect.transport.keep_alive = options_.keep_alive;
  connect.transport.stream_window = 1U << 20U;
  connect.transport.connection_window = 4U << 20U;
  connect.transport.max_peer_streams = 0;
  connect.transport.datagrams = false;
  log::debug("dialling the Intermediate", {{"server", to_string(server)}});
  const auto connection = endpoint_.connect(connect, Hub::direct_path(server), *attempt, now);
  if (!connection) {
    last_error_ = connection.error().text;
    log::warn("cannot dial the Intermediate", {{"server", to_string(server)}, {"why", connection.error().text}});
    return;
  }
  attempt->attach(**connection);
  attempts_.push_back(std::move(attempt));
}

/// The Intermediate ends the older connection of an identity as soon as the newer one says Hello. So of one race only
/// the attempt that is established first may: it is the faster way, and the others end here.
void ControlClient::won(const ControlAttempt& attempt) {
  for (auto& other : attempts_) {
    if (other.get() != &attempt && other->race() == attempt.race()) {
      other->drop(wire::CloseCode::no_error, "another address was faster");
    }
  }
  if (attempt.race() == race_) pending_.clear();
}

void ControlClient::keep_token(const IpAddress& server, Bytes token) {
  if (tokens_.size() >= kMaxTokens && !tokens_.contains(server)) tokens_.clear();
  tokens_[server].assign(token.begin(), token.end());
}

void ControlClient::attempt_ready(ControlAttempt& attempt) {
  const bool again = ever_ready_;
  auto* previous = std::exchange(current_, &attempt);
  if (previous != nullptr) {
    // Dialled beside a connection that had gone deaf, or by renew(): the owner sees a loss and a return.
    owner_.on_control_lost({quic::CloseReason::By::local, true, 0, "replaced by a newer connection"});
  }
  // One that was dialled later and has said Hello goes on: to the Intermediate it is the newest of this identity, which
  // replaces the one that is ready now.
  bool later = false;
  for (auto& other : attempts_) {
    if (other.get() == &attempt) {
      later = true;
    } else if (!later || !other->said_hello()) {
      other->drop(wire::CloseCode::no_error, "superseded");
    }
  }
  ever_ready_ = true;
  renewing_ = false;
  pending_.clear();
  favourite_ = attempt.server().ip.family();
  favourite_until_ = now_ + kRaceMemory;
  probe_port_.reset();
  if (again) reconnections_.add();
  next_dial_ = suspect_until_ = kNever;
  look_at_ = now_;
  rotate_at_ = now_ + kRotateAfter;
  waiting_then_ = false;
  pause_first_ = false;
  backoff_.reset();
  last_error_.clear();
  log::info("connected to the Intermediate", {{"server", to_string(attempt.server())}, {"again", again}});
  owner_.on_control_ready();
}

void ControlClient::attempt_closed(ControlAttempt& attempt, const quic::CloseReason& reason) {
  if (stopped_) return;
  const bool was_current = current_ == &attempt;
  if (reason.by != quic::CloseReason::By::local) last_error_ = to_string(reason);
  if (!was_current) {
    // It won its race and came to nothing: the other family may lead to another server, and gets the first turn.
    if (attempt.said_hello() && current_ == nullptr) {
      favourite_ = attempt.server().ip.is_v4() ? Family::v6 : Family::v4;
      favourite_until_ = now_ + kRaceMemory;
    }
    if (reason.by != quic::CloseReason::By::local) {
      session_.clear();  // perhaps it was the resumption that failed
      log::warn("cannot connect to the Intermediate",
                {{"server", to_string(attempt.server())}, {"why", to_string(reason)}});
    }
    return;
  }
  current_ = nullptr;
  renewing_ = false;
  suspect_until_ = kNever;
  // A stateless reset says that the server is up and has forgotten us: no reason to wait. One that was
  // stopped in order is most likely being started again, and behind its name there may be others.
  const bool drained = reason.by == quic::CloseReason::By::peer && reason.application &&
                       reason.code == static_cast<std::uint64_t>(wire::CloseCode::draining);
  next_dial_ = TimePoint{};  // the owner looks at deadline() after each batch; the pause is reckoned from there
  pause_first_ = !drained && reason.by != quic::CloseReason::By::stateless_reset;
  log::warn("lost the Intermediate", {{"server", to_string(attempt.server())}, {"why", to_string(reason)}});
  owner_.on_control_lost(reason);
}

void ControlClient::reap() {
  std::erase_if(attempts_, [](const auto& attempt) { return attempt->closed(); });
}

bool ControlClient::ready() const { return current_ != nullptr; }

std::optional<SocketAddress> ControlClient::server_address() const {
  if (current_ == nullptr) return std::nullopt;
  return current_->server();
}

quic::Connection* ControlClient::connection() { return current_ == nullptr ? nullptr : current_->connection(); }

Result<void> ControlClient::send(const wire::ControlMessage& message) {
  if (current_ == nullptr) return fail(Errc::closed, "no control connection");
  return current_->send(message);
}

std::optional<SocketAddress> ControlClient::observed(Family family) const {
  return family == Family::v4 ? observed_v4_ : observed_v6_;
}

void ControlClient::suspect(TimePoint now) {
  now_ = now;
  if (stopped_ || current_ == nullptr || suspect_until_ != kNever) return;
  auto* connection = current_->connection();
  received_at_suspicion_ = current_->packets_received();
  suspect_until_ = now + std::clamp(2 * connection->stats().smoothed_rtt, kMinSuspicion, kMaxSuspicion);
  connection->ping();
}

void ControlClient::be_seen() {
  if (!stopped_ && current_ != nullptr) current_->connection()->ping();
}

void ControlClient::renew(TimePoint now) {
  now_ = now;
  if (stopped_) return;
  session_.clear();
  pause_first_ = false;
  pending_.clear();
  for (auto& attempt : attempts_) {  // those were dialled with what is old now
    if (attempt.get() != current_) attempt->drop(wire::CloseCode::no_error, "not needed");
  }
  next_dial_ = now;
  renewing_ = current_ != nullptr;
  if (!renewing_) return;
  ++race_;
  connect_to(current_->server().ip, now);  // the same server, where the name has several
  next_dial_ = now + backoff_.next(now);
}

void ControlClient::network_changed(TimePoint now) {
  now_ = now;
  if (stopped_) return;
  favourite_.reset();  // of a network that is no longer ours
  if (current_ == nullptr) {
    backoff_.reset();
    pause_first_ = false;
    next_dial_ = now;
  } else {
    suspect(now);
  }
}

}  // namespace ztna::tunnel
