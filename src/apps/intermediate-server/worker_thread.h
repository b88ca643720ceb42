// One worker of the Intermediate on the machine: its sockets, its loop, its thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/address.h"
#include "intermediate/worker.h"
#include "os/event_loop.h"
#include "os/system_random.h"
#include "os/udp_socket.h"

namespace ztna::apps {

struct WorkerSockets {
  std::vector<SocketAddress> bind;
  std::size_t buffer_bytes = 0;
  os::OffloadOptions offload;
};

class WorkerThread final : public intermediate::WorkerUdp {
 public:
  WorkerThread() = default;
  ~WorkerThread() override { join(); }

  /// Binds all addresses; with several workers as members of SO_REUSEPORT groups, so open worker 0 first. Errors as
  /// UdpSocket::bind.
  Result<void> open(const WorkerSockets& sockets, bool several_workers);
  /// The same for the sockets of NAT discovery; they count after those above.
  Result<void> open_probe(const std::vector<SocketAddress>& bind, bool several_workers);
  void close_probe();
  /// The address bound first, with its port.
  const SocketAddress& local() const { return sockets_.front()->udp.local(); }
  int fd(std::size_t socket) const { return sockets_[socket]->udp.fd(); }

  /// `mail`, `registry` and the others must outlive the thread.
  void create_worker(intermediate::WorkerOptions options, intermediate::Registry& registry,
                     intermediate::RouteTable& routes, intermediate::SharedCounters& counters,
                     intermediate::WorkerMail& mail, std::shared_ptr<const quic::TlsContext> tls);
  intermediate::Worker& worker() { return *worker_; }
  const intermediate::Worker& worker() const { return *worker_; }
  os::EventLoop& loop() { return loop_; }

  /// In this thread until stop; start() runs it in one of its own.
  void run();
  void start();
  void join();
  /// Connections as of the last batch; thread-safe.
  std::size_t connections() const { return connections_.load(std::memory_order_relaxed); }
  /// Over all sockets; thread-safe.
  std::uint64_t count(os::UdpCount what) const;

  // intermediate::WorkerUdp
  void send(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) override;
  void forward(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) override;
  bool writable() const override { return !blocked_; }

 private:
  struct Socket {
    Socket(os::UdpSocket bound, bool probe_port)
        : udp(std::move(bound)), wildcard(udp.local().ip.is_unspecified()), probe(probe_port) {}
    os::UdpSocket udp;
    os::SendBatch batch;
    os::Watch watch;
    bool wildcard;
    bool probe;  // of NAT discovery: what does not leave at once is dropped
  };
  void on_readable(Socket& socket);
  void on_writable(Socket& socket);
  void after_batch();
  Socket& socket_for(const SocketAddress& local);
  void blocked(Socket& socket);

  os::EventLoop loop_;
  os::SystemRandom random_;
  os::ReceiveBuffers buffers_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::unique_ptr<intermediate::Worker> worker_;
  std::unique_ptr<os::Timer> timer_;
  os::Batch batch_;
  bool blocked_ = false;
  std::atomic<std::size_t> connections_{0};
  std::thread thread_;
};

}  // namespace ztna::apps
