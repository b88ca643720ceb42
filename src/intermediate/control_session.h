// One client's control connection at the Intermediate, from its handshake to its end (docs/protocol.md 3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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
  limit,  // too many requests, or takes no answers
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
  /// Calls the registry and sees to what it asks for, on whichever worker that is: later, and in the order of the
  /// registry's calls. Error: the registry's.
  virtual Result<void> ask(const std::function<Result<Actions>(Registry&)>& call) = 0;
  virtual SessionCounters& session_counters() = 0;
  /// The handshake from `source` has ended, well or not.
  virtual void handshake_over(const IpAddress& source) = 0;
  virtual TimePoint now() const = 0;
  virtual WallTime wall_now() const = 0;
  virtual const std::string& software() const = 0;
  virtual const wire::InstanceId& instance() const = 0;
  /// Second port for keyless probes; 0: there is none.
  virtual std::uint16_t probe_port() const = 0;
};

class ControlSession final : public quic::ConnectionHandler {
 public:
  static constexpr Duration kHelloTimeout = 5s;
  /// What may wait for a client's stream credit, besides one Catalog.
  static constexpr std::size_t kMaxUnsent = 1U << 20U;
  /// Requests at once, and each second: far above what an Agent with all services or a Connector has to say.
  static constexpr std::int64_t kRequestBurst = 1000;
  static constexpr std::int64_t kRequestsPerSecond = 200;

  ControlSession(SessionOwner& owner, quic::Connection& connection, SessionRef ref)
      : owner_(owner), connection_(&connection), ref_(ref), source_(connection.path().remote.ip), begun_(owner.now()) {}

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
  bool within_rate(const wire::ControlMessage& message);

  SessionOwner& owner_;
  quic::Connection* connection_;  // null once closed
  SessionRef ref_;
  IpAddress source_;  // where the handshake came from
  TimePoint begun_;
  TimePoint requests_paid_until_{};  // GCRA
  std::size_t catalog_octets_ = 0;   // of the last one
  std::optional<identity::Identity> identity_;
  std::optional<tunnel::ControlStream> stream_;
  bool established_ = false;
  bool hello_seen_ = false;
  bool closed_ = false;
  SessionEnd end_ = SessionEnd::other;
};

}  // namespace ztna::intermediate
