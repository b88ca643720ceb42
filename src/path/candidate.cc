#include "path/candidate.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

#include "path/address_class.h"

namespace ztna::path {
namespace {

using wire::Candidate;
using wire::CandidateKind;

std::uint32_t type_preference(CandidateKind kind) {
  switch (kind) {
    case CandidateKind::host: return 126;
    case CandidateKind::peer_reflexive: return 110;
    case CandidateKind::port_mapped: return 105;
    case CandidateKind::server_reflexive: return 100;
  }
  return 0;
}

/// What no address that we offer may be.
std::optional<NotOffered> unfit(const SocketAddress& address, const GatherInput& in) {
  switch (classify(address.ip)) {
    case AddressClass::usable: break;
    case AddressClass::unspecified: return NotOffered::unspecified;
    case AddressClass::loopback: return NotOffered::loopback;
    case AddressClass::multicast: return NotOffered::multicast;
    case AddressClass::link_local: return NotOffered::link_local;
    case AddressClass::broadcast:
    case AddressClass::reserved: return NotOffered::reserved;
  }
  const bool tunnel = std::ranges::any_of(in.tunnels, [&](const Prefix& p) { return p.contains(address.ip); });
  if (tunnel) return NotOffered::own_tunnel;
  const auto port = address.ip.is_v4() ? in.port_v4 : in.port_v6;
  if (port == 0 || address.port == 0) return NotOffered::no_socket;
  return std::nullopt;
}

bool hidden_by_temporary(const HostAddress& h, const GatherInput& in) {
  if (!h.address.is_v6() || h.temporary) return false;
  return std::ranges::any_of(in.hosts, [&](const HostAddress& t) {
    return t.temporary && !t.deprecated && !t.tentative && t.interface_index == h.interface_index &&
           same_network(t.address, h.address, h.prefix_length);
  });
}

/// Best first; the families take turns, so that a broken one does not hold up the other.
std::vector<HostAddress> ranked(std::vector<HostAddress> hosts) {
  std::ranges::stable_sort(hosts, {}, [](const HostAddress& h) {
    return std::tuple{h.deprecated, h.bridge, !h.default_route, h.interface_index, h.address};
  });
  std::vector<HostAddress> families[2];
  for (auto& h : hosts) families[h.address.is_v4() ? 1 : 0].push_back(std::move(h));
  std::vector<HostAddress> out;
  for (std::size_t i = 0; i < std::max(families[0].size(), families[1].size()); ++i) {
    for (const auto& family : families) {
      if (i < family.size()) out.push_back(family[i]);
    }
  }
  return out;
}

std::uint16_t local_preference(std::size_t rank) {
  return static_cast<std::uint16_t>(65'535 - std::min<std::size_t>(rank, 65'535));
}

}  // namespace

std::string_view to_string(NotOffered reason) {
  switch (reason) {
    case NotOffered::unspecified: return "unspecified";
    case NotOffered::loopback: return "loopback";
    case NotOffered::multicast: return "multicast";
    case NotOffered::link_local: return "link_local";
    case NotOffered::reserved: return "reserved";
    case NotOffered::own_tunnel: return "own_tunnel";
    case NotOffered::no_socket: return "no_socket";
    case NotOffered::tentative: return "tentative";
    case NotOffered::duplicate: return "duplicate";
    case NotOffered::stable_beside_temporary: return "stable_beside_temporary";
    case NotOffered::over_limit: return "over_limit";
    case NotOffered::count_: break;
  }
  return "unknown";
}

std::uint32_t candidate_priority(CandidateKind kind, std::uint16_t preference) {
  return type_preference(kind) << 24 | static_cast<std::uint32_t>(preference) << 8 | 255U;
}

Gathered gather(const GatherInput& in, std::size_t limit) {
  Gathered out;
  const auto refuse = [&](const SocketAddress& a, NotOffered why) { out.refused.push_back({a, why}); };

  struct Ranked {
    Candidate candidate;
    unsigned keep;  // lower is kept first when there are too many
  };
  std::vector<Ranked> all;
  std::set<SocketAddress> seen;
  std::set<SocketAddress> reachable;  // as others say: kept first, whatever we call them
  for (const auto* list : {&in.external, &in.mapped, &in.reflexive}) reachable.insert(list->begin(), list->end());
  const auto add = [&](CandidateKind kind, std::size_t rank, const SocketAddress& a, bool keep) {
    if (const auto why = unfit(a, in)) return refuse(a, *why);
    if (!seen.insert(a).second) return refuse(a, NotOffered::duplicate);
    const unsigned order = reachable.contains(a) ? 0 : keep ? 1 : 2;
    all.push_back({{kind, candidate_priority(kind, local_preference(rank)), a}, order});
  };

  // Better kinds first: a duplicate of a worse one is what is refused.
  std::vector<HostAddress> hosts;
  for (const auto& h : in.hosts) {
    const SocketAddress a{h.address, h.address.is_v4() ? in.port_v4 : in.port_v6};
    if (h.tentative) {
      refuse(a, NotOffered::tentative);
    } else if (hidden_by_temporary(h, in)) {
      refuse(a, NotOffered::stable_beside_temporary);
    } else {
      hosts.push_back(h);
    }
  }
  std::size_t rank = 0;
  std::size_t bridges = 0;
  for (const auto& h : ranked(std::move(hosts))) {
    const SocketAddress a{h.address, h.address.is_v4() ? in.port_v4 : in.port_v6};
    if (h.bridge && ++bridges > kMaxBridges) {
      refuse(a, NotOffered::over_limit);
    } else {
      add(CandidateKind::host, rank++, a, h.default_route);
    }
  }
  rank = 0;
  for (const auto* list : {&in.external, &in.mapped}) {
    for (const auto& a : *list) add(CandidateKind::port_mapped, rank++, a, true);
  }
  rank = 0;
  for (const auto& a : in.reflexive) add(CandidateKind::server_reflexive, rank++, a, true);

  const auto priority = [](const Ranked& r) { return r.candidate.priority; };
  if (all.size() > limit) {
    std::ranges::stable_sort(all, std::ranges::greater{}, priority);
    std::ranges::stable_sort(all, {}, &Ranked::keep);
    for (std::size_t i = limit; i < all.size(); ++i) refuse(all[i].candidate.address, NotOffered::over_limit);
    all.resize(limit);
  }
  std::ranges::stable_sort(all, std::ranges::greater{}, priority);
  for (auto& r : all) out.candidates.push_back(r.candidate);
  return out;
}

std::vector<Candidate> newly_gathered(std::span<const Candidate> before, std::span<const Candidate> now) {
  std::vector<Candidate> out;
  std::ranges::copy_if(now, std::back_inserter(out), [&](const Candidate& c) {
    return std::ranges::find(before, c.address, &Candidate::address) == before.end();
  });
  return out;
}

}  // namespace ztna::path
