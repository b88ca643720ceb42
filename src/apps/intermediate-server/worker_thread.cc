#include "apps/intermediate-server/worker_thread.h"

#include <utility>

#include "os/clock.h"

namespace ztna::apps {
namespace {

constexpr int kReceivesPerTurn = 8;  // of up to 16 super-packets each; then timers and other sockets get a turn
constexpr std::size_t kProbeBuffer = 256U << 10U;

}  // namespace

Result<void> WorkerThread::open(const WorkerSockets& wanted, bool several_workers) {
  for (const auto& address : wanted.bind) {
    os::UdpOptions options;
    options.reuse_port = several_workers;
    options.receive_buffer = wanted.buffer_bytes;
    options.send_buffer = wanted.buffer_bytes;
    options.offload = wanted.offload;
    options.packet_info = address.ip.is_unspecified();
    auto udp = os::UdpSocket::bind(address, options);
    if (!udp) return fail(udp.error());
    sockets_.push_back(std::make_unique<Socket>(std::move(*udp), false));
  }
  return {};
}

Result<void> WorkerThread::open_probe(const std::vector<SocketAddress>& bind, bool several_workers) {
  for (const auto& address : bind) {
    os::UdpOptions options;
    options.reuse_port = several_workers;
    options.receive_buffer = kProbeBuffer;
    options.send_buffer = kProbeBuffer;
    options.packet_info = address.ip.is_unspecified();
    auto udp = os::UdpSocket::bind(address, options);
    if (!udp) return fail(udp.error());
    sockets_.push_back(std::make_unique<Socket>(std::move(*udp), true));
  }
  return {};
}

void WorkerThread::close_probe() {
  std::erase_if(sockets_, [](const auto& socket) { return socket->probe; });
}

void WorkerThread::create_worker(intermediate::WorkerOptions options, intermediate::Registry& registry,
                                 intermediate::RouteTable& routes, intermediate::SharedCounters& counters,
                                 intermediate::WorkerMail& mail, std::shared_ptr<const quic::TlsContext> tls) {
  worker_ = std::make_unique<intermediate::Worker>(std::move(options), registry, routes, counters, *this, mail, random_,
                                                   std::move(tls));
  timer_ = std::make_unique<os::Timer>(loop_, [this] { worker_->on_deadline(os::now(), os::wall_time()); });
  for (auto& socket : sockets_) {
    auto* s = socket.get();
    s->watch = loop_.watch(
        s->udp.fd(), [this, s] { on_readable(*s); }, [this, s] { on_writable(*s); });
  }
  batch_ = loop_.after_batch([this] { after_batch(); });
}

void WorkerThread::on_readable(Socket& socket) {
  const auto now = os::now();
  const auto wall = os::wall_time();
  for (int turn = 0; turn < kReceivesPerTurn; ++turn) {
    const auto got = socket.udp.receive(buffers_);
    for (const auto& row : got.datagrams) {
      const SocketAddress local{socket.wildcard ? row.local.ip : socket.udp.local().ip, socket.udp.local().port};
      worker_->receive(local, row.from, row.data, row.segment, now, wall);
    }
    // Before the buffers are filled again: forwarded rows lie in them.
    for (auto& s : sockets_) {
      if (!s->batch.empty() && s->batch.flush(s->udp) == os::IoStatus::would_block) blocked(*s);
    }
    if (got.status == os::IoStatus::would_block) break;
  }
}

void WorkerThread::on_writable(Socket& socket) {
  socket.watch.want_write(false);
  blocked_ = false;  // the batch's end flushes the endpoint
}

void WorkerThread::after_batch() {
  worker_->flush(os::now());
  timer_->set(worker_->deadline());
  connections_.store(worker_->connections(), std::memory_order_relaxed);
}

WorkerThread::Socket& WorkerThread::socket_for(const SocketAddress& local) {
  for (auto& socket : sockets_) {
    if (socket->udp.local() == local) return *socket;
  }
  for (auto& socket : sockets_) {
    const auto& bound = socket->udp.local();
    if (socket->wildcard && bound.ip.family() == local.ip.family() && bound.port == local.port) return *socket;
  }
  return *sockets_.front();
}

void WorkerThread::send(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) {
  auto& socket = socket_for(local);
  const auto sent = socket.udp.send(to, row, segment, socket.wildcard ? local.ip : IpAddress{});
  if (sent.status == os::IoStatus::would_block && !socket.probe) blocked(socket);
}

void WorkerThread::forward(const SocketAddress& local, const SocketAddress& to, Bytes row, std::size_t segment) {
  auto& socket = socket_for(local);
  socket.batch.add(to, row, segment, socket.wildcard ? local.ip : IpAddress{});
}

void WorkerThread::blocked(Socket& socket) {
  blocked_ = true;
  socket.watch.want_write(true);
}

void WorkerThread::run() { loop_.run(); }

void WorkerThread::start() {
  thread_ = std::thread([this] { run(); });
}

void WorkerThread::join() {
  if (thread_.joinable()) thread_.join();
}

std::uint64_t WorkerThread::count(os::UdpCount what) const {
  std::uint64_t sum = 0;
  for (const auto& socket : sockets_) sum += socket->udp.counts().value(what);
  return sum;
}

}  // namespace ztna::apps
