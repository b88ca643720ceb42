// Sockets towards backends: connector/backend.h over os/.
#pragma once

#include <functional>
#include <memory>

#include "connector/backend.h"
#include "os/event_loop.h"
#include "os/offload.h"
#include "os/udp_socket.h"

namespace ztna::apps {

struct BackendSocketOptions {
  std::size_t udp_buffer = 1U << 20U;  // octets, each way, of each flow
  os::OffloadOptions offload;
};

class BackendSockets final : public connector::BackendFactory {
 public:
  /// `loop` and `buffers` must outlive this and every socket it made. `after_read` is called after each bounded read of
  /// a UDP socket: packets for Agents may have to leave before more is read.
  BackendSockets(os::EventLoop& loop, os::ReceiveBuffers& buffers, BackendSocketOptions options,
                 std::function<void()> after_read)
      : loop_(loop), buffers_(buffers), options_(options), after_read_(std::move(after_read)) {}

  Result<std::unique_ptr<connector::BackendUdp>> connect_udp(const SocketAddress& backend,
                                                             connector::BackendUdpEvents& events) override;
  Result<std::unique_ptr<tunnel::TcpPort>> connect_tcp(const SocketAddress& backend, Duration timeout,
                                                       connector::BackendTcpEvents& events) override;

 private:
  os::EventLoop& loop_;
  os::ReceiveBuffers& buffers_;
  BackendSocketOptions options_;
  std::function<void()> after_read_;
};

}  // namespace ztna::apps
