#include "agent/reassembly.h"

#include <algorithm>

#include "wire/ip/checksum.h"
#include "wire/ip/protocol.h"

namespace ztna::agent {
namespace {

constexpr std::size_t kIpv6Header = 40;
constexpr std::size_t kFragmentHeader = 8;

void put_u16(ByteVector& out, std::size_t at, std::size_t value) {
  out[at] = static_cast<std::uint8_t>(value >> 8U);
  out[at + 1] = static_cast<std::uint8_t>(value);
}

}  // namespace

std::string_view to_string(ReassemblyFate fate) {
  switch (fate) {
    case ReassemblyFate::joined: return "joined";
    case ReassemblyFate::overlap: return "overlap";
    case ReassemblyFate::timeout: return "timeout";
    case ReassemblyFate::overflow: return "overflow";
    case ReassemblyFate::count_: break;
  }
  return "unknown";
}

Reassembly::Outcome Reassembly::add(const wire::ip::PacketView& view, TimePoint now) {
  const bool v6 = view.family == Family::v6;
  // The kernel puts the fragment header right behind the IPv6 header; whoever does not is not served.
  if (v6 && view.fragment_header != kIpv6Header) return {TunFate::bad_header, {}};
  const std::size_t header_size = v6 ? kIpv6Header : view.header_size;
  const Bytes part = view.packet.subspan(v6 ? kIpv6Header + kFragmentHeader : view.header_size);
  const std::size_t begin = view.fragment.offset;
  const std::size_t end = begin + part.size();
  if (part.empty() || end + (v6 ? 0 : header_size) > 65'535) return {TunFate::bad_fragment, {}};

  const std::uint8_t protocol =
      v6 ? std::uint8_t{0} : static_cast<std::uint8_t>(view.protocol);  // RFC 8200: not in the key
  const Key key{view.src, view.dst, view.fragment.id, protocol};
  if (part.size() > kMaxOctets) return {TunFate::fragment_overflow, {}};
  make_room(part.size(), key);
  auto [it, is_new] = waiting_.try_emplace(key);
  auto& w = it->second;
  if (is_new) w.begun = now;
  if (w.is_void) return {TunFate::fragment_overlap, {}};

  const bool last = !view.fragment.more;
  const auto next = w.ranges.lower_bound(begin);
  const bool overlap =
      (next != w.ranges.end() && next->first < end) || (next != w.ranges.begin() && std::prev(next)->second > begin) ||
      (w.total && (end > *w.total || last)) || (last && !w.ranges.empty() && w.ranges.rbegin()->second > end);
  if (overlap) {
    fates_.add(ReassemblyFate::overlap);
    octets_ -= w.octets.size();
    w.octets = {};
    w.ranges.clear();
    w.is_void = true;  // stays until its time is over, so that the rest dies too
    return {TunFate::fragment_overlap, {}};
  }
  if (w.octets.size() < end) {
    octets_ += end - w.octets.size();
    w.octets.resize(end);
  }
  std::ranges::copy(part, w.octets.begin() + static_cast<std::ptrdiff_t>(begin));
  w.ranges.emplace(begin, end);
  w.received += end - begin;
  if (last) w.total = end;
  if (begin == 0) {
    const auto header = view.packet.first(header_size);
    w.header.assign(header.begin(), header.end());
    if (v6) w.next_header = view.packet[kIpv6Header];
  }

  if (!w.total || w.received != *w.total) return {};  // nothing overlaps
  Outcome outcome{TunFate::fragment_kept, join(w, view.family)};
  if (outcome.whole.empty()) outcome.fate = TunFate::bad_fragment;
  forget(it, outcome.whole.empty() ? ReassemblyFate::overlap : ReassemblyFate::joined);
  return outcome;
}

ByteVector Reassembly::join(Waiting& w, Family family) {
  ByteVector whole;
  const std::size_t size = w.header.size() + w.octets.size();
  if (family == Family::v4) {
    if (size > 65'535) return whole;  // the first fragment's header is longer than the others'
    put_u16(w.header, 2, size);
    put_u16(w.header, 6, 0);
    put_u16(w.header, 10, 0);
    put_u16(w.header, 10, wire::ip::checksum(w.header));
  } else {
    keep_fragment_header(w);
  }
  whole.reserve(w.header.size() + w.octets.size());
  whole.insert(whole.end(), w.header.begin(), w.header.end());
  whole.insert(whole.end(), w.octets.begin(), w.octets.end());
  return whole;
}

/// A fragment header with nothing before and nothing after it (RFC 6946) tells the Connector that the sender does cut
/// its packets, so that they may be cut behind it, too. TCP goes no further than the kernel.
void Reassembly::keep_fragment_header(Waiting& w) {
  const bool tcp = w.next_header == static_cast<std::uint8_t>(wire::ip::Protocol::tcp);
  const bool fits = w.octets.size() + kFragmentHeader <= 65'535;
  if (!fits || tcp) {
    put_u16(w.header, 4, w.octets.size());
    w.header[6] = w.next_header;
    return;
  }
  put_u16(w.header, 4, w.octets.size() + kFragmentHeader);
  w.header[6] = static_cast<std::uint8_t>(wire::ip::Protocol::fragment);
  w.header.insert(w.header.end(), {w.next_header, 0, 0, 0, 0, 0, 0, 0});
}

void Reassembly::make_room(std::size_t octets, const Key& keep) {
  // A fragment can make its datagram grow to its end; 64 KiB more is the most that one adds.
  const auto full = [&] {
    return octets_ + std::max<std::size_t>(octets, 65'536) > kMaxOctets ||
           (waiting_.size() >= kMaxDatagrams && !waiting_.contains(keep));
  };
  while (!waiting_.empty() && full()) {
    const auto oldest = std::ranges::min_element(waiting_, {}, [](const auto& entry) { return entry.second.begun; });
    forget(oldest, ReassemblyFate::overflow);
  }
}

void Reassembly::forget(Map::iterator which, ReassemblyFate fate) {
  if (!which->second.is_void) fates_.add(fate);  // a void one was counted when it became void
  octets_ -= which->second.octets.size();
  waiting_.erase(which);
}

void Reassembly::expire(TimePoint now) {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    const auto which = it++;
    if (now - which->second.begun >= kTimeout) forget(which, ReassemblyFate::timeout);
  }
}

TimePoint Reassembly::deadline() const {
  TimePoint first = kNever;
  for (const auto& [key, w] : waiting_) first = std::min(first, w.begun + kTimeout);
  return first;
}

}  // namespace ztna::agent
