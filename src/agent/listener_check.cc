// TcpReentry: does the kernel let TCP re-enter? A SYN of our own, from a port that no flow has. And do packets get to
// services' addresses and back? A SYN of `doctor`, to a port that no service has.
#include <algorithm>

#include "agent/tcp_reentry.h"
#include "wire/ip/checksum.h"
#include "wire/ip/ip_header.h"

namespace ztna::agent {
namespace {

/// `answered`: the sequence number of the SYN that it answers.
ByteVector build_syn(const SocketAddress& from, const SocketAddress& to, std::optional<std::uint32_t> answered = {}) {
  ByteVector segment(20);  // sequence number 0: nobody sees it
  const MutableBytes fields{segment};
  wire::ip::put_u16(fields, from.port);
  wire::ip::put_u16(fields.subspan(2), to.port);
  segment[12] = 0x50;  // five words
  segment[13] = wire::ip::TcpFlags::kSyn;
  if (answered) {
    const auto next = *answered + 1;
    wire::ip::put_u16(fields.subspan(8), static_cast<std::uint16_t>(next >> 16U));
    wire::ip::put_u16(fields.subspan(10), static_cast<std::uint16_t>(next));
    segment[13] |= wire::ip::TcpFlags::kAck;
  }
  wire::ip::put_u16(fields.subspan(14), 64'000);
  const auto sum = wire::ip::upper_layer_checksum(from.ip, to.ip, wire::ip::Protocol::tcp, segment);
  wire::ip::put_u16(fields.subspan(16), sum);
  const auto header = wire::ip::ip_header_size(from.ip.family());
  ByteVector packet(header + segment.size());
  wire::ip::write_ip_header(MutableBytes{packet}.first(header),
                            {.src = from.ip, .dst = to.ip, .protocol = wire::ip::Protocol::tcp}, segment.size());
  std::copy(segment.begin(), segment.end(), packet.begin() + static_cast<std::ptrdiff_t>(header));
  return packet;
}

}  // namespace

void TcpReentry::check_listener(Family family) {
  auto& check = checks_[family == Family::v4 ? 0 : 1];
  const auto& port = listener(family);
  const auto& from = own_.reentry(family);
  const auto& to = own_.tun(family);
  if (!port || !from || !to) return;
  // Another port each time: what the kernel keeps of the last one must not answer.
  check.port = check.port <= kFirstPort / 2 ? static_cast<std::uint16_t>(kFirstPort - 1)
                                            : static_cast<std::uint16_t>(check.port - 1);
  check.answered = false;
  tun_.write({}, build_syn({*from, check.port}, {*to, *port}));
}

TunFate TcpReentry::answer_check(const wire::ip::PacketView& view, const wire::ip::TcpView& tcp) {
  return tun_.write({}, build_syn(view.destination(), view.source(), tcp.seq)) ? TunFate::syn_answered
                                                                               : TunFate::tun_full;
}

std::optional<bool> TcpReentry::listener_answered(Family family) const {
  const auto& check = checks_[family == Family::v4 ? 0 : 1];
  return check.port == 0 ? std::nullopt : std::optional{check.answered};
}

}  // namespace ztna::agent
