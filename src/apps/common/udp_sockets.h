// The one UDP port of an Agent or Connector, as a socket for each address family, and the side sockets of its birthday
// searches.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "os/event_loop.h"
#include "os/udp_socket.h"
#include "tunnel/ports.h"

namespace ztna::apps {

struct UdpSocketsOptions {
  std::uint16_t port = 0;  // 0: any
  std::size_t buffer_bytes = 4U << 20U;
  os::OffloadOptions offload;
};

class UdpSockets final : public tunnel::UdpPort, public tunnel::SideSockets {
 public:
  using OnRow = std::function<void(tunnel::SocketId socket, const SocketAddress& from, Bytes row, std::size_t segment,
                                   TimePoint now)>;
  /// Descriptors that a birthday search which ran into the limit gives back, for the users' connections.
  static constexpr std::size_t kSpare = 32;

  /// Binds IPv4, and IPv6 where the host has it, to the same port. Errors: as os::UdpSocket::bind.
  Result<void> open(const UdpSocketsOptions& options);
  /// Begins to read. `loop` and `buffers` must outlive this.
  void start(os::EventLoop& loop, os::ReceiveBuffers& buffers, OnRow on_row);

  std::uint16_t port() const { return sockets_.front()->udp.local().port; }
  bool has_v6() const { return sockets_.size() > 1; }
  /// Of all sockets, those included that are closed by now. From any thread.
  std::uint64_t kernel_drops() const;
  std::uint64_t send_drops() const;

  // tunnel::UdpPort
  void send(const SocketAddress& to, Bytes row, std::size_t segment) override;
  bool writable() const override { return !blocked_; }
  // tunnel::SideSockets
  std::vector<tunnel::SocketId> open_side(unsigned count) override;
  void send_from(tunnel::SocketId socket, const SocketAddress& to, Bytes payload) override;
  void route(tunnel::SocketId socket, const SocketAddress& remote) override;
  void close_side(tunnel::SocketId socket) override;

 private:
  struct Socket {
    Socket(tunnel::SocketId i, os::UdpSocket s) : id(i), udp(std::move(s)) {}
    tunnel::SocketId id;
    os::UdpSocket udp;
    os::Watch watch;
  };
  using SocketPtr = std::shared_ptr<Socket>;  // shared with its own callback: what it receives may close it
  void watch(const SocketPtr& socket);
  void on_readable(Socket& socket);
  void send_by(Socket& socket, const SocketAddress& to, Bytes row, std::size_t segment);

  std::vector<SocketPtr> sockets_;  // IPv4 first
  mutable std::mutex side_mutex_;   // the HTTP thread counts; only the loop's thread changes
  std::map<tunnel::SocketId, SocketPtr> side_;
  std::map<SocketAddress, SocketPtr> routes_;
  tunnel::SocketId last_id_ = tunnel::kMainSocket;
  UdpSocketsOptions options_;
  os::EventLoop* loop_ = nullptr;
  std::uint64_t closed_kernel_drops_ = 0, closed_send_drops_ = 0;  // of side sockets
  os::ReceiveBuffers* buffers_ = nullptr;
  OnRow on_row_;
  bool blocked_ = false;
};

}  // namespace ztna::apps
