// One client's control connection at the Intermediate, from its handshake to its end (docs/protocol.md 3).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/counters.h"
#include "base/time.h"
#include "identity/identity.h"
#include "intermediate/registry.h"
#include "quic/connection.h"
#include "tunnel/control_stream.h"

namespace ztna::intermediate {

/// Why control connections end or are refused; one increment a connection.
enum class SessionEnd : std::uint8_t {
  identity_refused,  // chain was good, the identity is not
  handshake_failed,
  protocol_violation,
  unsupported_version,
  replaced,
  certificate_expired,
  idle,
  closed_by_client,
  drained,
  other,
  count_
};
std::string_view to_string(SessionEnd end);

struct SessionCounters {
  Counter active;  // gauge: established control connections
  CounterSet<SessionEnd> ends;
  CounterSet<identity::IdentityFault> identity_faults;
  Counter skipped_messages;
};

/// What a session needs from its worker.
class SessionOwner {
 public:
  virtual ~SessionOwner() = default;
  virtual Registry& registry() = 0;
  virtual SessionCounters& session_counters() = 0;
  /// Carries out what the registry asked for, on whichever worker it is.
  virtual void perform(Actions actions) = 0;
  virtual TimePoint now() const = 0;
  virtual WallTime wall_now() const = 0;
  virtual const std::string& software() const = 0;
  virtual const wire::InstanceId& instance() const = 0;
};

class ControlSession final : public quic::ConnectionHandler {
 public:
  static constexpr Duration kHelloTimeout = 5s;

  ControlSession(SessionOwner& owner, quic::Connection& connection, SessionRef ref)
      : owner_(owner), connection_(&connection), ref_(ref), begun_(owner.now()) {}

  SessionRef ref() const { return ref_; }
  bool closed() const { return closed_; }
  void send(const wire::ControlMessage& message);
  void close(wire::CloseCode code, std::string_view why);
  /// About once a second: a client that does not say Hello, a certificate that has ended.
  void tick();

  // quic::ConnectionHandler
  Result<void> verify_peer(Bytes leaf_der) override;
  void on_established() override;
  void on_closed(const quic::CloseReason& reason) override;
  void on_stream_opened(quic::StreamId id) override;
  void on_stream_data(quic::StreamId id, Bytes octets, bool fin) override;
  void on_stream_reset(quic::StreamId id, std::uint64_t code) override;
  void on_path_changed(const quic::Path& path) override;

 private:
  bool take(const wire::ControlMessage& message);
  void observe();

  SessionOwner& owner_;
  quic::Connection* connection_;  // null once closed
  SessionRef ref_;
  TimePoint begun_;
  std::optional<identity::Identity> identity_;
  std::optional<tunnel::ControlStream> stream_;
  bool established_ = false;
  bool hello_seen_ = false;
  bool closed_ = false;
  SessionEnd end_ = SessionEnd::other;
};

}  // namespace ztna::intermediate
