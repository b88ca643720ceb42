#include "apps/common/udp_sockets.h"

#include <array>
#include <utility>

#include "base/log.h"
#include "os/clock.h"

namespace ztna::apps {
namespace {

constexpr int kReceivesPerTurn = 4;  // of up to 16 super-packets each; then timers and backends get a turn

}  // namespace

Result<void> UdpSockets::open(const UdpSocketsOptions& wanted) {
  os::UdpOptions options;
  options.receive_buffer = options.send_buffer = wanted.buffer_bytes;
  options.packet_info = false;  // one address to the peer: the kernel's choice
  options.offload = wanted.offload;
  auto v4 = os::UdpSocket::bind({IpAddress{}, wanted.port}, options);
  if (!v4) return fail(v4.error());
  sockets_.push_back(std::make_unique<Socket>(std::move(*v4)));
  const IpAddress any_v6 = IpAddress::v6(std::array<std::uint8_t, 16>{});
  auto v6 = os::UdpSocket::bind({any_v6, port()}, options);
  if (v6) {
    sockets_.push_back(std::make_unique<Socket>(std::move(*v6)));
  } else if (v6.error().code == Errc::conflict) {
    return fail(v6.error());
  } else {
    log::info("no IPv6 on this host", {{"why", v6.error().text}});
  }
  return {};
}

void UdpSockets::start(os::EventLoop& loop, os::ReceiveBuffers& buffers, OnRow on_row) {
  buffers_ = &buffers;
  on_row_ = std::move(on_row);
  for (auto& socket : sockets_) {
    auto* s = socket.get();
    s->watch = loop.watch(
        s->udp.fd(), [this, s] { on_readable(*s); },
        [this, s] {
          s->watch.want_write(false);
          blocked_ = false;  // the end of the round flushes
        });
  }
}

void UdpSockets::on_readable(Socket& socket) {
  const auto now = os::now();
  for (int turn = 0; turn < kReceivesPerTurn; ++turn) {
    const auto got = socket.udp.receive(*buffers_);
    for (const auto& row : got.datagrams) on_row_(row.from, row.data, row.segment, now);
    if (got.status == os::IoStatus::would_block || got.datagrams.size() < os::ReceiveBuffers::kMessages) break;
  }
}

void UdpSockets::send(const SocketAddress& to, Bytes row, std::size_t segment) {
  if (to.ip.is_v6() && !has_v6()) return;  // a name that resolved to IPv6 on a host without: the next address is tried
  auto& socket = to.ip.is_v6() ? *sockets_[1] : *sockets_[0];
  if (socket.udp.send(to, row, segment).status == os::IoStatus::would_block) {
    blocked_ = true;
    socket.watch.want_write(true);
  }
}

std::uint64_t UdpSockets::kernel_drops() const {
  std::uint64_t sum = 0;
  for (const auto& socket : sockets_) sum += socket->udp.counts().value(os::UdpCount::kernel_drops);
  return sum;
}

std::uint64_t UdpSockets::send_drops() const {
  std::uint64_t sum = 0;
  for (const auto& socket : sockets_) {
    const auto& counts = socket->udp.counts();
    for (const auto what : {os::UdpCount::would_block, os::UdpCount::too_large, os::UdpCount::refused,
                            os::UdpCount::unreachable, os::UdpCount::denied, os::UdpCount::failed}) {
      sum += counts.value(what);
    }
  }
  return sum;
}

}  // namespace ztna::apps
