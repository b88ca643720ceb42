// TCP of one tunnel: each stream is a connection to a service's backend (docs/protocol.md 4.2).
//
//   header -> resolving -> connecting -> bridged -> (gone)
//      |          |            |
//      +----------+------------+-> refused: result told, stream finished -> (gone)
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/counters.h"
#include "base/time.h"
#include "connector/backend.h"
#include "connector/backend_names.h"
#include "connector/packet_fate.h"
#include "connector/quota.h"
#include "connector/service.h"
#include "connector/service_use.h"
#include "quic/connection.h"
#include "wire/ids.h"

namespace ztna::connector {

struct TcpCounts {
  Counter sessions;  // connections that a backend accepted
  Counter active;    // now
  Counter octets_to_backend;
  Counter octets_to_agent;
};

/// What the sessions of all tunnels share. All must outlive them.
struct TcpShared {
  BackendFactory& backends;
  BackendNames& names;
  Quotas& quotas;
  CounterSet<StreamFate>& fates;
  TcpCounts& counts;
  const TimePoint& now;  // of the input that is being handled
};

/// A tunnel's open services, by handle.
class ServiceLookup {
 public:
  virtual ~ServiceLookup() = default;
  struct Found {
    Service* service = nullptr;  // null: not (or no longer) open, or no longer permitted
    ServiceUse* use = nullptr;
  };
  virtual Found find_service(wire::ServiceHandle handle) = 0;
};

class TcpSessions final : private BacklogHolder {
 public:
  /// For all addresses of a backend together; a silent backend is not answered for by us, the user's kernel gives up
  /// when it likes.
  static constexpr Duration kConnectTimeout = 20s;
  static constexpr Duration kMinAddressTimeout = 3s;

  TcpSessions(TcpShared shared, AgentUsage& usage, quic::Connection& connection, ServiceLookup& services);
  ~TcpSessions() override;
  TcpSessions(const TcpSessions&) = delete;
  TcpSessions& operator=(const TcpSessions&) = delete;

  // From the tunnel's connection; same meaning as in quic::ConnectionHandler.
  void on_stream_opened(quic::StreamId id);
  void on_stream_data(quic::StreamId id, Bytes octets, bool fin);
  void on_stream_drained(quic::StreamId id);
  void on_stream_reset(quic::StreamId id);
  void on_stop_sending(quic::StreamId id);
  void on_stream_closed(quic::StreamId id);
  /// Resets the backends' connections. Nothing may be called after it.
  void on_connection_closed();

  /// Hands what streams brought to the backends. Call once after each batch of inputs.
  void flush();
  /// The handle was closed: its sessions are reset.
  void close(wire::ServiceHandle handle);

  std::size_t size() const { return sessions_.size(); }
  /// Sessions whose octets still flow (a drain waits for them): also those whose last octets the Agent has not
  /// acknowledged yet.
  std::size_t active() const { return active_ + finishing_.size(); }

 private:
  class Session;
  // BacklogHolder
  std::size_t largest_backlog() const override;
  void reset_largest_backlog() override;

  Session* find(quic::StreamId id);
  void erase(quic::StreamId id);

  TcpShared shared_;
  AgentUsage& usage_;
  quic::Connection& connection_;
  ServiceLookup& services_;
  std::size_t active_ = 0;
  std::unordered_map<quic::StreamId, std::unique_ptr<Session>> sessions_;
  std::unordered_set<quic::StreamId> finishing_;  // the backend's side is over; QUIC still sends, or waits for ACKs
  std::vector<quic::StreamId> dirty_;             // have octets for their backends
  std::vector<quic::StreamId> flushing_;
};

}  // namespace ztna::connector
