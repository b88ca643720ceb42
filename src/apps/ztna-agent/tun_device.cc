#include "apps/ztna-agent/tun_device.h"

#include <algorithm>
#include <utility>

#include "os/tun_segments.h"

namespace ztna::apps {
namespace {

constexpr std::uint8_t kTcp = 6;

/// Only a guess at which packets may stay where they are; agent::PacketGate checks them all.
bool is_tcp(Bytes packet) {
  if (packet.size() < 40) return false;
  return packet[0] >> 4U == 4 ? packet[9] == kTcp : packet[6] == kTcp;
}

agent::PacketOffload to_agent(const os::VirtioNetHeader& header) {
  agent::PacketOffload offload;
  offload.needs_csum = header.needs_checksum();
  offload.data_valid = (header.flags & os::VirtioNetHeader::kDataValid) != 0;
  offload.gso_type = header.gso_type;
  offload.hdr_len = header.hdr_len;
  offload.gso_size = header.gso_size;
  offload.csum_start = header.csum_start;
  offload.csum_offset = header.csum_offset;
  return offload;
}

os::VirtioNetHeader to_os(const agent::PacketOffload& offload) {
  os::VirtioNetHeader header;
  if (offload.needs_csum) {
    header.flags = os::VirtioNetHeader::kNeedsChecksum;
    header.csum_start = offload.csum_start;
    header.csum_offset = offload.csum_offset;
  } else if (offload.data_valid) {
    header.flags = os::VirtioNetHeader::kDataValid;
  }
  header.gso_type = offload.gso_type;
  header.hdr_len = offload.hdr_len;
  header.gso_size = offload.gso_size;
  return header;
}

}  // namespace

void TunDevice::start(os::EventLoop& loop, OnPacket on_packet, std::function<void()> flush,
                      std::function<void()> gone) {
  on_packet_ = std::move(on_packet);
  flush_ = std::move(flush);
  gone_ = std::move(gone);
  watch_ = loop.watch(tun_.fd(), [this] { on_readable(); });
}

void TunDevice::on_readable() {
  for (int turn = 0; turn < kReadsPerTurn; ++turn) {
    const auto read = tun_.read();
    if (read.status == os::IoStatus::failed) {
      watch_.want_read(false);
      gone_();
      return;
    }
    if (read.status != os::IoStatus::ok) return;
    packets_in_.add();
    take(read);
  }
}

MutableBytes TunDevice::room(std::size_t octets) {
  if (used_ + octets > arena_.size()) {
    flush_();
    used_ = 0;
  }
  return MutableBytes{arena_}.subspan(used_, octets);
}

void TunDevice::take(const os::TunPacket& read) {
  if (is_tcp(read.packet)) return on_packet_(to_agent(read.header), read.packet);
  if (read.header.gso() == os::VirtioNetHeader::kGsoNone) {
    const auto copy = room(read.packet.size());
    std::ranges::copy(read.packet, copy.begin());
    used_ += copy.size();
    return on_packet_(to_agent(read.header), copy);
  }
  auto segments = os::TunSegments::of(read.header, read.packet);
  if (!segments) return on_packet_(to_agent(read.header), read.packet);  // counted there as a bad one
  for (;;) {
    const auto space = room(segments->max_size());
    const auto size = segments->next(space);
    if (size == 0) return;
    used_ += size;
    on_packet_({}, space.first(size));
  }
}

bool TunDevice::write(const agent::PacketOffload& offload, Bytes packet) {
  if (tun_.write(to_os(offload), packet) != os::IoStatus::ok) return false;
  packets_out_.add();
  return true;
}

}  // namespace ztna::apps
