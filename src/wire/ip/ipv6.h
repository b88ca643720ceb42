// IPv6 header and the walk over its extension headers (RFC 8200 3, 4).
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/bytes.h"
#include "wire/ip/fault.h"
#include "wire/ip/ipv4.h"

namespace ztna::wire::ip {

struct Ipv6View {
  static constexpr std::size_t kHeader = 40;
  /// More extension headers than this are not walked.
  static constexpr int kMaxExtensions = 8;

  Bytes header;   // with extension headers, the fragment header included; borrows
  Bytes payload;  // upper-layer octets, or in a fragment those that follow the fragment header; borrows
  IpAddress src;
  IpAddress dst;
  std::uint8_t traffic_class = 0;
  std::uint8_t hop_limit = 0;
  std::uint8_t protocol = 0;        // of the payload
  std::size_t protocol_offset = 6;  // where in `header` that number stands (for Parameter Problem)
  std::size_t fragment_header = 0;  // its offset in `header`; 0: none
  FragmentInfo fragment;

  /// `packet` is one packet exactly. Jumbograms (RFC 2675), ESP, AH and routing headers with segments left are not
  /// taken.
  static Checked<Ipv6View> parse(Bytes packet);
};

}  // namespace ztna::wire::ip
