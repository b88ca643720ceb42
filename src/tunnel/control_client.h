// The control connection of an Agent or Connector to one Intermediate: dials, says Hello, keeps it alive, notices its
// death, dials again (at once after a stateless reset or a network change, else exponential backoff with jitter).
// Registration and everything else is the owner's: it gets the messages.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/counters.h"
#include "base/random.h"
#include "base/time.h"
#include "quic/endpoint.h"
#include "tunnel/address_race.h"
#include "tunnel/backoff.h"
#include "tunnel/control_stream.h"
#include "tunnel/ports.h"
#include "wire/ids.h"

namespace ztna::tunnel {

struct ControlClientOptions {
  HostPort server;
  std::string software;  // for Hello
  wire::InstanceId instance;
  Duration keep_alive = 10s;
  bool check_server_name = true;  // off only with --no-verify-peer
};

/// What the owner of a control connection is told.
class ControlClientOwner {
 public:
  virtual ~ControlClientOwner() = default;
  /// Whether the Intermediate's leaf certificate is one (role and, with options.check_server_name, the host's name).
  virtual Result<void> verify_intermediate(Bytes leaf_der) = 0;
  /// Hello was exchanged: register now.
  virtual void on_control_ready() = 0;
  /// The connection is gone and will be dialled again.
  virtual void on_control_lost(const quic::CloseReason& reason) = 0;
  /// Nothing came in answer to a PING: it is dialled anew beside the old connection, which still counts.
  virtual void on_control_silent() {}
  /// After on_control_silent(): the old connection is alive.
  virtual void on_control_heard() {}
  /// Each message after Hello, except ProbePort, which comes before the first ObservedAddress. Return false if it makes
  /// no sense here: the connection is then closed as a protocol violation.
  virtual bool on_control_message(const wire::ControlMessage& message) = 0;
};

class ControlAttempt;

class ControlClient {
 public:
  /// The connection's id is changed after so long, at a moment when nothing is in flight: there is one
  /// between any two keep-alives.
  static constexpr Duration kRotateAfter = 5min;

  /// All references must outlive the client. `tls` may be replaced later by set_tls (reload).
  ControlClient(ControlClientOptions options, quic::Endpoint& endpoint, Resolver& resolver, Random& random,
                std::shared_ptr<const quic::TlsContext> tls, ControlClientOwner& owner);
  ~ControlClient();

  void start(TimePoint now);
  /// Closes for good, with an application close.
  void stop(std::string_view why);
  /// From the next dial on. What was resumable is not: it stands for the old certificate.
  void set_tls(std::shared_ptr<const quic::TlsContext> tls) {
    tls_ = std::move(tls);
    session_.clear();
  }

  TimePoint deadline() const;
  void on_deadline(TimePoint now);

  bool ready() const;
  /// Resolved address in use; the only source of routed datagrams. Empty before the first dial.
  std::optional<SocketAddress> server_address() const;
  /// All addresses that the server's name has, for NAT discovery over both families. Empty before the first answer.
  const std::vector<IpAddress>& addresses() const { return addresses_; }
  /// The second port at which the Intermediate in use answers keyless probes (docs/protocol.md 5); none: it has none.
  std::optional<std::uint16_t> probe_port() const { return probe_port_; }
  quic::Connection* connection();
  /// Sends on the control stream. Error: closed when not ready.
  Result<void> send(const wire::ControlMessage& message);
  /// The last address that the Intermediate saw us at (ObservedAddress), by family.
  std::optional<SocketAddress> observed(Family family) const;

  /// The relay has been silent while traffic waits: PING, and if nothing comes, dial anew beside the old connection.
  void suspect(TimePoint now);
  /// Sends something if connected, so that the Intermediate sees our address as it is now: a NAT may have rebound.
  void be_seen();
  /// Dials anew beside the connection in use, which counts until the new one takes its place: to the owner a loss and a
  /// return at one moment.
  void renew(TimePoint now);
  /// The network changed: dial at once if not ready, else like suspect().
  void network_changed(TimePoint now);

  const Counter& reconnections() const { return reconnections_; }
  /// Why the last attempt failed, as text for people; empty when ready.
  const std::string& last_error() const { return last_error_; }

 private:
  friend class ControlAttempt;
  struct Pending {
    TimePoint at;
    IpAddress address;
  };

  void dial(TimePoint now);
  void resolve();
  void connect_to(const IpAddress& address, TimePoint now);
  void won(const ControlAttempt& attempt);
  void keep_token(const IpAddress& server, Bytes token);
  void end_suspicion();
  void look(TimePoint now);
  void rotate(TimePoint now);
  void attempt_ready(ControlAttempt& attempt);
  void attempt_closed(ControlAttempt& attempt, const quic::CloseReason& reason);
  void reap();

  ControlClientOptions options_;
  quic::Endpoint& endpoint_;
  Resolver& resolver_;
  Random& random_;
  std::shared_ptr<const quic::TlsContext> tls_;
  ControlClientOwner& owner_;
  Backoff backoff_;
  std::vector<std::unique_ptr<ControlAttempt>> attempts_;  // the one in use, and what is dialled beside it
  ControlAttempt* current_ = nullptr;                      // Hello exchanged
  bool ever_ready_ = false;
  std::vector<IpAddress> addresses_;
  // A race (address_race.h): each dial() begins one, so that several may be under way.
  std::size_t race_ = 0;             // number of the last one
  std::size_t turn_ = 0;             // whose turn it is among a family's addresses
  std::vector<Pending> pending_;     // what the last one has not dialled yet
  std::optional<Family> favourite_;  // who won the last one that was won
  TimePoint favourite_until_ = kNever;
  bool resolving_ = false;
  bool stopped_ = false;
  bool renewing_ = false;     // renew(): what is dialled beside current_ is wanted
  bool pause_first_ = false;  // next_dial_ is only the time to begin a pause
  TimePoint now_{};
  TimePoint next_dial_ = kNever;
  TimePoint suspect_until_ = kNever;
  TimePoint look_at_ = kNever;  // next look whether something sent stays unanswered
  std::uint64_t received_then_ = 0;
  bool waiting_then_ = false;
  std::uint64_t received_at_suspicion_ = 0;
  TimePoint rotate_at_ = kNever;
  std::map<IpAddress, ByteVector> tokens_;  // a token is good for the address that it came from
  ByteVector session_;
  std::optional<SocketAddress> observed_v4_, observed_v6_;
  std::optional<std::uint16_t> probe_port_;  // of current_
  Counter reconnections_;
  std::string last_error_;
  std::shared_ptr<bool> alive_;  // a resolver's answer may come after us
};

}  // namespace ztna::tunnel
