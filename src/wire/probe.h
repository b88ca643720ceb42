// Path probes: layout only; the MAC is computed by whoever has the key (docs/protocol.md 5).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/address.h"
#include "base/bytes.h"
#include "wire/first_byte.h"
#include "wire/ids.h"
#include "wire/parsed.h"
#include "wire/role.h"

namespace ztna::wire {

enum class ProbeKind : std::uint8_t {
  request = 0x01,             // between the ends of a tunnel, with mac
  response = 0x02,            //
  open_request = 0x11,        // to the Intermediate, without mac, padded to kOpenRequestSize
  open_response = 0x12,       // from the port that the request came to
  open_request_other = 0x13,  // as open_request, but the answer comes from the Intermediate's other port
};
std::string_view to_string(ProbeKind kind);
/// Padded to Probe::kOpenRequestSize.
constexpr bool is_open_request(ProbeKind kind) {
  return kind == ProbeKind::open_request || kind == ProbeKind::open_request_other;
}
constexpr bool has_mac(ProbeKind kind) { return kind == ProbeKind::request || kind == ProbeKind::response; }

using ProbeMac = std::array<std::uint8_t, 16>;  // first half of HMAC-SHA256
/// Gets the input of the MAC, valid for the call.
using ProbeMacFunction = std::function<ProbeMac(Bytes input)>;

struct Probe {
  static constexpr std::size_t kMaxBeforeMac = 1 + 1 + 8 + 12 + (1 + 16 + 2);
  static constexpr std::size_t kOpenRequestSize = kMaxBeforeMac;  // no answer is longer
  static constexpr std::size_t kMaxSize = kMaxBeforeMac + sizeof(ProbeMac);

  ProbeKind kind = ProbeKind::request;
  SessionId session;
  TransactionId transaction;
  SocketAddress address;  // request: sent to; response: source that the responder saw
  ProbeMac mac{};         // request and response only; not checked by parse

  /// Takes one whole UDP payload. Errors: truncated, unknown_type (first octet or kind), malformed (bad family, octets
  /// left over, an open request that is not padded with zeros to kOpenRequestSize exactly).
  static Parsed<Probe> parse(Bytes in);
  friend bool operator==(const Probe&, const Probe&) = default;
};

/// What the MAC covers: the sender's role, then the probe up to its mac. One value, no allocation.
class ProbeMacInput {
 public:
  ProbeMacInput(Role sender, const Probe& probe);
  Bytes view() const { return {octets_.data(), size_}; }

 private:
  std::array<std::uint8_t, 1 + Probe::kMaxBeforeMac> octets_{};
  std::size_t size_ = 0;
};

/// The probe's UDP payload. `mac` is called for request and response only (may be empty for the others);
/// `probe.mac` is not used.
ByteVector encode_probe(const Probe& probe, Role sender, const ProbeMacFunction& mac = {});

}  // namespace ztna::wire
