// Signaling for direct paths, carried by the Intermediate between the ends of a tunnel (docs/protocol.md 3).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "wire/control/codes.h"
#include "wire/control/message_type.h"
#include "wire/ids.h"
#include "wire/nat.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace ztna::wire {

enum class CandidateKind : std::uint8_t { host = 1, server_reflexive = 2, peer_reflexive = 3, port_mapped = 4 };
std::string_view to_string(CandidateKind kind);
constexpr bool is_known(CandidateKind k) { return k >= CandidateKind::host && k <= CandidateKind::port_mapped; }

struct Candidate {
  CandidateKind kind = CandidateKind::host;
  std::uint32_t priority = 0;  // RFC 8445 5.1.2
  SocketAddress address;

  friend bool operator==(const Candidate&, const Candidate&) = default;
};

struct CandidateOffer {
  static constexpr MessageType kType = MessageType::candidate_offer;

  SessionId session;
  TunnelId tunnel;
  NatMapping mapping = NatMapping::unknown;  // of the sender's NAT
  NatFiltering filtering = NatFiltering::unknown;
  std::vector<Candidate> candidates;                   // at most 255 are written
  PunchingMethod method = PunchingMethod::candidates;  // of the session

  static Result<CandidateOffer> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const CandidateOffer&, const CandidateOffer&) = default;
};

struct CandidateAnswer {
  static constexpr MessageType kType = MessageType::candidate_answer;

  SessionId session;
  TunnelId tunnel;
  NatMapping mapping = NatMapping::unknown;  // of the sender's NAT
  NatFiltering filtering = NatFiltering::unknown;
  std::vector<Candidate> candidates;                   // at most 255 are written
  PunchingMethod method = PunchingMethod::candidates;  // of the session

  static Result<CandidateAnswer> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const CandidateAnswer&, const CandidateAnswer&) = default;
};

struct StartPunching {
  static constexpr MessageType kType = MessageType::start_punching;

  SessionId session;
  std::uint16_t delay_ms = 0;
  SocketAddress peer;  // the other end, as the Intermediate observes its control connection: no claim of anybody

  static Result<StartPunching> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const StartPunching&, const StartPunching&) = default;
};

struct PunchingResult {
  static constexpr MessageType kType = MessageType::punching_result;

  SessionId session;
  PunchingOutcome outcome = PunchingOutcome::failed;
  SocketAddress reached;  // 0.0.0.0:0 unless reached

  static Result<PunchingResult> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const PunchingResult&, const PunchingResult&) = default;
};

struct SignalingError {
  static constexpr MessageType kType = MessageType::signaling_error;

  SessionId session;
  SignalingErrorCode code = SignalingErrorCode::unknown_session;
  std::string text;

  static Result<SignalingError> parse(Bytes body);
  void encode(Writer& w) const;
  friend bool operator==(const SignalingError&, const SignalingError&) = default;
};

}  // namespace ztna::wire
