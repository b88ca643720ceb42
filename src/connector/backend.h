// What the Connector needs from the machine to reach backends. Implemented in apps/app-connector over os/, and by fakes
// in tests.
//
// No call blocks; every event comes later, on the same thread, never from inside a call of the same object. Destroying
// an object ends its events.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "tunnel/ports.h"

namespace ztna::connector {

/// How a datagram left, or why not.
enum class SendStatus : std::uint8_t { ok, busy, refused, unreachable, too_large, failed };

/// What became of a row of datagrams.
struct Sent {
  SendStatus status = SendStatus::ok;  // of those that did not leave
  std::size_t handled = 0;    // octets of the row that left, or were dropped as too large: the rest was not tried
  std::size_t datagrams = 0;  // that left
  std::size_t octets = 0;     // their payload
};

/// A UDP socket that is connected to one backend: the kernel gives it packets of that address and port only.
class BackendUdp {
 public:
  virtual ~BackendUdp() = default;
  /// Datagrams of `segment` octets each, the last may be shorter (GSO); `segment` >= row.size(): one datagram, maybe
  /// empty. Borrowed for the call. Not ok: what was not sent is dropped.
  virtual Sent send(Bytes row, std::size_t segment) = 0;
  /// The largest IP packet that the way to the backend takes, as far as the kernel knows by now, in octets; 0: it does
  /// not.
  virtual std::size_t path_mtu() const = 0;
};

class BackendUdpEvents {
 public:
  virtual ~BackendUdpEvents() = default;
  /// Datagrams from the backend, laid out as in BackendUdp::send (GRO). Borrowed for the call. May destroy the socket.
  virtual void on_backend_datagrams(Bytes row, std::size_t segment, TimePoint now) = 0;
  /// The kernel got an ICMP error for an earlier datagram: refused, unreachable, or too_large (path_mtu() is smaller
  /// now). May destroy the socket.
  virtual void on_backend_error(SendStatus status, TimePoint now) = 0;
};

/// Events of a TCP socket to a backend. The first is on_connected.
class BackendTcpEvents {
 public:
  virtual ~BackendTcpEvents() = default;
  /// Errors: refused, unreachable, timed_out, else failed for another reason. May destroy the socket.
  virtual void on_connected(Result<void> result, TimePoint now) = 0;
  virtual void on_readable() = 0;
  virtual void on_writable() = 0;
};

class BackendFactory {
 public:
  virtual ~BackendFactory() = default;
  /// `events` must outlive the socket. Errors: exhausted (descriptors), unreachable, io.
  virtual Result<std::unique_ptr<BackendUdp>> connect_udp(const SocketAddress& backend, BackendUdpEvents& events) = 0;
  /// Begins to connect. Destroying the port before on_connected gives up. `timeout` ends in on_connected(timed_out).
  /// Errors: as connect_udp, and refused.
  virtual Result<std::unique_ptr<tunnel::TcpPort>> connect_tcp(const SocketAddress& backend, Duration timeout,
                                                               BackendTcpEvents& events) = 0;
};

}  // namespace ztna::connector
