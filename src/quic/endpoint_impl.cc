#include "quic/endpoint_impl.h"

#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>
#include <cstring>

namespace ztna::quic {
namespace {

/// Of stateless resets. Many clients may share an address (carrier-grade NAT), and all need one at once when a server
/// has restarted.
constexpr SourceBuckets::Limits kResetsOfASource{.per_second = 16, .burst = 64, .max_sources = 4096};

}  // namespace

std::string_view to_string(PacketFate fate) {
  switch (fate) {
    case PacketFate::to_connection: return "to_connection";
    case PacketFate::accepted: return "accepted";
    case PacketFate::retry_sent: return "retry_sent";
    case PacketFate::version_negotiation_sent: return "version_negotiation_sent";
    case PacketFate::stateless_reset_sent: return "stateless_reset_sent";
    case PacketFate::bad_token: return "bad_token";
    case PacketFate::not_welcome: return "not_welcome";
    case PacketFate::unknown_connection: return "unknown_connection";
    case PacketFate::malformed: return "malformed";
    case PacketFate::foreign_worker: return "foreign_worker";
    case PacketFate::count_: break;
  }
  return "unknown";
}

std::unique_ptr<Endpoint> Endpoint::create(EndpointOptions options, Random& random, Acceptor* acceptor) {
  return std::make_unique<EndpointImpl>(options, random, acceptor);
}

std::size_t EndpointImpl::TokenHash::operator()(const ResetToken& token) const {
  // Keyed, so that a stranger cannot learn tokens from the time that a look-up takes (RFC 9000 10.3.1).
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  std::memcpy(&a, token.data(), 8);
  std::memcpy(&b, token.data() + 8, 8);
  std::uint64_t x = (a ^ key) * 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 32U) ^ b ^ (key >> 7U)) * 0xD6E8FEB86659FD93U;
  return x ^ (x >> 29U);
}

EndpointImpl::EndpointImpl(EndpointOptions options, Random& random, Acceptor* acceptor)
    : options_(options),
      random_(random),
      acceptor_(acceptor),
      by_peer_token_(16, TokenHash{random.u64()}),
      resets_by_source_(kResetsOfASource) {
  options_.workers = std::max<std::uint8_t>(options_.workers, 1);
}

EndpointImpl::~EndpointImpl() {
  // Connections refer to us while they die.
  for (auto& [raw, connection] : connections_) connection.reset();
}

Result<Connection*> EndpointImpl::connect(const ConnectOptions& options, const Path& path, ConnectionHandler& handler,
                                          TimePoint now) {
  if (!options.tls) return fail(Errc::invalid_argument, "no TLS context");
  auto tls = std::dynamic_pointer_cast<const TlsContextImpl>(options.tls);
  if (!tls || tls->side() != Side::client) return fail(Errc::invalid_argument, "not a client's TLS context");
  if (options.check_name && options.server_name.empty()) return fail(Errc::invalid_argument, "no server name to check");
  auto& connection = adopt(std::make_unique<ConnectionImpl>(static_cast<ConnectionOwner&>(*this), false, path));
  ConnectionImpl::Start start;
  start.tls = std::move(tls);
  start.transport = options.transport;
  start.now = now;
  start.server_name = options.server_name;
  start.check_name = options.check_name;
  start.session = options.session;
  start.token = options.token;
  if (auto ok = connection.start(start, handler); !ok) {
    drop(connection);
    return fail(ok.error());
  }
  return &connection;
}

void EndpointImpl::flush(TimePoint now, PacketSink& out) {
  constexpr int kRounds = 16;  // quanta of one connection before packets are read again
  last_flush_ = now;
  unfinished_ = false;
  // Handlers may touch any connection meanwhile, so the list grows while it is worked through.
  for (int round = 0; round < kRounds && !dirty_.empty() && (round == 0 || out.writable()); ++round) {
    turn_.swap(dirty_);
    for (auto* connection : turn_) {
      connection->dirty = false;
      if (!connection->flushing) {
        connection->flushing = true;
        flushing_.push_back(connection);
      }
      if (connection->send(now, out, batch_)) touched(*connection);
    }
    turn_.clear();
  }
  batch_.flush(out);
  unfinished_ = !dirty_.empty() && out.writable();
  if (!out.writable()) {  // what was held back leaves when the caller flushes again
    for (auto* connection : flushing_) touched(*connection);
  }
  for (auto* connection : flushing_) {
    connection->flushing = false;
    connection->end_flush();
    if (connection->phase() == ConnectionImpl::Phase::gone) {
      drop(*connection);
    } else {
      deadlines_.set(*connection, connection->deadline());
    }
  }
  flushing_.clear();
}

TimePoint EndpointImpl::deadline() const {
  return unfinished_ ? std::min(last_flush_, deadlines_.earliest()) : deadlines_.earliest();
}

void EndpointImpl::on_deadline(TimePoint now) {
  while (deadlines_.earliest() <= now) {
    auto* connection = deadlines_.top();
    deadlines_.remove(*connection);  // flush() sets it again
    connection->on_deadline(now);
    touched(*connection);
  }
}

ConnectionImpl& EndpointImpl::adopt(std::unique_ptr<ConnectionImpl> connection) {
  auto& ref = *connection;
  connections_.emplace(&ref, std::move(connection));
  if (ref.handshaking()) ++handshakes_;
  return ref;
}

void EndpointImpl::drop(ConnectionImpl& connection) {
  if (connection.handshaking()) --handshakes_;
  for (const auto& cid : connection.cids()) remove_cid(cid, connection);
  for (const auto& token : connection.peer_tokens()) remove_peer_token(token, connection);
  deadlines_.remove(connection);
  if (connection.dirty) std::erase(dirty_, &connection);
  connections_.erase(&connection);
}

void EndpointImpl::touched(ConnectionImpl& connection) {
  if (connection.dirty) return;
  connection.dirty = true;
  dirty_.push_back(&connection);
}

void EndpointImpl::handshake_over(ConnectionImpl&) { --handshakes_; }

Cid EndpointImpl::random_cid() {
  auto octets = random_.array<kCidLength>();
  octets[0] = options_.worker;
  return Cid{octets};
}

Cid EndpointImpl::new_cid(ConnectionImpl& connection) {
  for (;;) {
    const auto cid = random_cid();
    if (by_cid_.emplace(cid, &connection).second) return cid;
  }
}

void EndpointImpl::add_cid(const Cid& cid, ConnectionImpl& connection) { by_cid_.emplace(cid, &connection); }

void EndpointImpl::remove_cid(const Cid& cid, ConnectionImpl& connection) {
  if (const auto it = by_cid_.find(cid); it != by_cid_.end() && it->second == &connection) by_cid_.erase(it);
}

ResetToken EndpointImpl::reset_token(const Cid& cid) {
  ResetToken token{};
  const auto id = to_ngtcp2(cid);
  ngtcp2_crypto_generate_stateless_reset_token(token.data(), options_.reset_secret.data(), options_.reset_secret.size(),
                                               &id);
  return token;
}

void EndpointImpl::add_peer_token(const ResetToken& token, ConnectionImpl& connection) {
  by_peer_token_.emplace(token, &connection);
}

void EndpointImpl::remove_peer_token(const ResetToken& token, ConnectionImpl& connection) {
  if (const auto it = by_peer_token_.find(token); it != by_peer_token_.end() && it->second == &connection)
    by_peer_token_.erase(it);
}

ByteVector EndpointImpl::new_token(const SocketAddress& remote, TimePoint now) {
  ngtcp2_path_storage storage;
  to_storage(Path{remote, remote}, storage);
  ByteVector token(NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN);
  const auto n =
      ngtcp2_crypto_generate_regular_token(token.data(), options_.token_secret.data(), options_.token_secret.size(),
                                           storage.path.remote.addr, storage.path.remote.addrlen, to_ts(now));
  if (n <= 0) return {};
  token.resize(static_cast<std::size_t>(n));
  return token;
}

bool EndpointImpl::Budget::take(TimePoint now, double per_second, double burst) {
  if (last == TimePoint{}) left = burst;
  const auto elapsed = std::chrono::duration<double>(now - last).count();
  if (elapsed > 0) left = std::min(burst, left + elapsed * per_second);
  last = now;
  if (left < 1) return false;
  left -= 1;
  return true;
}

}  // namespace ztna::quic
