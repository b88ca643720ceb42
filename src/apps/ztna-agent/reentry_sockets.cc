#include "apps/ztna-agent/reentry_sockets.h"

#include <linux/filter.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/log.h"
#include "os/clock.h"

namespace ztna::apps {
namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr Duration kPauseAfterFailure = 100ms;

tunnel::IoResult io_result(os::IoResult result) {
  switch (result.status) {
    case os::IoStatus::ok: return {tunnel::IoStatus::ok, result.octets};
    case os::IoStatus::would_block: return {tunnel::IoStatus::would_block, 0};
    case os::IoStatus::eof: return {tunnel::IoStatus::end_of_stream, 0};
    case os::IoStatus::reset: return {tunnel::IoStatus::reset, 0};
    default: return {tunnel::IoStatus::failed, 0};
  }
}

/// Lets the kernel drop what does not come from the re-entry address before it answers anything. The device alone does
/// not do that: for Linux an IPv6 connection of the host to its own address comes from the address's device, not from
/// lo. Classic BPF, since that needs no privilege.
Result<void> admit_only(int fd, const IpAddress& peer) {
  const std::uint32_t source = static_cast<std::uint32_t>(SKF_NET_OFF) + (peer.is_v4() ? 12U : 8U);  // in the IP header
  const auto octets = peer.octets();
  std::vector<sock_filter> program;
  for (std::size_t at = 0; at < octets.size(); at += 4) {
    const auto word = static_cast<std::uint32_t>(octets[at]) << 24U |
                      static_cast<std::uint32_t>(octets[at + 1]) << 16U |
                      static_cast<std::uint32_t>(octets[at + 2]) << 8U | octets[at + 3];
    const auto words_left = (octets.size() - at) / 4 - 1;
    program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, source + static_cast<std::uint32_t>(at)));
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, word, 0, static_cast<std::uint8_t>(2 * words_left + 1)));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, 0xFFFF'FFFFU));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, 0));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0) {
    return os::fail_errno(errno, "filter of the re-entry listener");
  }
  return {};
}

class AcceptedSocket final : public tunnel::TcpPort {
 public:
  AcceptedSocket(os::EventLoop& loop, os::TcpSocket socket) : socket_(std::move(socket)) {
    watch_ = loop.watch(
        socket_.fd(), [this] { events_->on_readable(); }, [this] { events_->on_writable(); });
    watch_.want_read(false);  // until bind()
  }
  void bind(agent::TcpEvents& events) {
    events_ = &events;
    apply();
  }

  tunnel::IoResult read(MutableBytes into) override { return io_result(socket_.read(into)); }
  tunnel::IoResult write(std::span<const Bytes> blocks) override {
    return io_result(socket_.writev(blocks.first(std::min(blocks.size(), os::TcpSocket::kMaxParts))));
  }
  void shutdown_write() override { socket_.shutdown_write(); }
  void abort() override {
    watch_.reset();
    socket_.abort();
  }
  void want(bool readable, bool writable) override {
    if (readable == readable_ && writable == writable_) return;
    readable_ = readable;
    writable_ = writable;
    apply();
  }

 private:
  void apply() {
    if (events_ == nullptr) return;
    watch_.want_read(readable_);
    watch_.want_write(writable_);
  }

  os::TcpSocket socket_;
  agent::TcpEvents* events_ = nullptr;
  bool readable_ = false;
  bool writable_ = false;
  os::Watch watch_;  // goes before the socket closes
};

}  // namespace

Result<void> ReentrySockets::open(const agent::Addresses& own, const std::string& device) {
  for (const auto family : {Family::v4, Family::v6}) {
    const auto& address = own.tun(family);
    if (!address) continue;
    os::ListenOptions options;
    options.device = device;
    auto listener = os::TcpListener::listen({*address, 0}, options);
    if (!listener) return fail(listener.error());
    if (auto ok = admit_only(listener->fd(), *own.reentry(family)); !ok) return ok;
    listeners_.push_back(std::unique_ptr<Listener>(new Listener{std::move(*listener), {}, nullptr}));
  }
  return {};
}

void ReentrySockets::start(os::EventLoop& loop, agent::Agent& agent) {
  loop_ = &loop;
  agent_ = &agent;
  for (auto& listener : listeners_) {
    auto* l = listener.get();
    agent.set_listener(l->socket.local().ip.family(), l->socket.local().port);
    l->watch = loop.watch(l->socket.fd(), [this, l] { on_acceptable(*l); });
    l->pause = std::make_unique<os::Timer>(loop, [l] { l->watch.want_read(true); });
  }
}

void ReentrySockets::on_acceptable(Listener& listener) {
  for (int turn = 0; turn < kAcceptsPerTurn; ++turn) {
    auto accepted = listener.socket.accept();
    if (accepted.status == os::IoStatus::would_block) return;
    if (accepted.status == os::IoStatus::reset) continue;  // it was gone before we looked
    if (accepted.status != os::IoStatus::ok) {
      // Out of descriptors, most likely: the connection stays in the queue, and asking at once again would only burn
      // the core.
      log::warn("cannot accept a user's connection", {{"why", os::to_string(accepted.status)}});
      listener.watch.want_read(false);
      listener.pause->set(os::now() + kPauseAfterFailure);
      return;
    }
    auto port = std::make_unique<AcceptedSocket>(*loop_, std::move(accepted.socket));
    auto* raw = port.get();
    if (auto* events = agent_->accepted(accepted.peer, std::move(port), os::now())) raw->bind(*events);
  }
}

}  // namespace ztna::apps
