// The one UDP port of an Agent or Connector, as a socket for each address family.
#pragma once

#include <functional>
#include <optional>

#include "os/event_loop.h"
#include "os/udp_socket.h"
#include "tunnel/ports.h"

namespace ztna::apps {

struct UdpSocketsOptions {
  std::uint16_t port = 0;  // 0: any
  std::size_t buffer_bytes = 4U << 20U;
  os::OffloadOptions offload;
};

class UdpSockets final : public tunnel::UdpPort {
 public:
  using OnRow = std::function<void(const SocketAddress& from, Bytes row, std::size_t segment, TimePoint now)>;

  /// Binds IPv4, and IPv6 where the host has it, to the same port. Errors: as os::UdpSocket::bind.
  Result<void> open(const UdpSocketsOptions& options);
  /// Begins to read. `loop` and `buffers` must outlive this.
  void start(os::EventLoop& loop, os::ReceiveBuffers& buffers, OnRow on_row);

  std::uint16_t port() const { return sockets_.front()->udp.local().port; }
  bool has_v6() const { return sockets_.size() > 1; }
  std::uint64_t kernel_drops() const;
  std::uint64_t send_drops() const;

  // tunnel::UdpPort
  void send(const SocketAddress& to, Bytes row, std::size_t segment) override;
  bool writable() const override { return !blocked_; }

 private:
  struct Socket {
    explicit Socket(os::UdpSocket s) : udp(std::move(s)) {}
    os::UdpSocket udp;
    os::Watch watch;
  };
  void on_readable(Socket& socket);

  std::vector<std::unique_ptr<Socket>> sockets_;  // IPv4 first
  os::ReceiveBuffers* buffers_ = nullptr;
  OnRow on_row_;
  bool blocked_ = false;
};

}  // namespace ztna::apps
