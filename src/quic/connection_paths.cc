#include <algorithm>

#include "quic/connection_impl.h"

namespace ztna::quic {

Result<void> ConnectionImpl::migrate(const Path& to, Migration how, TimePoint now) {
  if (closed()) return fail(Errc::closed, "connection is closed");
  if (server_) return fail(Errc::invalid_argument, "only a client migrates");
  if (phase_ != Phase::established) return fail(Errc::invalid_argument, "handshake is not confirmed");
  if (to.local == path_.local)
    return fail(Errc::invalid_argument, "the new path needs another local address than {}", to_string(path_.local));
  advance(now);
  if (in_library_) {
    defer([this, to, how] {
      if (!migrate_now(to, how) && how == Migration::validate_first) handler_->on_path_validated(to, false);
    });
    return {};
  }
  auto result = migrate_now(to, how);
  check_path();
  run_deferred();
  return result;
}

Result<void> ConnectionImpl::migrate_now(const Path& to, Migration how) {
  ngtcp2_path_storage storage;
  to_storage(to, storage);
  // A validation that runs is aborted by this one; ngtcp2 says so through its callback while validating_ still names
  // it.
  in_library_ = true;
  const int rv = how == Migration::immediate ? ngtcp2_conn_initiate_immediate_migration(conn_, &storage.path, now_)
                                             : ngtcp2_conn_initiate_migration(conn_, &storage.path, now_);
  in_library_ = false;
  owner_.touched(*this);
  switch (rv) {
    case 0:
      if (how == Migration::validate_first) {
        validating_ = to;
      } else {
        begin_path();
      }
      return {};
    case NGTCP2_ERR_CONN_ID_BLOCKED: return fail(Errc::exhausted, "no unused connection id");
    case NGTCP2_ERR_INVALID_ARGUMENT: return fail(Errc::invalid_argument, "same local address");
    case NGTCP2_ERR_INVALID_STATE: return fail(Errc::invalid_argument, "the peer forbids migration");
    default: fail_with(rv); return fail(Errc::internal, "migration: {}", ngtcp2_strerror(rv));
  }
}

std::optional<Path> ConnectionImpl::real_path(const ngtcp2_path& shown) const {
  if (ngtcp2_path_eq(&shown, &path_raw_.path) != 0) return path_;
  if (!server_) return from_ngtcp2(shown);
  const auto* real = aliases_.real(shown);
  return real == nullptr ? std::nullopt : std::optional{*real};
}

void ConnectionImpl::check_path() {
  const auto* current = ngtcp2_conn_get_path(conn_);
  if (ngtcp2_path_eq(current, &path_raw_.path) != 0) return;
  const auto shown = from_ngtcp2(*current);
  // What an alias stood for may be forgotten (PathAliases::kMax): nothing goes to a made-up address.
  const auto real = real_path(*current).value_or(server_ && phase_ == Phase::established ? path_ : shown);
  const bool anew = shown.remote.ip != from_ngtcp2(path_raw_.path).remote.ip;
  to_storage(shown, path_raw_);
  if (real == path_) {
    if (anew) begin_path();  // PathAliases
    return;
  }
  path_ = real;
  begin_path();
  if (phase_ != Phase::established) {
    if (server_) proved_.assign(1, path_);  // before the handshake is over a client does not move
  } else if (!server_) {
    defer([this, path = path_] { handler_->on_path_changed(path); });
  } else if (std::ranges::find(proved_, path_) != proved_.end()) {
    tell_proved(path_);
  }
}

/// Nothing was acknowledged for a probe timeout that has not backed off (RFC 9002 6.2.1).
bool ConnectionImpl::in_flight_is_late() const {
  const auto since = watch_.seen().waiting_since;
  return since != kNever && phase_ == Phase::established &&
         from_ts(now_) >= since + Duration{ngtcp2_conn_get_pto(conn_)};
}

void ConnectionImpl::begin_path() {
  watch_.begin(from_ts(now_));
  for (auto& [id, stream] : streams_) stream->large_end = 0;
  watch_.in_flight(octets_in_flight(), true, from_ts(now_));
}

std::uint64_t ConnectionImpl::octets_in_flight() const {
  ngtcp2_conn_info info{};
  ngtcp2_conn_get_conn_info(conn_, &info);
  return info.bytes_in_flight;
}

Liveness ConnectionImpl::liveness() const {
  auto out = watch_.seen();
  if (conn_ == nullptr) return out;
  ngtcp2_conn_info info{};
  ngtcp2_conn_get_conn_info(conn_, &info);
  if (info.min_rtt == UINT64_MAX) return out;
  out.rtt = Duration{static_cast<std::int64_t>(info.smoothed_rtt)};
  out.rtt_variation = Duration{static_cast<std::int64_t>(info.rttvar)};
  return out;
}

/// ngtcp2's server sends to a new address before that has answered PATH_CHALLENGE. The handler hears only of what was
/// proved: the Intermediate aims a relay's traffic by it.
void ConnectionImpl::tell_proved(const Path& path) {
  constexpr std::size_t kMaxProved = 4;
  if (proved_.front() == path) return;
  std::erase(proved_, path);
  proved_.insert(proved_.begin(), path);
  if (proved_.size() > kMaxProved) proved_.pop_back();
  defer([this, path] { handler_->on_path_changed(path); });
}

void ConnectionImpl::ping() {
  if (phase_ != Phase::established) return;
  ping_wanted_ = true;
  owner_.touched(*this);
}

}  // namespace ztna::quic
