#include "intermediate/probe_responder.h"

#include "wire/probe.h"

namespace ztna::intermediate {

std::string_view to_string(ProbeFate fate) {
  switch (fate) {
    case ProbeFate::answered: return "answered";
    case ProbeFate::answered_other: return "answered_other";
    case ProbeFate::not_a_probe: return "not_a_probe";
    case ProbeFate::malformed: return "malformed";
    case ProbeFate::not_a_request: return "not_a_request";
    case ProbeFate::no_other_port: return "no_other_port";
    case ProbeFate::source_limit: return "source_limit";
    case ProbeFate::total_limit: return "total_limit";
    case ProbeFate::count_: break;
  }
  return "unknown";
}

std::optional<ProbeResponder::Answer> ProbeResponder::receive(Bytes payload, const SocketAddress& from,
                                                              bool has_other_port, TimePoint now) {
  const auto dropped = [this](ProbeFate fate) {
    fates_.add(fate);
    return std::nullopt;
  };
  if (wire::classify(payload) != wire::PayloadKind::probe) return dropped(ProbeFate::not_a_probe);
  const auto probe = wire::Probe::parse(payload);
  if (!probe || from.port == 0) return dropped(ProbeFate::malformed);
  if (!wire::is_open_request(probe->kind)) return dropped(ProbeFate::not_a_request);
  const bool other = probe->kind == wire::ProbeKind::open_request_other;
  if (other && !has_other_port) return dropped(ProbeFate::no_other_port);
  if (!sources_.allow(from.ip, now)) return dropped(ProbeFate::source_limit);
  if (!total_.take(now)) return dropped(ProbeFate::total_limit);
  fates_.add(other ? ProbeFate::answered_other : ProbeFate::answered);
  const wire::Probe answer{
      wire::ProbeKind::open_response, probe->session, probe->transaction, {from.ip.unmapped(), from.port}, {}};
  return Answer{wire::encode_probe(answer, wire::Role::agent), other};
}

}  // namespace ztna::intermediate
