// UDP of one tunnel: each 5-tuple of a service has a connected socket of its own towards the backend (architecture.md
// 3).
//
// A table belongs to one tunnel, and a flow to one table: one Agent's flows cannot receive another's packets.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "base/counters.h"
#include "base/time.h"
#include "connector/backend.h"
#include "connector/backend_names.h"
#include "connector/packet_arena.h"
#include "connector/packet_fate.h"
#include "connector/quota.h"
#include "connector/service.h"
#include "connector/service_use.h"
#include "connector/udp_batch.h"
#include "wire/ids.h"
#include "wire/ip/build.h"
#include "wire/ip/packet_view.h"

namespace ztna::connector {

/// Takes packets for the Agent.
class PacketOutput {
 public:
  virtual ~PacketOutput() = default;
  /// `packet` is borrowed until the arena's release(). False: the tunnel does not take it now.
  virtual bool send_packet(wire::ServiceHandle handle, Bytes packet) = 0;
};

struct UdpCounts {
  Counter packets_to_backend, octets_to_backend;
  Counter packets_to_agent, octets_to_agent;  // UDP payload
  Counter flows;                              // now
};

/// What the tables of all tunnels share. All must outlive the tables.
struct UdpShared {
  BackendFactory& backends;
  BackendNames& names;
  PacketArena& arena;
  UdpBatch& batch;
  Quotas& quotas;
  CounterSet<PacketFate>& fates;
  UdpCounts& counts;
};

class UdpFlows {
 public:
  static constexpr Duration kIdle = 60s;  // RFC 4787 REQ-5 wants 2 min for what was answered; the question alone: less
  static constexpr Duration kIdleReplied = 180s;

  UdpFlows(const UdpShared& shared, AgentUsage& usage, PacketOutput& output);
  ~UdpFlows();
  UdpFlows(const UdpFlows&) = delete;
  UdpFlows& operator=(const UdpFlows&) = delete;

  /// Forwards a UDP packet that is no fragment and whose lengths and checksums are right, to the service's backend at
  /// `backend_port`. Counts its fate (perhaps later, when its batch leaves). `use` must live as long as `handle` is
  /// open.
  void forward(wire::ServiceHandle handle, const Service& service, std::uint16_t backend_port,
               const wire::ip::PacketView& packet, ServiceUse& use, TimePoint now);
  /// The handle was closed: its flows end.
  void close(wire::ServiceHandle handle);
  /// Ends what has been idle; call about once a second.
  void expire(TimePoint now);
  std::size_t size() const { return index_.size(); }

 private:
  struct Key {
    wire::ServiceHandle handle;
    SocketAddress user;
    SocketAddress service;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
      const std::hash<SocketAddress> hash;
      return (hash(key.user) * 31 + hash(key.service)) * 31 + key.handle.value;
    }
  };
  class Flow;
  using List = std::list<Flow>;  // least recently used first

  Flow* find(const Key& key);
  Flow* open(const Key& key, const Service& service, std::uint16_t backend_port, ServiceUse& use, TimePoint now);
  void erase(List& list, List::iterator flow);
  void touch(Flow& flow, TimePoint now, bool replied);
  void send_error(wire::ip::IcmpError error, const wire::ip::PacketView& original, wire::ServiceHandle handle,
                  TimePoint now, std::size_t mtu = 0);

  UdpShared shared_;
  AgentUsage& usage_;
  PacketOutput& output_;
  TokenBucket errors_;
  List unreplied_;
  List replied_;
  std::unordered_map<Key, List::iterator, KeyHash> index_;
  Flow* last_ = nullptr;  // packets come in runs of one flow
};

}  // namespace ztna::connector
