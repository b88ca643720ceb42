#include "tunnel/datagram_channel.h"

#include <algorithm>
#include <array>
#include <optional>

#include "wire/tunnel_datagram.h"

namespace ztna::tunnel {

std::string_view to_string(DatagramFate fate) {
  switch (fate) {
    case DatagramFate::sent: return "sent";
    case DatagramFate::sent_split: return "sent_split";
    case DatagramFate::queue_full: return "queue_full";
    case DatagramFate::send_failed: return "send_failed";
    case DatagramFate::received: return "received";
    case DatagramFate::received_joined: return "received_joined";
    case DatagramFate::malformed: return "malformed";
    case DatagramFate::join_overlap: return "join_overlap";
    case DatagramFate::join_timeout: return "join_timeout";
    case DatagramFate::join_overflow: return "join_overflow";
    case DatagramFate::count_: break;
  }
  return "unknown";
}

DatagramFate DatagramChannel::send(wire::ServiceHandle service, Bytes packet) {
  const auto count = [this](DatagramFate fate) {
    fates_.add(fate);
    return fate;
  };
  const auto outcome = [](const Result<void>& r, DatagramFate ok) {
    if (r) return ok;
    return r.error().code == Errc::exhausted ? DatagramFate::queue_full : DatagramFate::send_failed;
  };
  if (packet.empty() || packet.size() + wire::TunnelDatagram::kHeaderSize > wire::SplitPart::kMaxJoined)
    return count(DatagramFate::send_failed);

  std::array<std::uint8_t, wire::SplitPart::kHeaderSize + wire::TunnelDatagram::kHeaderSize> head{};
  const std::size_t fits = connection_.max_datagram();
  if (packet.size() + wire::TunnelDatagram::kHeaderSize <= fits) {
    const auto tunnel_header = MutableBytes{head}.first<wire::TunnelDatagram::kHeaderSize>();
    wire::write_tunnel_header(tunnel_header, service);
    return count(outcome(connection_.send_datagram(tunnel_header, packet), DatagramFate::sent));
  }

  // A row of parts, each but the last a multiple of 8 octets (protocol.md 4.1). The tunnel header is the row's
  // beginning.
  if (fits < wire::SplitPart::kHeaderSize + wire::TunnelDatagram::kHeaderSize + 64)
    return count(DatagramFate::send_failed);
  const std::size_t step = (fits - wire::SplitPart::kHeaderSize) / 8 * 8;
  const std::size_t row = wire::TunnelDatagram::kHeaderSize + packet.size();
  const std::uint16_t id = next_packet_id_++;
  constexpr std::size_t kLastOffset = 65'528;  // 13 bits of 8 octets
  std::size_t end = 0;
  for (std::size_t at = 0; at < row; at = end) {
    end = std::min(row, at + step);
    if (end > kLastOffset && end < row) end = kLastOffset;
    wire::write_split_header(MutableBytes{head}.first<wire::SplitPart::kHeaderSize>(), id,
                             static_cast<std::uint32_t>(at), end < row);
    std::size_t head_size = wire::SplitPart::kHeaderSize;
    std::size_t begin = at;  // in the packet
    if (at == 0) {
      wire::write_tunnel_header(MutableBytes{head}.last<wire::TunnelDatagram::kHeaderSize>(), service);
      head_size += wire::TunnelDatagram::kHeaderSize;
    } else {
      begin = at - wire::TunnelDatagram::kHeaderSize;
    }
    const auto body = packet.subspan(begin, end - wire::TunnelDatagram::kHeaderSize - begin);
    const auto fate = outcome(connection_.send_datagram(Bytes{head}.first(head_size), body), DatagramFate::sent_split);
    if (fate != DatagramFate::sent_split) return count(fate);  // the rest would be of no use
  }
  return count(DatagramFate::sent_split);
}

std::optional<DatagramChannel::Received> DatagramChannel::receive(Bytes payload, TimePoint now) {
  if (!payload.empty() && payload[0] == wire::kSplitPartType) return receive_part(payload, now);
  return whole(payload, DatagramFate::received);
}

std::optional<DatagramChannel::Received> DatagramChannel::whole(Bytes row, DatagramFate fate) {
  const auto datagram = wire::TunnelDatagram::parse(row);
  fates_.add(datagram ? fate : DatagramFate::malformed);
  if (!datagram) return std::nullopt;
  return Received{datagram->handle, datagram->packet};
}

std::optional<DatagramChannel::Received> DatagramChannel::receive_part(Bytes payload, TimePoint now) {
  const auto part = wire::SplitPart::parse(payload);
  if (!part) {
    fates_.add(DatagramFate::malformed);
    return std::nullopt;
  }
  const auto id = part->packet_id;
  const bool more = part->more;
  const std::size_t begin = part->offset;
  const std::size_t end = begin + part->part.size();

  auto found = unfinished_.find(id);
  if (found == unfinished_.end()) {
    if (unfinished_.size() >= kMaxUnfinished) {
      const auto oldest = std::ranges::min_element(unfinished_, {}, [](const auto& e) { return e.second.begun; });
      unfinished_.erase(oldest);
      fates_.add(DatagramFate::join_overflow);
    }
    found = unfinished_.try_emplace(id).first;
    found->second.begun = now;
  }
  auto& u = found->second;
  if (u.void_by_overlap) return std::nullopt;  // counted when it became void; forgotten by expire()

  const auto next = u.ranges.lower_bound(begin);
  const bool overlap =
      (next != u.ranges.end() && next->first < end) || (next != u.ranges.begin() && std::prev(next)->second > begin) ||
      (u.total != 0 && (end > u.total || !more)) || (!more && !u.ranges.empty() && u.ranges.rbegin()->second > end);
  if (overlap) {
    fates_.add(DatagramFate::join_overlap);
    u.void_by_overlap = true;
    u.octets = {};
    u.ranges.clear();
    return std::nullopt;
  }
  if (u.octets.size() < end) u.octets.resize(end);
  std::ranges::copy(part->part, u.octets.begin() + static_cast<std::ptrdiff_t>(begin));
  u.ranges.emplace(begin, end);
  u.received += end - begin;
  if (!more) u.total = end;
  if (u.total == 0 || u.received != u.total) return std::nullopt;  // nothing overlaps
  joined_ = std::move(u.octets);
  unfinished_.erase(found);
  return whole(joined_, DatagramFate::received_joined);
}

void DatagramChannel::expire(TimePoint now) {
  std::erase_if(unfinished_, [&](const auto& entry) {
    if (now - entry.second.begun < kJoinTimeout) return false;
    if (!entry.second.void_by_overlap) fates_.add(DatagramFate::join_timeout);
    return true;
  });
}

}  // namespace ztna::tunnel
