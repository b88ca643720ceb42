// What the sans-IO parts of Agent and Connector need from the machine. Implemented in apps over os/, and by fakes in
// tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"

namespace ztna::tunnel {

/// The one UDP socket (per family) of an Agent or Connector.
class UdpPort {
 public:
  virtual ~UdpPort() = default;
  /// A row of UDP payloads, each `segment` octets, the last may be shorter. Borrowed for the call. Never blocks; what
  /// the kernel does not take is dropped and counted there.
  virtual void send(const SocketAddress& to, Bytes row, std::size_t segment) = 0;
  /// False while the socket's buffer is full; the program flushes again when it has room.
  virtual bool writable() const = 0;
};

/// Names a UDP socket of the program: the one UdpPort, or a side socket.
using SocketId = std::uint32_t;
inline constexpr SocketId kMainSocket = 0;

/// Sockets beside the one UdpPort, for a birthday search (docs/direct-paths.md): IPv4, on ports of the kernel's choice.
/// What they receive comes in as what the UdpPort receives, with their id. An id that is not open is ignored.
class SideSockets {
 public:
  virtual ~SideSockets() = default;
  /// Up to `count`; fewer, or none, where a limit is in the way.
  virtual std::vector<SocketId> open_side(unsigned count) = 0;
  virtual void send_from(SocketId socket, const SocketAddress& to, Bytes payload) = 0;
  /// From now on, until it is closed, what UdpPort::send() sends to `remote` leaves by this socket.
  virtual void route(SocketId socket, const SocketAddress& remote) = 0;
  virtual void close_side(SocketId socket) = 0;
};

/// Outcome of a read or write on a TCP socket.
enum class IoStatus : std::uint8_t { ok, would_block, end_of_stream, reset, failed };
struct IoResult {
  IoStatus status = IoStatus::ok;
  std::size_t octets = 0;  // meaningful with ok
};

/// A connected, non-blocking TCP socket. Destroying it closes it (FIN, unless abort() was called).
class TcpPort {
 public:
  virtual ~TcpPort() = default;
  virtual IoResult read(MutableBytes into) = 0;
  /// Gathers up to 64 blocks; may take fewer octets than given.
  virtual IoResult write(std::span<const Bytes> blocks) = 0;
  virtual void shutdown_write() = 0;
  virtual void abort() = 0;  // RST
  /// Which readiness the owner wants to be told of (TcpBridge::on_readable, on_writable).
  virtual void want(bool readable, bool writable) = 0;
};

/// Name resolution, asynchronous. The callback comes later, on the same thread, never from inside resolve().
class Resolver {
 public:
  virtual ~Resolver() = default;
  using Done = std::function<void(Result<std::vector<IpAddress>>)>;
  virtual void resolve(const std::string& host, Done done) = 0;
};

}  // namespace ztna::tunnel
