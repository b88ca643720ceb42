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
