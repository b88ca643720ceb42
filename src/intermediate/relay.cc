#include "intermediate/relay.h"

#include <algorithm>

#include "wire/routed_datagram.h"

namespace ztna::intermediate {
namespace {

constexpr std::size_t kHeader = wire::RelayDatagram::kHeaderSize;
constexpr Duration kBurst = 100ms;

/// End of the run of segments that carry the same relay header as the first one.
std::size_t end_of_run(Bytes row, std::size_t segment) {
  const auto head = row.first(kHeader);
  std::size_t at = std::min(segment, row.size());
  while (at < row.size()) {
    const auto next = row.subspan(at, std::min(segment, row.size() - at));
    if (next.size() <= kHeader || !std::equal(head.begin(), head.end(), next.begin())) break;
    at += next.size();
  }
  return at;
}

}  // namespace

std::string_view to_string(RelayFate fate) {
  switch (fate) {
    case RelayFate::forwarded: return "forwarded";
    case RelayFate::malformed: return "malformed";
    case RelayFate::unknown_route: return "unknown_route";
    case RelayFate::wrong_source: return "wrong_source";
    case RelayFate::throttled: return "throttled";
    case RelayFate::count_: break;
  }
  return "unknown";
}

std::size_t Relay::forward(const RouteTable::Reader& routes, const SocketAddress& from, MutableBytes row,
                           std::size_t segment, TimePoint now, WorkerUdp& out) {
  const auto first = row.first(std::min(segment, row.size()));
  const auto parsed = wire::RelayDatagram::parse(first);
  if (!parsed) {
    counters_.fates.add(RelayFate::malformed);
    return first.size();
  }
  const auto octets = end_of_run(row, segment);
  const auto run = row.first(octets);
  const std::size_t datagrams = (octets + segment - 1) / segment;
  const auto fate = [&] {
    const auto* end = routes.find(parsed->route);
    if (end == nullptr) return RelayFate::unknown_route;
    if (end->owner.remote != from) return RelayFate::wrong_source;
    if (!within_limit(*end, octets, now)) return RelayFate::throttled;
    const RouteEnd& to = *end->peer;
    for (std::size_t at = 0; at < octets; at += segment) {
      wire::write_relay_header(run.subspan(at).first<kHeader>(), to.id);
    }
    counters_.octets.add(octets);
    out.forward(to.owner.local, to.owner.remote, run, segment);
    return RelayFate::forwarded;
  }();
  counters_.fates.add(fate, datagrams);
  return octets;
}

bool Relay::within_limit(const RouteEnd& end, std::size_t octets, TimePoint now) const {
  if (bytes_per_second_ == 0) return true;
  const auto now_ns = now.time_since_epoch().count();
  const auto cost = static_cast<std::int64_t>(octets * 1'000'000'000ULL / bytes_per_second_);
  const auto paid = std::max(end.paid_until_ns.load(std::memory_order_relaxed), now_ns);
  if (paid - now_ns > Duration{kBurst}.count()) return false;
  end.paid_until_ns.store(paid + cost, std::memory_order_relaxed);
  return true;
}

}  // namespace ztna::intermediate
