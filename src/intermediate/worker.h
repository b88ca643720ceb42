// One thread's share of the Intermediate: its QUIC endpoint, its clients' sessions, its part of the relay. Sans-IO.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/counters.h"
#include "base/random.h"
#include "intermediate/control_session.h"
#include "intermediate/probe_responder.h"
#include "intermediate/registry.h"
#include "intermediate/relay.h"
#include "intermediate/source_limiter.h"
#include "quic/endpoint.h"

namespace ztna::intermediate {

/// The one counted fate of each UDP payload that is not relayed (those are in RelayFate) and did not come to the probe
/// port (see ProbeFate).
enum class InputFate : std::uint8_t { quic, handed_over, probe, junk, count_ };
std::string_view to_string(InputFate fate);

struct WorkerOptions {
  std::uint8_t index = 0;
  std::uint8_t workers = 1;
  std::uint16_t port = 0;        // of the sockets
  std::uint16_t probe_port = 0;  // of those for NAT discovery; 0: there are none
  bool retry = true;
  std::size_t max_connections = 16'384;
  std::size_t max_handshakes = 4'000;         // not yet established
  std::uint32_t handshakes_per_source = 100;  // a second, per IPv4 address or IPv6 /64; a burst as large
  std::uint64_t relay_bytes_per_second_per_route = 0;
  std::array<std::uint8_t, 32> reset_secret{};  // the same for all workers, persisted
  std::array<std::uint8_t, 32> token_secret{};
  std::string software;
  wire::InstanceId instance;
};

/// Counted together for all workers: the metrics page shows one program.
struct SharedCounters {
  SessionCounters sessions;
  RelayCounters relay;
  CounterSet<InputFate> inputs;
  CounterSet<ProbeFate> probes;
  Counter handshakes_limited;  // Initials ignored because their source had too many, a second or unfinished
};

/// How workers reach one another.
class WorkerMail {
 public:
  virtual ~WorkerMail() = default;
  /// Calls Worker::deliver or kick on the thread of the session's worker, later and in the order of the calls, also
  /// when that is the calling one. Thread-safe; must not call a worker or the registry.
  virtual void deliver(Delivery delivery) = 0;
  virtual void kick(Kick kick) = 0;
  /// A QUIC packet that belongs to worker `index`: receive_quic() there, with a copy of it.
  virtual void hand_over(std::uint8_t index, const quic::Path& path, Bytes packet) = 0;
};

class Worker final : public quic::Acceptor, public quic::PacketSink, private SessionOwner {
 public:
  /// All references must outlive the worker.
  Worker(WorkerOptions options, Registry& registry, RouteTable& routes, SharedCounters& counters, WorkerUdp& udp,
         WorkerMail& mail, Random& random, std::shared_ptr<const quic::TlsContext> tls);
  ~Worker() override;

  /// What a socket bound to `local` (port or probe port) received: a row of payloads of `segment` octets each, the last
  /// may be shorter. The row may be written to, and must stay until the forwards of this batch were sent.
  void receive(const SocketAddress& local, const SocketAddress& from, MutableBytes row, std::size_t segment,
               TimePoint now, WallTime wall);
  /// A packet handed over by another worker.
  void receive_quic(const quic::Path& path, Bytes packet, TimePoint now);
  void flush(TimePoint now) { endpoint_->flush(now, *this); }
  TimePoint deadline() const;
  void on_deadline(TimePoint now, WallTime wall);

  void set_tls(std::shared_ptr<const quic::TlsContext> tls) { tls_ = std::move(tls); }
  /// What came by mail; unknown sessions are dead: ignored.
  void deliver(const Delivery& delivery);
  void kick(const Kick& kick);
  /// From now on nobody is let in: a client that was just told to go would be back for the rest of this process' life,
  /// and learn of its end from silence. It is answered by what is started after this one.
  void drain() { draining_ = true; }
  /// Closes every session with `draining`; on_deadline and flush go on until connections() is 0 or time is up.
  void close_all(std::string_view why);
  std::size_t connections() const { return endpoint_->connections(); }
  const quic::Endpoint& endpoint() const { return *endpoint_; }

  // quic::Acceptor
  Admit admit(const quic::Path& path, bool validated, TimePoint now) override;
  Result<Accepted> accept(quic::Connection& connection, const quic::Path& path, TimePoint now) override;

  // quic::PacketSink
  std::size_t headroom(const quic::Path&) const override { return 0; }
  void send(const quic::Path& path, MutableBytes buffer, std::size_t segment) override {
    udp_.send(path.local, path.remote, buffer, segment);
  }
  bool writable() const override { return udp_.writable(); }

 private:
  // SessionOwner
  SessionCounters& session_counters() override { return counters_.sessions; }
  Result<void> ask(const std::function<Result<Actions>(Registry&)>& call) override;
  void handshake_over(const IpAddress& source) override { limiter_.end(source); }
  TimePoint now() const override { return now_; }
  WallTime wall_now() const override { return wall_; }
  const std::string& software() const override { return options_.software; }
  const wire::InstanceId& instance() const override { return options_.instance; }
  std::uint16_t probe_port() const override { return options_.probe_port; }

  void tick();
  void answer_probe(const SocketAddress& local, const SocketAddress& from, Bytes payload);

  WorkerOptions options_;
  Registry& registry_;
  SharedCounters& counters_;
  WorkerUdp& udp_;
  WorkerMail& mail_;
  bool draining_ = false;
  std::shared_ptr<const quic::TlsContext> tls_;
  Relay relay_;
  SourceLimiter limiter_;
  ProbeResponder probes_;
  std::unordered_map<std::uint64_t, std::unique_ptr<ControlSession>> sessions_;
  std::uint64_t next_session_ = 1;
  TimePoint now_{};
  WallTime wall_{};
  TimePoint next_tick_{};
  std::unique_ptr<quic::Endpoint> endpoint_;  // after sessions_: its connections go first
};

}  // namespace ztna::intermediate
