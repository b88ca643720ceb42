#include "path/nat_report.h"

#include <fmt/format.h>

namespace ztna::path {
namespace {

using wire::NatFiltering;
using wire::NatMapping;

std::string_view words(NatMapping mapping) {
  switch (mapping) {
    case NatMapping::unknown: return "unknown mapping";
    case NatMapping::none: return "no mapping";
    case NatMapping::endpoint_independent: return "endpoint-independent mapping";
    case NatMapping::address_dependent: return "address-dependent mapping";
    case NatMapping::address_and_port_dependent: return "address and port-dependent mapping";
  }
  return "unknown mapping";
}

std::string_view words(NatFiltering filtering) {
  switch (filtering) {
    case NatFiltering::unknown: return "unknown filtering";
    case NatFiltering::none: return "no filtering";
    case NatFiltering::endpoint_independent: return "endpoint-independent filtering";
    case NatFiltering::address_dependent: return "address-dependent filtering";
    case NatFiltering::address_and_port_dependent: return "address and port-dependent filtering";
  }
  return "unknown filtering";
}

std::string_view name(const NatKind& kind) {
  const auto label = nat_label(kind);
  if (label == "none") return "no NAT";
  if (label == "firewall") return "no NAT, but a firewall";
  if (label == "full_cone") return "full cone NAT";
  if (label == "restricted_cone") return "address-restricted cone NAT";
  if (label == "port_restricted_cone") return "port-restricted cone NAT";
  if (label == "symmetric") return "symmetric NAT";
  if (label == "cone") return "cone NAT";
  return "unknown";
}

}  // namespace

std::string_view nat_label(const NatKind& kind) {
  switch (kind.mapping) {
    case NatMapping::unknown: return "unknown";
    case NatMapping::none:
      switch (kind.filtering) {
        case NatFiltering::unknown: return "unknown";
        case NatFiltering::none:
        case NatFiltering::endpoint_independent: return "none";
        case NatFiltering::address_dependent:
        case NatFiltering::address_and_port_dependent: return "firewall";
      }
      break;
    case NatMapping::endpoint_independent:
      switch (kind.filtering) {
        case NatFiltering::unknown: return "cone";
        case NatFiltering::none:
        case NatFiltering::endpoint_independent: return "full_cone";
        case NatFiltering::address_dependent: return "restricted_cone";
        case NatFiltering::address_and_port_dependent: return "port_restricted_cone";
      }
      break;
    case NatMapping::address_dependent:
    case NatMapping::address_and_port_dependent: return "symmetric";
  }
  return "unknown";
}

std::string describe(const NatKind& kind) {
  if (kind.mapping == NatMapping::unknown && kind.filtering == NatFiltering::unknown) return "unknown";
  return fmt::format("{} ({}, {})", name(kind), words(kind.mapping), words(kind.filtering));
}

std::string describe(const NatReport& report) {
  switch (report.state) {
    case NatReport::State::not_run: return "not measured yet";
    case NatReport::State::running: return "being measured";
    case NatReport::State::udp_blocked:
      return "UDP probes are not answered: blocked, or the Intermediate does not answer them";
    case NatReport::State::done: break;
  }
  if (report.other_port_blocked && report.kind.mapping != NatMapping::none) {
    return "unknown: UDP is let through to the Intermediate's main port only";
  }
  auto text = describe(report.kind);
  if (report.kind.mapping == NatMapping::endpoint_independent && !report.mapping_exact) {
    text += "; one Intermediate address cannot tell endpoint-independent from address-dependent mapping";
  }
  if (report.kind.filtering == NatFiltering::address_dependent && !report.filtering_exact) {
    text += "; filtering may be endpoint-independent as well (full cone)";
  }
  return text;
}

std::string_view to_string(NatReport::State state) {
  switch (state) {
    case NatReport::State::not_run: return "not_run";
    case NatReport::State::running: return "running";
    case NatReport::State::done: return "done";
    case NatReport::State::udp_blocked: return "udp_blocked";
  }
  return "unknown";
}

NatKind offered_kind(const NatReport& v4, const NatReport& v6) {
  return v4.kind.mapping != NatMapping::unknown ? v4.kind : v6.kind.mapping != NatMapping::unknown ? v6.kind : v4.kind;
}

}  // namespace ztna::path
