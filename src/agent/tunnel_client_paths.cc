// A tunnel's paths: its routes through the relay, its connection ids, and whether anything still comes.
#include <algorithm>

#include "agent/tunnel_client.h"
#include "base/log.h"

namespace ztna::agent {
namespace {

constexpr std::uint64_t kPacket = 1200;  // RFC 9000 14: what every path carries

}  // namespace

Result<void> TunnelClient::take_route(const tunnel::RelayLeg& leg) {
  if (connection_ == nullptr) return fail(Errc::closed, "tunnel is over");
  const auto path = context_.hub.relay().open(leg);
  if (!relayed()) {  // kept warm, for go_relay()
    for (const auto& replaced : {route_, old_route_}) {
      if (replaced && *replaced != leg.route) context_.hub.relay().close(*replaced);
    }
    old_route_.reset();
    old_route_ends_ = kNever;
    route_ = leg.route;
    return {};
  }
  if (auto moved = connection_->migrate(path, quic::Migration::immediate, context_.now); !moved) {
    context_.hub.relay().close(leg.route);
    return moved;
  }
  if (old_route_ && *old_route_ != leg.route) context_.hub.relay().close(*old_route_);
  old_route_ = route_ != leg.route ? route_ : std::nullopt;
  old_route_ends_ = old_route_ ? context_.now + kOldRouteLife : kNever;
  route_ = leg.route;
  moved_to_relay();
  return {};
}

void TunnelClient::moved_to_relay() {
  validating_ = false;
  begin_rotation();
  silent_since_ = kNever;
  look_at_ = kNever;
  probe();  // what was in flight no longer counts: silence here shows only if something waits here
}

std::optional<Duration> TunnelClient::rtt() const {
  const auto measured = connection_ == nullptr ? Duration{} : connection_->liveness().rtt;
  return measured == Duration{} ? std::nullopt : std::optional{measured};
}

Result<void> TunnelClient::go_direct(const SocketAddress& remote) {
  if (connection_ == nullptr) return fail(Errc::closed, "tunnel is over");
  if (relayed()) relay_rtt_ = connection_->stats().smoothed_rtt;
  const auto path = tunnel::Hub::direct_path(remote, connection_->path());
  auto moved = connection_->migrate(path, quic::Migration::validate_first, context_.now);
  validating_ = moved.has_value();
  return moved;
}

void TunnelClient::on_path_validated(const quic::Path&, bool ok) {
  validating_ = false;
  owner_.on_path_validated(*this, ok);
}

Result<void> TunnelClient::go_relay() {
  if (auto moved = renew_relay(); !moved) return moved;
  renewals_ = 0;
  received_before_ = connection_->stats().packets_received;
  renew_at_ = context_.now + std::max<Duration>(2 * relay_rtt_, kMinRelaySilence);
  return {};
}

Result<void> TunnelClient::renew_relay() {
  if (connection_ == nullptr) return fail(Errc::closed, "tunnel is over");
  auto& relay = context_.hub.relay();
  const auto path = route_ ? relay.renew(*route_) : std::nullopt;
  if (!path) return fail(Errc::not_found, "no route is open");
  if (auto moved = connection_->migrate(*path, quic::Migration::immediate, context_.now); !moved) {
    if (route_) relay.take_back(*route_);
    return moved;
  }
  moved_to_relay();
  return {};
}

/// Without it what was lost there waits for a retransmission timer that knows no round trip of this path yet.
void TunnelClient::renew_silent_relay() {
  renew_at_ = kNever;
  if (connection_ == nullptr || !relayed() || validating_ || renewals_ >= kRelayRenewals) return;
  const auto seen = connection_->stats();
  if (seen.packets_received != received_before_ || seen.bytes_in_flight == 0) return;
  ++renewals_;
  if (try_to_renew_relay()) renew_at_ = context_.now + 2 * std::max<Duration>(2 * relay_rtt_, kMinRelaySilence);
}

void TunnelClient::seen_elsewhere() {
  elsewhere_at_ = context_.now;
  if (connection_ != nullptr && context_.now >= path::doubtful_from(tunnel::path_sample(*connection_))) begin_anew();
}

void TunnelClient::begin_anew() {
  if (!relayed() || validating_) return;
  const auto seen = connection_->stats();
  if (seen.bytes_in_flight + kPacket <= seen.congestion_window || !try_to_renew_relay()) return;
  if (renew_at_ != kNever) renew_at_ = context_.now + 2 * std::max<Duration>(2 * relay_rtt_, kMinRelaySilence);
}

bool TunnelClient::try_to_renew_relay() {
  const auto moved = renew_relay();
  if (!moved) log::debug("relay path is not renewed", {{"connector", connector_}, {"why", moved.error().text}});
  return moved.has_value();
}

void TunnelClient::ping() {
  if (connection_ == nullptr || (sessions_.empty() && context_.now - last_used_ > kUnused)) return;
  connection_->ping();
}

Result<void> TunnelClient::change_connection_id() {
  if (connection_ == nullptr) return fail(Errc::closed, "tunnel is over");
  auto& relay = context_.hub.relay();
  const bool over_relay = relayed();
  auto to = tunnel::Hub::direct_path(connection_->path().remote, connection_->path());
  if (over_relay) {
    const auto renewed = route_ ? relay.renew(*route_) : std::nullopt;
    if (!renewed) return fail(Errc::not_found, "the route is closed");
    to = *renewed;
  }
  if (auto moved = connection_->migrate(to, quic::Migration::immediate, context_.now); !moved) {
    if (over_relay && route_) relay.take_back(*route_);
    return moved;
  }
  begin_rotation();
  return {};
}

void TunnelClient::begin_rotation() {
  used_ = false;
  rotate_from_ = context_.now + kRotateAfter;
  rotate_by_ = context_.now + kLatestRotation;
}

TimePoint TunnelClient::rotation_due() const {
  if (!used_ || validating_ || !ready()) return kNever;
  return std::min(std::max(rotate_from_, last_used_ + kQuiet), rotate_by_);
}

void TunnelClient::rotate() {
  const auto now = context_.now;
  if (now < rotate_by_ && connection_->stats().bytes_in_flight != 0) {
    last_used_ = now;  // not quiet: looks again after kQuiet
    return;
  }
  if (auto changed = change_connection_id(); !changed) {
    log::debug("connection id cannot be changed now", {{"connector", connector_}, {"why", changed.error().text}});
    rotate_from_ = rotate_by_ = now + kRotateAgain;
  }
}

void TunnelClient::watch() {
  if (look_at_ != kNever || connection_ == nullptr || !hello_seen_) return;
  const auto now_stats = connection_->stats();
  received_then_ = now_stats.packets_received;
  look_at_ = context_.now + std::max<Duration>(2 * now_stats.smoothed_rtt, kMinSilence);
}

/// A tunnel that only brings something has nothing that waits for an answer, so a dead relay looks like a user with
/// nothing more to say. A packet that must be acknowledged tells.
void TunnelClient::ask() {
  const auto quiet_at = last_used_ + kAskAfter;
  ask_at_ = quiet_at > context_.now ? quiet_at : kNever;
  if (ask_at_ == kNever) probe();
}

void TunnelClient::probe() {
  if (connection_ == nullptr || !ready()) return;
  connection_->ping();
  watch();
}

bool TunnelClient::take_doubt() {
  if (!ready()) return false;
  const auto sample = tunnel::path_sample(*connection_);
  if (!doubt_.take(sample, context_.now)) return false;
  if (elsewhere_at_ >= std::max(sample.waiting_since, sample.heard)) begin_anew();
  return true;
}

Duration TunnelClient::silence() const {
  return silent_since_ == kNever || closed_ ? Duration{} : context_.now - silent_since_;
}

void TunnelClient::look() {
  const auto now = context_.now;
  const auto seen = connection_->stats();
  const auto wait = std::max<Duration>(2 * seen.smoothed_rtt, kMinSilence);
  if (seen.bytes_in_flight == 0) {
    look_at_ = silent_since_ = kNever;
    return;
  }
  if (seen.packets_received != received_then_) {
    silent_since_ = kNever;
  } else if (silent_since_ == kNever) {
    silent_since_ = now - wait;
  }
  received_then_ = seen.packets_received;
  look_at_ = now + wait;
}

}  // namespace ztna::agent
