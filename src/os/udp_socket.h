// Non-blocking UDP with batches (recvmmsg, sendmmsg), GSO and GRO.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/counters.h"
#include "base/result.h"
#include "os/fd.h"
#include "os/io_status.h"
#include "os/offload.h"

namespace ztna::os {

/// Whether the kernel has the family at all (an administrator may have left IPv6 out).
bool has_family(Family family);

/// What happened on a socket since it was opened. Thread safe to read.
enum class UdpCount : std::uint8_t {
  datagrams_in,  // UDP datagrams given to the caller (each segment of a GRO batch counts)
  octets_in,
  datagrams_out,  // accepted by the kernel
  octets_out,
  would_block,  // datagrams not taken because the send buffer was full
  too_large,    // EMSGSIZE
  refused,      // ECONNREFUSED
  unreachable,
  denied,         // EPERM: a local firewall
  failed,         // any other error on send
  truncated,      // received datagrams larger than a buffer: dropped
  kernel_drops,   // datagrams the kernel dropped because the receive buffer was full (SO_RXQ_OVFL)
  gso_fallbacks,  // times that GSO was given up on this socket
  count_
};
std::string_view to_string(UdpCount what);

struct UdpOptions {
  bool reuse_port = false;
  bool v6_only = true;  // IPv6 sockets only
  std::size_t receive_buffer =
      4U << 20U;  // octets; SO_RCVBUFFORCE, else as much as SO_RCVBUF gives. 0: kernel's default
  std::size_t send_buffer = 4U << 20U;
  bool packet_info = true;    // tells the local address of each datagram; needed for a wildcard bind
  bool dont_fragment = true;  // IP_MTU_DISCOVER = IP_PMTUDISC_PROBE: DF set, path MTU cache ignored (QUIC does PMTUD).
                              // Off for backend flows: their datagrams may need IP fragments
  bool icmp_errors = false;   // IP_RECVERR: receive() tells refused from unreachable (connected sockets)
  std::string device;         // SO_BINDTODEVICE; empty: any
  OffloadOptions offload;
};

/// One received datagram, or with GRO several in a row from one sender. Valid until the next receive with the same
/// buffers.
struct Received {
  SocketAddress from;
  SocketAddress local;  // address from packet info when on, else the bound one; port: the bound one
  MutableBytes data;
  std::size_t segment = 0;  // octets of each datagram in `data`, the last may be shorter; >= data.size(): just one
  /// Calls `fn(MutableBytes)` for each datagram (also for an empty one).
  template <typename Fn>
  void for_each(Fn&& fn) const {
    if (segment == 0 || segment >= data.size()) return fn(data);
    for (std::size_t at = 0; at < data.size(); at += segment) fn(data.subspan(at, std::min(segment, data.size() - at)));
  }
};

/// Receive memory that all sockets of one loop share: kMessages x 64 KiB.
class ReceiveBuffers {
 public:
  static constexpr std::size_t kMessages = 16;
  static constexpr std::size_t kMessageSize = 65'536;
  /// Octets before each datagram that the reader may write into.
  static constexpr std::size_t kHeadroom = 64;

  ReceiveBuffers();
  ~ReceiveBuffers();
  ReceiveBuffers(const ReceiveBuffers&) = delete;
  ReceiveBuffers& operator=(const ReceiveBuffers&) = delete;

 private:
  friend class UdpSocket;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Outcome of UdpSocket::receive.
struct ReceiveResult {
  std::span<const Received> datagrams;  // borrowed from the ReceiveBuffers
  /// ok: there may be more, call again (bounded) or wait; would_block: drained. refused, unreachable, ...: an ICMP
  /// error came in for an earlier send of this socket (icmp_errors, or connected); the socket goes on working.
  IoStatus status = IoStatus::ok;
};

/// Outcome of UdpSocket::send. Not fatal, whatever it is: the datagrams that were not taken are the caller's to drop or
/// to keep.
struct SendResult {
  IoStatus status = IoStatus::ok;
  std::size_t octets =
      0;  // of `data` handled: taken by the kernel, or dropped as too large; below data.size() only if not ok
  std::size_t sent = 0;         // datagrams taken by the kernel
  std::size_t sent_octets = 0;  // their payload
};

/// Errors of the factories: conflict (port taken), denied, invalid_argument (no such address or device), io; the text
/// names the address.
class UdpSocket {
 public:
  static Result<UdpSocket> bind(const SocketAddress& local, UdpOptions options = {});
  /// A socket that talks to `remote` only; the kernel chooses the local address and port. Also: unreachable.
  static Result<UdpSocket> connect(const SocketAddress& remote, UdpOptions options = {});

  UdpSocket(UdpSocket&&) noexcept;
  UdpSocket& operator=(UdpSocket&&) noexcept;
  ~UdpSocket();

  int fd() const { return fd_.get(); }
  /// As bound, with the port that the kernel chose.
  const SocketAddress& local() const { return local_; }
  bool gso() const { return gso_; }
  bool gro() const { return gro_; }
  /// The largest IP packet that the way to the remote address takes, as far as the kernel knows by now, in octets
  /// (IP_MTU). 0: not connected, or no way.
  std::size_t path_mtu() const;

  /// One recvmmsg: up to ReceiveBuffers::kMessages messages. Reads an ICMP error, if one waits, first.
  ReceiveResult receive(ReceiveBuffers& buffers);

  /// Sends `data` as datagrams of `segment` octets, the last may be shorter (0 or >= size: one datagram, possibly
  /// empty). `from`: source address on a wildcard-bound socket; unspecified: the kernel chooses. On a connected socket
  /// `to` is ignored. would_block: the first `octets` are gone, the rest is not; ask for on_writable, or drop.
  /// too_large: some datagrams exceeded the MTU; they were dropped and counted, the others are sent. An ICMP error
  /// about an earlier datagram's size drops none (icmp_errors).
  SendResult send(const SocketAddress& to, Bytes data, std::size_t segment = 0, const IpAddress& from = {});

  const CounterSet<UdpCount>& counts() const { return *counts_; }

 private:
  friend class SendBatch;
  UdpSocket() = default;
  static Result<UdpSocket> open(Family family, const UdpOptions& options, const std::string& what);
  SendResult send_pieces(const SocketAddress& to, Bytes data, std::size_t segment, const IpAddress& from);
  SendResult send_without_gso(const SocketAddress& to, Bytes data, std::size_t segment, const IpAddress& from, int err);
  static bool may_be_gso(int err);
  void give_up_gso();
  void count_sent(std::size_t datagrams, std::size_t octets);
  void count_sent(SendResult& result, std::size_t datagrams, std::size_t octets);
  void count_error(IoStatus status, std::size_t datagrams);
  IoStatus read_error_queue();

  Fd fd_;
  Family family_ = Family::v4;
  SocketAddress local_;
  bool connected_ = false;
  bool icmp_errors_ = false;
  bool gso_ = false;
  bool gro_ = false;
  std::uint32_t last_overflow_ = 0;
  std::unique_ptr<CounterSet<UdpCount>> counts_;  // stays in place when the socket is moved
};

/// Datagrams for many destinations, sent with few system calls (sendmmsg, each message with its own UDP_SEGMENT).
/// Reusable; no allocation once it has grown.
class SendBatch {
 public:
  SendBatch();
  ~SendBatch();
  SendBatch(const SendBatch&) = delete;
  SendBatch& operator=(const SendBatch&) = delete;

  /// As UdpSocket::send. `data` is borrowed until flush() returns.
  void add(const SocketAddress& to, Bytes data, std::size_t segment = 0, const IpAddress& from = {});
  std::size_t size() const;
  bool empty() const { return size() == 0; }
  /// Sends everything that the kernel takes, drops and counts the rest (on `socket`), and is empty afterwards. Returns
  /// would_block if the send buffer was full, else ok: outcomes for single destinations are only counted.
  IoStatus flush(UdpSocket& socket);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ztna::os
