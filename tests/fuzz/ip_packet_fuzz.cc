// Any packet through the view, and what parses through every builder and the rewriting.
#include "fuzz.h"
#include "wire/ip/build.h"
#include "wire/ip/rewrite.h"

using namespace ztna;
using namespace ztna::wire::ip;

namespace {

/// What we make must be a good packet.
void require_valid(const Result<ByteVector>& packet, std::size_t limit) {
  if (!packet) return;
  require(packet->size() <= limit);
  const auto view = parse_ip_packet(*packet);
  require(view.has_value() && verify_checksums(*view).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes in{data, size};
  const auto view = parse_ip_packet(in);
  if (!view) return 0;
  const bool good = verify_checksums(*view).has_value();
  (void)verify_checksums(*view, L4Checksum::partial);
  require_valid(build_tcp_reset(*view), 60);
  require_valid(build_echo_reply(*view), size);
  const auto from = view->dst;
  for (int e = 0; e <= static_cast<int>(IcmpError::administratively_denied); ++e) {
    require_valid(build_icmp_error(static_cast<IcmpError>(e), *view, from, 1280),
                  view->family == Family::v4 ? kMaxIcmpV4Error : kMaxIcmpV6Error);
  }
  require_valid(build_udp_packet(view->destination(), view->source(), view->l4_payload), 66'000);
  ByteVector copy{in.begin(), in.end()};
  const auto own = parse_ip_packet(copy);
  require(own.has_value());
  if (rewrite_tcp(copy, *own, view->destination(), view->source(), L4Checksum::complete)) {
    const auto after = parse_ip_packet(copy);
    require(after.has_value() && verify_checksums(*after).has_value() == good);
    require(after->source() == view->destination() && after->destination() == view->source());
  }
  if (size > 2) (void)complete_checksum(copy, in[0], in[1]);
  return 0;
}
