// The receiving half of os/udp_socket.h.
// linux/errqueue.h needs timespec.
#include <ctime>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "os/sockaddr.h"
#include "os/udp_message.h"
#include "os/udp_socket.h"

namespace ztna::os {
namespace {

template <typename T>
T control_value(const cmsghdr* header) {
  T value{};
  std::memcpy(&value, CMSG_DATA(header), std::min(sizeof value, header->cmsg_len - CMSG_LEN(0)));
  return value;
}

struct Ancillary {
  std::size_t segment = 0;
  std::optional<std::uint32_t> overflow;  // datagrams dropped since the socket was opened, modulo 2^32
};

Ancillary read_control(msghdr& message, IpAddress& local) {
  Ancillary a;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
      a.segment = static_cast<std::size_t>(std::max(control_value<int>(c), 0));
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      local = IpAddress::v4(ntohl(control_value<in_pktinfo>(c).ipi_addr.s_addr));
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      const auto info = control_value<in6_pktinfo>(c);
      local = IpAddress::v6(std::span<const std::uint8_t, 16>{info.ipi6_addr.s6_addr}).unmapped();
    } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
      a.overflow = control_value<std::uint32_t>(c);
    }
  }
  return a;
}

}  // namespace

ReceiveBuffers::ReceiveBuffers() : impl_(std::make_unique<Impl>()) {
  for (std::size_t i = 0; i < kMessages; ++i) {
    impl_->parts[i] = {impl_->memory.get() + i * Impl::kStride + kHeadroom, kMessageSize};
    msghdr& message = impl_->messages[i].msg_hdr;
    message.msg_iov = &impl_->parts[i];
    message.msg_iovlen = 1;
    message.msg_name = &impl_->addresses[i];
    message.msg_control = impl_->controls[i].octets.data();
  }
}
ReceiveBuffers::~ReceiveBuffers() = default;

ReceiveResult UdpSocket::receive(ReceiveBuffers& buffers) {
  ReceiveBuffers::Impl& b = *buffers.impl_;
  for (auto& m : b.messages) {  // the kernel wrote over these
    m.msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    m.msg_hdr.msg_controllen = sizeof(ReceiveBuffers::Impl::Control);
  }
  int n = 0;
  do {
    n = recvmmsg(fd_.get(), b.messages.data(), ReceiveBuffers::kMessages, 0, nullptr);
  } while (n < 0 && errno == EINTR);
  if (n < 0) {
    IoStatus status = io_status(errno);
    // An unread error queue keeps the descriptor readable for ever.
    const IoStatus queued = icmp_errors_ ? read_error_queue() : IoStatus::would_block;
    if (status == IoStatus::would_block) status = queued;
    if (status != IoStatus::would_block) count_error(status, 1);
    return {{}, status};
  }

  std::size_t kept = 0;
  std::size_t datagrams = 0;
  std::size_t octets = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    msghdr& message = b.messages[i].msg_hdr;
    Received& r = b.received[kept];
    r.local = local_;
    const Ancillary a = read_control(message, r.local.ip);
    if (a.overflow) {
      counts_->add(UdpCount::kernel_drops, *a.overflow - last_overflow_);
      last_overflow_ = *a.overflow;
    }
    const auto from = from_sockaddr(b.addresses[i]);
    if ((message.msg_flags & MSG_TRUNC) != 0 || !from) {
      counts_->add(UdpCount::truncated);
      continue;
    }
    r.from = *from;
    r.data = {static_cast<std::uint8_t*>(b.parts[i].iov_base), b.messages[i].msg_len};
    r.segment = a.segment != 0 ? a.segment : r.data.size();
    datagrams += r.data.size() > r.segment ? (r.data.size() + r.segment - 1) / r.segment : 1;
    octets += r.data.size();
    ++kept;
  }
  counts_->add(UdpCount::datagrams_in, datagrams);
  counts_->add(UdpCount::octets_in, octets);
  return {{b.received.data(), kept}, IoStatus::ok};
}

IoStatus UdpSocket::read_error_queue() {
  IoStatus status = IoStatus::would_block;
  constexpr int kBound = 64;  // more wait for the next round
  for (int i = 0; i < kBound; ++i) {
    std::array<std::uint8_t, 64> quoted{};  // start of our own datagram: not needed
    alignas(cmsghdr) std::array<std::uint8_t, 512> control{};
    iovec part{quoted.data(), quoted.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (recvmsg(fd_.get(), &message, MSG_ERRQUEUE) < 0) break;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      const bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
      const bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
      if (v4 || v6) status = io_status(static_cast<int>(control_value<sock_extended_err>(c).ee_errno));
    }
  }
  return status;
}

}  // namespace ztna::os
