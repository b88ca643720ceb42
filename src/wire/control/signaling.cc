#include "wire/control/signaling.h"

#include "wire/control/fields.h"

namespace ztna::wire {
namespace {

std::vector<Candidate> read_candidates(Reader& r) {
  std::vector<Candidate> list;
  const auto count = r.u8();
  for (unsigned i = 0; i < count && r.ok(); ++i) {
    Candidate c;
    c.kind = read_code<CandidateKind>(r);
    c.priority = r.u32();
    c.address = r.address();
    list.push_back(c);
  }
  return list;
}

void write_candidates(Writer& w, const std::vector<Candidate>& list) {
  const auto count = std::min<std::size_t>(list.size(), 255);
  w.u8(static_cast<std::uint8_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    w.code(list[i].kind);
    w.u32(list[i].priority);
    w.address(list[i].address);
  }
}

/// Offer and answer differ in their type only.
template <typename Message>
Result<Message> parse_candidates(Bytes body) {
  Reader r{body};
  Message m;
  m.session.value = r.array<8>();
  m.tunnel.value = r.array<16>();
  m.mapping = read_code<NatMapping>(r);
  m.filtering = read_code<NatFiltering>(r);
  m.candidates = read_candidates(r);
  m.method = read_code<PunchingMethod>(r);
  if (auto end = r.finish(to_string(Message::kType)); !end) return fail(end.error());
  return m;
}

template <typename Message>
void encode_candidates(Writer& w, const Message& m) {
  w.bytes(m.session.value);
  w.bytes(m.tunnel.value);
  w.code(m.mapping);
  w.code(m.filtering);
  write_candidates(w, m.candidates);
  w.code(m.method);
}

}  // namespace

Result<CandidateOffer> CandidateOffer::parse(Bytes body) { return parse_candidates<CandidateOffer>(body); }
void CandidateOffer::encode(Writer& w) const { encode_candidates(w, *this); }

Result<CandidateAnswer> CandidateAnswer::parse(Bytes body) { return parse_candidates<CandidateAnswer>(body); }
void CandidateAnswer::encode(Writer& w) const { encode_candidates(w, *this); }

Result<StartPunching> StartPunching::parse(Bytes body) {
  Reader r{body};
  StartPunching m;
  m.session.value = r.array<8>();
  m.delay_ms = r.u16();
  m.peer = r.address();
  if (auto end = r.finish("StartPunching"); !end) return fail(end.error());
  return m;
}

void StartPunching::encode(Writer& w) const {
  w.bytes(session.value);
  w.u16(delay_ms);
  w.address(peer);
}

Result<PunchingResult> PunchingResult::parse(Bytes body) {
  Reader r{body};
  PunchingResult m;
  m.session.value = r.array<8>();
  m.outcome = read_code<PunchingOutcome>(r);
  m.reached = r.address();
  if (m.outcome == PunchingOutcome::failed && m.reached != SocketAddress{}) r.refuse();
  if (auto end = r.finish("PunchingResult"); !end) return fail(end.error());
  return m;
}

void PunchingResult::encode(Writer& w) const {
  w.bytes(session.value);
  w.code(outcome);
  w.address(outcome == PunchingOutcome::reached ? reached : SocketAddress{});
}

Result<SignalingError> SignalingError::parse(Bytes body) {
  Reader r{body};
  SignalingError m;
  m.session.value = r.array<8>();
  m.code = read_code<SignalingErrorCode>(r);
  m.text = r.string8();
  if (auto end = r.finish("SignalingError"); !end) return fail(end.error());
  return m;
}

void SignalingError::encode(Writer& w) const {
  w.bytes(session.value);
  w.code(code);
  w.string8(text);
}

}  // namespace ztna::wire
