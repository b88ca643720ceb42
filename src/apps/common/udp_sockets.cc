#include "apps/common/udp_sockets.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"
#include "os/clock.h"

namespace ztna::apps {
namespace {

constexpr int kReceivesPerTurn = 4;  // of up to 16 super-packets each; then timers and backends get a turn

os::UdpOptions udp_options(const UdpSocketsOptions& wanted) {
  os::UdpOptions options;
  options.receive_buffer = options.send_buffer = wanted.buffer_bytes;
  options.packet_info = false;  // one address to the peer: the kernel's choice
  options.offload = wanted.offload;
  return options;
}

std::uint64_t kernel_drops_of(const os::UdpSocket& socket) { return socket.counts().value(os::UdpCount::kernel_drops); }

std::uint64_t send_drops_of(const os::UdpSocket& socket) {
  const auto& counts = socket.counts();
  std::uint64_t sum = 0;
  for (const auto what : {os::UdpCount::would_block, os::UdpCount::too_large, os::UdpCount::refused,
                          os::UdpCount::unreachable, os::UdpCount::denied, os::UdpCount::failed}) {
    sum += counts.value(what);
  }
  return sum;
}

}  // namespace

Result<void> UdpSockets::open(const UdpSocketsOptions& wanted) {
  options_ = wanted;
  auto v4 = os::UdpSocket::bind({IpAddress{}, wanted.port}, udp_options(wanted));
  if (!v4) return fail(v4.error());
  sockets_.push_back(std::make_shared<Socket>(tunnel::kMainSocket, std::move(*v4)));
  const IpAddress any_v6 = IpAddress::v6(std::array<std::uint8_t, 16>{});
  auto v6 = os::UdpSocket::bind({any_v6, port()}, udp_options(wanted));
  if (v6) {
    sockets_.push_back(std::make_shared<Socket>(tunnel::kMainSocket, std::move(*v6)));
  } else if (v6.error().code == Errc::conflict) {
    return fail(v6.error());
  } else {
    log::info("no IPv6 on this host", {{"why", v6.error().text}});
  }
  return {};
}

void UdpSockets::start(os::EventLoop& loop, os::ReceiveBuffers& buffers, OnRow on_row) {
  loop_ = &loop;
  buffers_ = &buffers;
  on_row_ = std::move(on_row);
  for (const auto& socket : sockets_) watch(socket);
}

void UdpSockets::watch(const SocketPtr& socket) {
  const std::weak_ptr<Socket> weak = socket;
  socket->watch = loop_->watch(
      socket->udp.fd(),
      [this, weak] {
        if (const auto s = weak.lock()) on_readable(*s);
      },
      [this, weak] {
        if (const auto s = weak.lock()) s->watch.want_write(false);
        blocked_ = false;  // the end of the round flushes
      });
}

void UdpSockets::on_readable(Socket& socket) {
  const auto now = os::now();
  for (int turn = 0; turn < kReceivesPerTurn && socket.watch; ++turn) {
    const auto got = socket.udp.receive(*buffers_);
    for (const auto& row : got.datagrams) on_row_(socket.id, row.from, row.data, row.segment, now);
    if (got.status == os::IoStatus::would_block || got.datagrams.size() < os::ReceiveBuffers::kMessages) break;
  }
}

void UdpSockets::send(const SocketAddress& to, Bytes row, std::size_t segment) {
  if (to.ip.is_v6() && !has_v6()) return;  // a name that resolved to IPv6 on a host without: the next address is tried
  if (!routes_.empty()) {
    if (const auto routed = routes_.find(to); routed != routes_.end())
      return send_by(*routed->second, to, row, segment);
  }
  send_by(to.ip.is_v6() ? *sockets_[1] : *sockets_[0], to, row, segment);
}

void UdpSockets::send_by(Socket& socket, const SocketAddress& to, Bytes row, std::size_t segment) {
  if (socket.udp.send(to, row, segment).status == os::IoStatus::would_block) {
    blocked_ = true;
    socket.watch.want_write(true);
  }
}

// -- side sockets ----------------------------------------------------------------------------------------------------

std::vector<tunnel::SocketId> UdpSockets::open_side(unsigned count) {
  std::vector<tunnel::SocketId> opened;
  if (loop_ == nullptr) return opened;
  for (unsigned i = 0; i < count; ++i) {
    auto udp = os::UdpSocket::bind({IpAddress{}, 0}, udp_options(options_));
    if (!udp) {
      log::info("fewer sockets for a birthday search", {{"wanted", count}, {"opened", i}, {"why", udp.error().text}});
      for (std::size_t back = std::min(kSpare, opened.size() / 2); back > 0; --back) {
        close_side(opened.back());
        opened.pop_back();
      }
      break;
    }
    const auto socket = std::make_shared<Socket>(++last_id_, std::move(*udp));
    {
      const std::lock_guard lock{side_mutex_};
      side_.emplace(socket->id, socket);
    }
    watch(socket);
    opened.push_back(socket->id);
  }
  return opened;
}

void UdpSockets::send_from(tunnel::SocketId socket, const SocketAddress& to, Bytes payload) {
  // A probe that is not taken is lost, as on the way: it does not stop the tunnels' packets.
  if (const auto found = side_.find(socket); found != side_.end()) found->second->udp.send(to, payload, payload.size());
}

void UdpSockets::route(tunnel::SocketId socket, const SocketAddress& remote) {
  if (const auto found = side_.find(socket); found != side_.end()) routes_[remote] = found->second;
}

void UdpSockets::close_side(tunnel::SocketId socket) {
  const auto found = side_.find(socket);
  if (found == side_.end()) return;
  std::erase_if(routes_, [&](const auto& entry) { return entry.second == found->second; });
  found->second->watch.reset();
  blocked_ = false;  // perhaps it was this one; if another, the next send tells
  const std::lock_guard lock{side_mutex_};
  closed_kernel_drops_ += kernel_drops_of(found->second->udp);
  closed_send_drops_ += send_drops_of(found->second->udp);
  side_.erase(found);
}

std::uint64_t UdpSockets::kernel_drops() const {
  const std::lock_guard lock{side_mutex_};
  auto sum = closed_kernel_drops_;
  for (const auto& socket : sockets_) sum += kernel_drops_of(socket->udp);
  for (const auto& [id, socket] : side_) sum += kernel_drops_of(socket->udp);
  return sum;
}

std::uint64_t UdpSockets::send_drops() const {
  const std::lock_guard lock{side_mutex_};
  auto sum = closed_send_drops_;
  for (const auto& socket : sockets_) sum += send_drops_of(socket->udp);
  for (const auto& [id, socket] : side_) sum += send_drops_of(socket->udp);
  return sum;
}

}  // namespace ztna::apps
