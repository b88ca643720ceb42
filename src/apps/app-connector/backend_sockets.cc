#include "apps/app-connector/backend_sockets.h"

#include <algorithm>
#include <array>
#include <utility>

#include "os/clock.h"
#include "os/tcp_socket.h"

namespace ztna::apps {
namespace {

using connector::SendStatus;

SendStatus send_status(os::IoStatus status) {
  switch (status) {
    case os::IoStatus::ok: return SendStatus::ok;
    case os::IoStatus::would_block: return SendStatus::busy;
    case os::IoStatus::refused: return SendStatus::refused;
    case os::IoStatus::unreachable: return SendStatus::unreachable;
    case os::IoStatus::too_large: return SendStatus::too_large;
    default: return SendStatus::failed;
  }
}

class UdpSocketOfFlow final : public connector::BackendUdp {
 public:
  UdpSocketOfFlow(os::EventLoop& loop, os::ReceiveBuffers& buffers, os::UdpSocket socket,
                  connector::BackendUdpEvents& events, const std::function<void()>& after_read)
      : buffers_(buffers), socket_(std::move(socket)), events_(events), after_read_(after_read) {
    watch_ = loop.watch(socket_.fd(), [this] { on_readable(); });
  }
  ~UdpSocketOfFlow() override {
    watch_.reset();
    if (gone_ != nullptr) *gone_ = true;
  }

  connector::Sent send(Bytes row, std::size_t segment) override {
    const auto result = socket_.send({}, row, segment);
    return {send_status(result.status), result.octets, result.sent, result.sent_octets};
  }
  std::size_t path_mtu() const override { return socket_.path_mtu(); }

 private:
  void on_readable() {
    bool gone = false;  // an event may destroy *this
    gone_ = &gone;
    const auto& after_read = after_read_;
    const auto got = socket_.receive(buffers_);
    const auto now = os::now();
    for (const auto& row : got.datagrams) {
      events_.on_backend_datagrams(row.data, row.segment, now);
      if (gone) break;
    }
    const bool told = got.status == os::IoStatus::refused || got.status == os::IoStatus::unreachable ||
                      got.status == os::IoStatus::too_large;
    if (!gone && told) {
      events_.on_backend_error(send_status(got.status), now);
    }
    if (!gone) gone_ = nullptr;
    after_read();
  }

  os::ReceiveBuffers& buffers_;
  os::UdpSocket socket_;
  connector::BackendUdpEvents& events_;
  const std::function<void()>& after_read_;
  os::Watch watch_;
  bool* gone_ = nullptr;
};

tunnel::IoResult io_result(os::IoResult result) {
  switch (result.status) {
    case os::IoStatus::ok: return {tunnel::IoStatus::ok, result.octets};
    case os::IoStatus::would_block: return {tunnel::IoStatus::would_block, 0};
    case os::IoStatus::eof: return {tunnel::IoStatus::end_of_stream, 0};
    case os::IoStatus::reset: return {tunnel::IoStatus::reset, 0};
    default: return {tunnel::IoStatus::failed, 0};
  }
}

class TcpSocketOfSession final : public tunnel::TcpPort {
 public:
  TcpSocketOfSession(os::EventLoop& loop, connector::BackendTcpEvents& events) : loop_(loop), events_(events) {}

  void connect(const SocketAddress& backend, Duration timeout) {
    connect_ = os::TcpConnect::start(loop_, backend, {}, timeout,
                                     [this](Result<os::TcpSocket> result) { connected(std::move(result)); });
  }

  tunnel::IoResult read(MutableBytes into) override { return io_result(socket_.read(into)); }
  tunnel::IoResult write(std::span<const Bytes> blocks) override {
    return io_result(socket_.writev(blocks.first(std::min(blocks.size(), os::TcpSocket::kMaxParts))));
  }
  void shutdown_write() override { socket_.shutdown_write(); }
  void abort() override {
    watch_.reset();
    socket_.abort();
  }
  void want(bool readable, bool writable) override {
    watch_.want_read(readable);
    watch_.want_write(writable);
  }

 private:
  void connected(Result<os::TcpSocket> result) {
    const auto now = os::now();
    if (!result) {
      events_.on_connected(fail(result.error()), now);
      return;
    }
    socket_ = std::move(*result);
    auto& events = events_;
    watch_ = loop_.watch(
        socket_.fd(), [&events] { events.on_readable(); }, [&events] { events.on_writable(); });
    events_.on_connected({}, now);
  }

  os::EventLoop& loop_;
  connector::BackendTcpEvents& events_;
  std::unique_ptr<os::TcpConnect> connect_;
  os::TcpSocket socket_;
  os::Watch watch_;  // goes before the socket closes
};

}  // namespace

Result<std::unique_ptr<connector::BackendUdp>> BackendSockets::connect_udp(const SocketAddress& backend,
                                                                           connector::BackendUdpEvents& events) {
  os::UdpOptions options;
  options.receive_buffer = options_.udp_buffer;
  options.send_buffer = options_.udp_buffer;
  options.packet_info = false;
  options.dont_fragment = false;
  options.icmp_errors = true;
  options.offload = options_.offload;
  auto socket = os::UdpSocket::connect(backend, options);
  if (!socket) return fail(socket.error());
  return std::make_unique<UdpSocketOfFlow>(loop_, buffers_, std::move(*socket), events, after_read_);
}

Result<std::unique_ptr<tunnel::TcpPort>> BackendSockets::connect_tcp(const SocketAddress& backend, Duration timeout,
                                                                     connector::BackendTcpEvents& events) {
  auto port = std::make_unique<TcpSocketOfSession>(loop_, events);
  port->connect(backend, timeout);
  return port;
}

}  // namespace ztna::apps
