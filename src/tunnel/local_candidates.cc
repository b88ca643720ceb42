#include "tunnel/local_candidates.h"

#include <algorithm>
#include <utility>

namespace ztna::tunnel {
namespace {

template <typename T>
void add_once(std::vector<T>& list, const T& item) {
  if (std::ranges::find(list, item) == list.end()) list.push_back(item);
}

/// The Intermediate's address of a family, with the port in use.
std::optional<SocketAddress> main_of(const IntermediateView& view, Family family) {
  if (!view.server) return std::nullopt;
  if (view.server->ip.family() == family) return view.server;
  for (const auto& ip : view.addresses) {
    if (ip.family() == family) return SocketAddress{ip, view.server->port};
  }
  return std::nullopt;
}

}  // namespace

IntermediateView view_of(const ControlClient& control) {
  IntermediateView view;
  view.addresses = control.addresses();
  view.server = control.server_address();
  view.probe_port = control.probe_port();
  view.observed_v4 = control.observed(Family::v4);
  view.observed_v6 = control.observed(Family::v6);
  return view;
}

LocalCandidates::LocalCandidates(LocalOptions options) : options_(std::move(options)) { gather(); }

bool LocalCandidates::set_options(LocalOptions options) {
  options_ = std::move(options);
  return gather();
}

bool LocalCandidates::set_hosts(std::vector<path::HostAddress> hosts) {
  input_.hosts = std::move(hosts);
  return gather();
}

bool LocalCandidates::set_mapped(std::vector<SocketAddress> mapped) {
  input_.mapped = std::move(mapped);
  return gather();
}

bool LocalCandidates::set_intermediate(std::size_t index, IntermediateView view) {
  auto& known = intermediates_[index];
  if (known == view) return false;
  known = std::move(view);
  return gather();
}

bool LocalCandidates::remove_intermediate(std::size_t index) {
  intermediates_.erase(index);
  return gather();
}

std::optional<SocketAddress> LocalCandidates::observed_by(std::size_t index, Family family) const {
  const auto found = intermediates_.find(index);
  if (found == intermediates_.end()) return std::nullopt;
  return family == Family::v4 ? found->second.observed_v4 : found->second.observed_v6;
}

bool LocalCandidates::set_discovered(Family family, std::optional<SocketAddress> observed) {
  auto& known = family == Family::v4 ? discovered_v4_ : discovered_v6_;
  if (known == observed) return false;
  known = observed;
  return gather();
}

bool LocalCandidates::gather() {
  input_.port_v4 = options_.port_v4;
  input_.port_v6 = options_.port_v6;
  input_.tunnels = options_.tunnels;
  input_.external.clear();
  for (const auto& ip : options_.external) {
    if (has_socket(ip.family())) input_.external.push_back({ip, port(ip.family())});
  }
  input_.reflexive.clear();
  for (const auto family : {Family::v4, Family::v6}) {
    for (const auto& address : observed(family)) add_once(input_.reflexive, address);
    const auto& discovered = family == Family::v4 ? discovered_v4_ : discovered_v6_;
    if (discovered) add_once(input_.reflexive, *discovered);
  }
  auto next = path::gather(input_);
  const bool changed = next.candidates != gathered_.candidates;
  gathered_ = std::move(next);
  return changed;
}

path::ProbePolicy LocalCandidates::policy() const {
  path::ProbePolicy policy;
  policy.hosts = input_.hosts;
  policy.tunnels = options_.tunnels;
  policy.v4 = has_socket(Family::v4);
  policy.v6 = has_socket(Family::v6);
  for (const auto& candidate : gathered_.candidates) policy.own.push_back(candidate.address);
  for (const auto family : {Family::v4, Family::v6}) {
    for (const auto& address : own(family)) add_once(policy.own, address);  // also those over the limit of an offer
  }
  for (const auto& address : input_.reflexive) add_once(policy.reflexive, address.ip);
  for (const auto& [index, view] : intermediates_) {
    for (const auto& ip : view.addresses) add_once(policy.intermediates, ip);
    if (view.server) add_once(policy.intermediates, view.server->ip);
  }
  return policy;
}

std::vector<SocketAddress> LocalCandidates::own(Family family) const {
  std::vector<SocketAddress> out;
  if (!has_socket(family)) return out;
  for (const auto& host : input_.hosts) {
    if (host.address.family() == family) add_once(out, SocketAddress{host.address, port(family)});
  }
  return out;
}

std::vector<SocketAddress> LocalCandidates::observed(Family family) const {
  std::vector<SocketAddress> out;
  for (const auto& [index, view] : intermediates_) {
    const auto& seen = family == Family::v4 ? view.observed_v4 : view.observed_v6;
    if (seen) add_once(out, *seen);
  }
  return out;
}

std::optional<path::NatDiscovery::Targets> LocalCandidates::nat_targets(Family family) const {
  if (!has_socket(family)) return std::nullopt;
  std::optional<path::NatDiscovery::Targets> targets;
  for (const auto& [index, view] : intermediates_) {
    const auto main = main_of(view, family);
    if (!main) continue;
    if (!targets) {
      targets.emplace();
      targets->main = *main;
      if (view.probe_port) targets->other = SocketAddress{main->ip, *view.probe_port};
    } else if (!targets->second && main->ip != targets->main.ip) {
      targets->second = main;
    }
  }
  return targets;
}

}  // namespace ztna::tunnel
