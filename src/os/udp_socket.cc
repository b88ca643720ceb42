#include "os/udp_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "os/sockaddr.h"
#include "os/socket_options.h"
#include "os/udp_message.h"

namespace ztna::os {

std::string_view to_string(UdpCount what) {
  switch (what) {
    case UdpCount::datagrams_in: return "datagrams_in";
    case UdpCount::octets_in: return "octets_in";
    case UdpCount::datagrams_out: return "datagrams_out";
    case UdpCount::octets_out: return "octets_out";
    case UdpCount::would_block: return "would_block";
    case UdpCount::too_large: return "too_large";
    case UdpCount::refused: return "refused";
    case UdpCount::unreachable: return "unreachable";
    case UdpCount::denied: return "denied";
    case UdpCount::failed: return "failed";
    case UdpCount::truncated: return "truncated";
    case UdpCount::kernel_drops: return "kernel_drops";
    case UdpCount::gso_fallbacks: return "gso_fallbacks";
    case UdpCount::count_: break;
  }
  return "?";
}

UdpSocket::UdpSocket(UdpSocket&&) noexcept = default;
UdpSocket& UdpSocket::operator=(UdpSocket&&) noexcept = default;
UdpSocket::~UdpSocket() = default;

Result<UdpSocket> UdpSocket::open(Family family, const UdpOptions& options, const std::string& what) {
  UdpSocket s;
  s.family_ = family;
  s.counts_ = std::make_unique<CounterSet<UdpCount>>();
  s.fd_.reset(::socket(family == Family::v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!s.fd_) return fail_errno(errno, "{}", what);
  const int fd = s.fd_.get();
  const bool v6 = family == Family::v6;

  if (v6 && !set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, options.v6_only ? 1 : 0)) {
    return fail_errno(errno, "{}: IPV6_V6ONLY", what);
  }
  if (options.reuse_port && !set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1))
    return fail_errno(errno, "{}: SO_REUSEPORT", what);
  if (!options.device.empty() && !bind_to_device(fd, options.device)) {
    return fail_errno(errno, "{}: device {}", what, options.device);
  }
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options.receive_buffer);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options.send_buffer);
  if (options.packet_info) {
    const bool ok = v6 ? set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
    if (!ok) return fail_errno(errno, "{}: packet info", what);
  }
  if (options.dont_fragment) {
    if (v6) set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    if (!v6 || !options.v6_only) set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  }
  if (options.icmp_errors) {
    const bool ok = v6 ? set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1) : set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    if (!ok) return fail_errno(errno, "{}: ICMP errors", what);
    s.icmp_errors_ = true;
  }
  set_int(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
  int probe = 0;
  socklen_t length = sizeof probe;
  s.gso_ = options.offload.gso && getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &probe, &length) == 0;
  s.gro_ = options.offload.gro && set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
  return s;
}

bool has_family(Family family) {
  const Fd fd{::socket(family == Family::v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  return static_cast<bool>(fd) || errno != EAFNOSUPPORT;
}

Result<UdpSocket> UdpSocket::bind(const SocketAddress& local, UdpOptions options) {
  const std::string what = fmt::format("udp bind {}", to_string(local));
  auto s = open(local.ip.family(), options, what);
  if (!s) return s;
  sockaddr_storage storage{};
  const socklen_t length = to_sockaddr(local, storage);
  if (::bind(s->fd(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) return fail_errno(errno, "{}", what);
  s->local_ = local_address(s->fd());
  return s;
}

Result<UdpSocket> UdpSocket::connect(const SocketAddress& remote, UdpOptions options) {
  const std::string what = fmt::format("udp connect {}", to_string(remote));
  auto s = open(remote.ip.family(), options, what);
  if (!s) return s;
  sockaddr_storage storage{};
  const socklen_t length = to_sockaddr(remote, storage);
  if (::connect(s->fd(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
    return fail_errno(errno, "{}", what);
  }
  s->local_ = local_address(s->fd());
  s->connected_ = true;
  return s;
}

std::size_t UdpSocket::path_mtu() const {
  int mtu = 0;
  socklen_t length = sizeof mtu;
  const bool v6 = family_ == Family::v6;
  if (getsockopt(fd_.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &length) != 0) return 0;
  return static_cast<std::size_t>(std::max(mtu, 0));
}

void UdpSocket::count_error(IoStatus status, std::size_t datagrams) {
  switch (status) {
    case IoStatus::ok:
    case IoStatus::eof: return;
    case IoStatus::would_block: return counts_->add(UdpCount::would_block, datagrams);
    case IoStatus::refused: return counts_->add(UdpCount::refused, datagrams);
    case IoStatus::unreachable: return counts_->add(UdpCount::unreachable, datagrams);
    case IoStatus::too_large: return counts_->add(UdpCount::too_large, datagrams);
    case IoStatus::denied: return counts_->add(UdpCount::denied, datagrams);
    case IoStatus::reset:
    case IoStatus::timed_out:
    case IoStatus::failed: return counts_->add(UdpCount::failed, datagrams);
  }
}

void UdpSocket::count_sent(std::size_t datagrams, std::size_t octets) {
  counts_->add(UdpCount::datagrams_out, datagrams);
  counts_->add(UdpCount::octets_out, octets);
}

void UdpSocket::count_sent(SendResult& result, std::size_t datagrams, std::size_t octets) {
  count_sent(datagrams, octets);
  result.octets += octets;
  result.sent += datagrams;
  result.sent_octets += octets;
}

void UdpSocket::give_up_gso() {
  gso_ = false;
  counts_->add(UdpCount::gso_fallbacks);
}

SendResult UdpSocket::send(const SocketAddress& to, Bytes data, std::size_t segment, const IpAddress& from) {
  if (segment == 0 || segment >= data.size()) segment = std::max<std::size_t>(data.size(), 1);
  if (!gso_ || segment >= data.size()) return send_pieces(to, data, segment, from);

  const std::size_t step = std::clamp<std::size_t>(kMaxUdpPayload / segment, 1, kMaxSegments) * segment;
  SendResult result;
  while (result.octets < data.size()) {
    const Bytes part = data.subspan(result.octets, std::min(step, data.size() - result.octets));
    MessageRow row;
    row.add(family_, connected_ ? nullptr : &to, from, part, segment);
    if (row.send(fd_.get(), 0) == 1) {
      count_sent(result, row.datagrams(0), part.size());
      continue;
    }
    const int err = errno;
    if (err == EINTR) continue;
    if (may_be_gso(err)) {
      const SendResult pieces = send_without_gso(to, part, segment, from, err);
      result.octets += pieces.octets;
      result.sent += pieces.sent;
      result.sent_octets += pieces.sent_octets;
      if (pieces.status == IoStatus::too_large) result.status = pieces.status;
      if (pieces.octets == part.size()) continue;
      result.status = pieces.status;
      return result;
    }
    result.status = io_status(err);
    count_error(result.status, row.datagrams(0));
    return result;
  }
  return result;
}

// EIO: no checksum offload on the way out, a GSO packet cannot be built. EINVAL: among others a segment that exceeds
// the MTU on kernels before 6.14, EMSGSIZE since; the pieces tell which.
bool UdpSocket::may_be_gso(int err) { return err == EIO || err == EINVAL || err == EMSGSIZE; }

SendResult UdpSocket::send_without_gso(const SocketAddress& to, Bytes data, std::size_t segment, const IpAddress& from,
                                       int err) {
  const SendResult pieces = send_pieces(to, data, segment, from);
  const bool fits = pieces.status == IoStatus::ok || pieces.status == IoStatus::would_block;
  if (gso_ && (err == EIO || (err == EINVAL && fits && pieces.octets != 0))) give_up_gso();
  return pieces;
}

SendResult UdpSocket::send_pieces(const SocketAddress& to, Bytes data, std::size_t segment, const IpAddress& from) {
  SendResult result;
  MessageRow row;
  std::size_t next = 0;       // octets put into rows
  std::size_t in_row = 0;     // messages of the row that are handled
  bool empty = data.empty();  // an empty datagram is a datagram
  bool again =
      icmp_errors_;  // the kernel reports an error about an earlier datagram once, in place of sending this one
  while (next < data.size() || empty || in_row < row.size()) {
    if (in_row == row.size()) {
      row.clear();
      in_row = 0;
      while (!row.full() && (next < data.size() || empty)) {
        const Bytes piece = data.subspan(next, std::min(segment, data.size() - next));
        row.add(family_, connected_ ? nullptr : &to, from, piece, 0);
        next += piece.size();
        empty = false;
      }
    }
    const int sent = row.send(fd_.get(), in_row);
    if (sent > 0) {
      std::size_t octets = 0;
      for (int i = 0; i < sent; ++i) octets += row.data(in_row + static_cast<std::size_t>(i)).size();
      count_sent(result, static_cast<std::size_t>(sent), octets);
      in_row += static_cast<std::size_t>(sent);
      continue;
    }
    const int err = errno;
    if (err == EINTR) continue;
    const IoStatus status = io_status(err);
    if (status == IoStatus::too_large && std::exchange(again, false)) continue;
    result.status = status;
    if (status == IoStatus::too_large) {  // this one is lost, the others may be smaller
      count_error(status, 1);
      result.octets += row.data(in_row).size();
      ++in_row;
      continue;
    }
    count_error(status, std::max<std::size_t>((data.size() - result.octets + segment - 1) / segment, 1));
    return result;
  }
  return result;
}

SendBatch::SendBatch() : impl_(std::make_unique<Impl>()) {}
SendBatch::~SendBatch() = default;

struct SendBatch::Impl {
  struct Entry {
    SocketAddress to;
    Bytes data;
    std::size_t segment;
    IpAddress from;
  };
  std::vector<Entry> entries;
  std::vector<std::size_t> owner;  // entry of each message in the row
  MessageRow row;

  /// Sends the row. False: the send buffer is full.
  bool send_row(UdpSocket& socket);
};

void SendBatch::add(const SocketAddress& to, Bytes data, std::size_t segment, const IpAddress& from) {
  if (segment == 0 || segment >= data.size()) segment = std::max<std::size_t>(data.size(), 1);
  impl_->entries.push_back({to, data, segment, from});
}

std::size_t SendBatch::size() const { return impl_->entries.size(); }

bool SendBatch::Impl::send_row(UdpSocket& socket) {
  std::size_t first = 0;
  bool room = true;
  while (first < row.size()) {
    const int sent = room ? row.send(socket.fd(), first) : -1;
    if (sent > 0) {
      for (int i = 0; i < sent; ++i, ++first) socket.count_sent(row.datagrams(first), row.data(first).size());
      continue;
    }
    const int err = room ? errno : EAGAIN;
    if (err == EINTR) continue;
    const Entry& entry = entries[owner[first]];
    const bool gso = row.datagrams(first) > 1;
    if (gso && UdpSocket::may_be_gso(err)) {
      room = socket.send_without_gso(entry.to, row.data(first), entry.segment, entry.from, err).status !=
             IoStatus::would_block;
    } else {
      const IoStatus status = io_status(err);
      socket.count_error(status, row.datagrams(first));
      room = status != IoStatus::would_block;
    }
    ++first;
  }
  row.clear();
  owner.clear();
  return room;
}

IoStatus SendBatch::flush(UdpSocket& socket) {
  Impl& b = *impl_;
  IoStatus status = IoStatus::ok;
  for (std::size_t e = 0; e < b.entries.size(); ++e) {
    const Impl::Entry& entry = b.entries[e];
    const std::size_t per_message =
        socket.gso() ? std::clamp<std::size_t>(kMaxUdpPayload / entry.segment, 1, kMaxSegments) : 1;
    const std::size_t step = per_message * entry.segment;
    std::size_t at = 0;
    do {
      const Bytes part = entry.data.subspan(at, std::min(step, entry.data.size() - at));
      b.row.add(socket.family_, socket.connected_ ? nullptr : &entry.to, entry.from, part, entry.segment);
      b.owner.push_back(e);
      at += part.size();
      if (b.row.full() && !b.send_row(socket)) status = IoStatus::would_block;
    } while (at < entry.data.size());
  }
  if (b.row.size() != 0 && !b.send_row(socket)) status = IoStatus::would_block;
  b.entries.clear();
  return status;
}

}  // namespace ztna::os
