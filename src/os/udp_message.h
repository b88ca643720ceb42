// Inside of the UDP sockets: rows of messages for sendmmsg and recvmmsg.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "os/udp_socket.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace ztna::os {

/// Largest UDP payload over IPv4, and what one GSO message may carry in all.
inline constexpr std::size_t kMaxUdpPayload = 65'507;
/// UDP_MAX_SEGMENTS of the oldest kernels that know UDP_SEGMENT.
inline constexpr std::size_t kMaxSegments = 64;

/// Messages being sent. Large (about 20 KiB); its members are set up one by one as they are used.
class MessageRow {
 public:
  static constexpr std::size_t kCapacity = 64;

  MessageRow() {}  // NOLINT: arrays stay uninitialised on purpose

  /// Adds one message; the row must not be full. `segment` below data.size(): with UDP_SEGMENT. `to` null: connected.
  void add(Family family, const SocketAddress* to, const IpAddress& from, Bytes data, std::size_t segment);
  std::size_t size() const { return size_; }
  bool full() const { return size_ == kCapacity; }
  void clear() { size_ = 0; }
  Bytes data(std::size_t i) const { return {static_cast<const std::uint8_t*>(parts_[i].iov_base), parts_[i].iov_len}; }
  std::size_t segment(std::size_t i) const { return segments_[i]; }
  std::size_t datagrams(std::size_t i) const;

  /// sendmmsg from message `first` on. Returns how many were taken, or -1 and errno.
  int send(int fd, std::size_t first);

 private:
  struct alignas(cmsghdr) Control {
    std::array<std::uint8_t, CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(std::uint16_t))> octets;
  };
  std::array<mmsghdr, kCapacity> messages_;
  std::array<iovec, kCapacity> parts_;
  std::array<sockaddr_storage, kCapacity> addresses_;
  std::array<Control, kCapacity> controls_;
  std::array<std::size_t, kCapacity> segments_;
  std::size_t size_ = 0;
};

struct ReceiveBuffers::Impl {
  static constexpr std::size_t kStride = kHeadroom + kMessageSize;
  struct alignas(cmsghdr) Control {
    std::array<std::uint8_t, 192> octets;
  };

  std::unique_ptr<std::uint8_t[]> memory = std::make_unique_for_overwrite<std::uint8_t[]>(kMessages * kStride);
  std::array<mmsghdr, kMessages> messages{};
  std::array<iovec, kMessages> parts{};
  std::array<sockaddr_storage, kMessages> addresses{};
  std::array<Control, kMessages> controls{};
  std::array<Received, kMessages> received{};
};

}  // namespace ztna::os
