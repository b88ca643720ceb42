#include "wire/probe.h"

#include <algorithm>

#include "wire/reader.h"
#include "wire/writer.h"

namespace ztna::wire {
namespace {

bool is_known(ProbeKind kind) { return has_mac(kind) || is_open_request(kind) || kind == ProbeKind::open_response; }

template <typename W>
void write_before_mac(W& w, const Probe& probe) {
  w.u8(kProbeType);
  w.code(probe.kind);
  w.bytes(probe.session.value);
  w.bytes(probe.transaction.value);
  w.address(probe.address);
}

}  // namespace

Parsed<Probe> Probe::parse(Bytes in) {  // docs/protocol.md 5
  Reader r{in};
  const auto type = r.u8();
  if (r.ok() && type != kProbeType) return tl::unexpected{Errc::unknown_type};
  Probe p;
  p.kind = static_cast<ProbeKind>(r.u8());
  if (r.ok() && !is_known(p.kind)) return tl::unexpected{Errc::unknown_type};
  p.session.value = r.array<8>();
  p.transaction.value = r.array<12>();
  p.address = r.address();
  if (has_mac(p.kind)) p.mac = r.array<sizeof(ProbeMac)>();
  const auto padding = r.rest();
  if (!r.ok()) return tl::unexpected{r.error()};
  if (is_open_request(p.kind)) {
    if (in.size() < kOpenRequestSize) return tl::unexpected{Errc::truncated};
    const bool zeros = std::ranges::all_of(padding, [](std::uint8_t o) { return o == 0; });
    if (in.size() != kOpenRequestSize || !zeros) return tl::unexpected{Errc::malformed};
  } else if (!padding.empty()) {
    return tl::unexpected{Errc::malformed};
  }
  return p;
}

ProbeMacInput::ProbeMacInput(Role sender, const Probe& probe) {
  SpanWriter w{MutableBytes{octets_}};
  w.code(sender);
  write_before_mac(w, probe);
  size_ = w.size();
}

ByteVector encode_probe(const Probe& probe, Role sender, const ProbeMacFunction& mac) {
  ByteVector out;
  out.reserve(Probe::kMaxSize);
  Writer w{out};
  write_before_mac(w, probe);
  if (has_mac(probe.kind)) w.bytes(mac(ProbeMacInput{sender, probe}.view()));
  if (is_open_request(probe.kind)) out.resize(Probe::kOpenRequestSize);
  return out;
}

}  // namespace ztna::wire
