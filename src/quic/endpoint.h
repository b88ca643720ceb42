// All QUIC connections of one socket set: finds a packet's connection, accepts new ones, Retry, version negotiation,
// stateless reset (RFC 9000 5.2, 6, 8.1.2, 10.3). Sans-IO.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/counters.h"
#include "base/random.h"
#include "quic/connection.h"
#include "quic/packet_sink.h"
#include "quic/tls_context.h"

namespace ztna::quic {

/// The one counted fate of each packet given to Endpoint::receive.
enum class PacketFate : std::uint8_t {
  to_connection,  // handed to an existing connection
  accepted,       // began a connection
  retry_sent,
  version_negotiation_sent,
  stateless_reset_sent,
  bad_token,           // Retry token that is forged, expired or of another address: connection refused
  not_welcome,         // Initial that Acceptor::admit ignored: no answer
  unknown_connection,  // no such connection id, and no answer is due
  malformed,
  foreign_worker,  // belongs to another worker: returned to the caller
  count_
};
std::string_view to_string(PacketFate fate);

/// Decides over connection attempts.
class Acceptor {
 public:
  virtual ~Acceptor() = default;

  enum class Admit : std::uint8_t {
    accept,
    retry,   // answer with Retry unless the packet brings a valid token
    ignore,  // silence: also no version negotiation and no stateless reset for this path
  };
  /// Before any work is done for an Initial, or for a packet that fits no connection. `validated`: a token proved the
  /// address.
  virtual Admit admit(const Path& path, bool validated, TimePoint now) = 0;

  struct Accepted {
    std::shared_ptr<const TlsContext> tls;
    TransportOptions transport;
    ConnectionHandler* handler = nullptr;  // must live until its on_closed
  };
  /// Gives the new connection its handler; the connection lives until the Endpoint drops it after on_closed.
  /// An error refuses the connection (CONNECTION_REFUSED).
  virtual Result<Accepted> accept(Connection& connection, const Path& path, TimePoint now) = 0;
};

struct EndpointOptions {
  std::uint8_t worker = 0;                      // first octet of every connection id issued here
  std::uint8_t workers = 1;                     // above 1: a packet whose id names another worker is not ours
  std::array<std::uint8_t, 32> reset_secret{};  // static key for stateless resets; persisted by the app
  std::array<std::uint8_t, 32> token_secret{};  // Retry and NEW_TOKEN
  bool send_stateless_reset = true;
  /// With so many, Initials are refused. connect() is not: how many to dial is the caller's own matter, and what others
  /// began must not keep it from dialling.
  std::size_t max_connections = 100'000;
  std::size_t max_handshakes = 1'000;  // connections that are not established yet
};

struct ConnectOptions {
  std::shared_ptr<const TlsContext> tls;
  TransportOptions transport;
  std::string server_name;  // SNI; checked against the leaf's DNS names when `check_name`
  bool check_name = false;
  ByteVector token;    // from on_new_token; may be empty
  ByteVector session;  // from on_session; may be empty
};

class Endpoint {
 public:
  /// `random` and `acceptor` (null: client only) must outlive the endpoint.
  static std::unique_ptr<Endpoint> create(EndpointOptions options, Random& random, Acceptor* acceptor);
  virtual ~Endpoint() = default;

  /// One QUIC packet (one UDP payload). Bytes from anybody: every outcome is counted, none throws.
  /// Answers outside connections (Retry, version negotiation, reset) go to `out` at once.
  virtual PacketFate receive(const Path& path, Bytes packet, TimePoint now, PacketSink& out) = 0;

  /// Error: crypto or internal. `handler` must live until its on_closed.
  virtual Result<Connection*> connect(const ConnectOptions& options, const Path& path, ConnectionHandler& handler,
                                      TimePoint now) = 0;

  /// Sends what connections that were touched since the last flush have to send. Call after each batch of inputs, and
  /// when the sink becomes writable again.
  virtual void flush(TimePoint now, PacketSink& out) = 0;
  /// Earliest time at which on_deadline has something to do; kNever when idle.
  virtual TimePoint deadline() const = 0;
  virtual void on_deadline(TimePoint now) = 0;  // follow with flush()

  virtual std::size_t connections() const = 0;
  /// From now on; connections that are there stay. See EndpointOptions.
  virtual void set_max_connections(std::size_t limit) = 0;
  virtual const CounterSet<PacketFate>& fates() const = 0;
  virtual const Counter& retry_tokens_validated() const = 0;
  virtual const Counter& retry_token_failures() const = 0;
  /// ConnectionStats::datagrams_dropped of all connections, also of those that are gone.
  virtual const Counter& datagrams_dropped() const = 0;
};

}  // namespace ztna::quic
