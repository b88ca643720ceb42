// Answers to packets that belong to no connection. None is longer than what it answers, but Retry and version
// negotiation, which answer packets of at least 1200 octets.
#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>

#include "quic/endpoint_impl.h"

namespace ztna::quic {

namespace {

constexpr std::size_t kResetSize = 43;     // looks like any short packet (RFC 9000 10.3)
constexpr std::size_t kMinResetSize = 21;  // 5 octets and the token
/// Of all sources: what a flood from forged ones can make us send. A restarted Intermediate owes each client one.
constexpr double kResetsPerSecond = 2000;
constexpr double kResetBurst = 4000;
constexpr std::uint32_t kGreaseVersion = 0x1A2A3A4A;  // RFC 9000 15: reserved to exercise version negotiation

/// Whom a reset counts against. Unique local addresses (RFC 4193) do not come from the Internet; those of relayed
/// paths, one for each route, are among them and share a /64.
IpAddress reset_source(const IpAddress& remote) {
  return remote.is_v6() && remote.is_private() ? remote : source_network(remote);
}

}  // namespace

void EndpointImpl::send_one(const Path& path, Bytes packet, PacketSink& out) {
  if (!out.writable()) return;
  const auto headroom = out.headroom(path);
  const auto space = batch_.space(headroom, packet.size(), out);
  std::ranges::copy(packet, space.begin());
  batch_.add(path, packet.size(), out);
  batch_.flush(out);
}

bool EndpointImpl::send_version_negotiation(const Path& path, Bytes dcid, Bytes scid, PacketSink& out) {
  std::array<std::uint8_t, 1 + 4 + 2 + 510 + 8> packet{};
  const std::array<std::uint32_t, 2> versions{NGTCP2_PROTO_VER_V1, kGreaseVersion};
  const auto unused = static_cast<std::uint8_t>(random_.u64());
  const auto n = ngtcp2_pkt_write_version_negotiation(packet.data(), packet.size(), unused, scid.data(), scid.size(),
                                                      dcid.data(), dcid.size(), versions.data(), versions.size());
  if (n <= 0) return false;
  send_one(path, {packet.data(), static_cast<std::size_t>(n)}, out);
  return true;
}

bool EndpointImpl::send_retry(const Path& path, const ngtcp2_pkt_hd& header, TimePoint now, PacketSink& out) {
  ngtcp2_path_storage storage;
  to_storage(path, storage);
  const auto scid = to_ngtcp2(random_cid());
  std::array<std::uint8_t, NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2> token{};
  const auto token_size = ngtcp2_crypto_generate_retry_token2(
      token.data(), options_.token_secret.data(), options_.token_secret.size(), header.version,
      storage.path.remote.addr, storage.path.remote.addrlen, &scid, &header.dcid, to_ts(now));
  if (token_size <= 0) return false;
  std::array<std::uint8_t, 512> packet{};
  const auto n = ngtcp2_crypto_write_retry(packet.data(), packet.size(), header.version, &header.scid, &scid,
                                           &header.dcid, token.data(), static_cast<std::size_t>(token_size));
  if (n <= 0) return false;
  send_one(path, {packet.data(), static_cast<std::size_t>(n)}, out);
  return true;
}

bool EndpointImpl::send_reset(const Path& path, const Cid& dcid, std::size_t trigger, TimePoint now, PacketSink& out) {
  // Always shorter than the trigger, so that two endpoints without state cannot reset each other for ever (RFC
  // 9000 10.3.3).
  if (trigger <= kMinResetSize) return false;
  if (!resets_by_source_.take(reset_source(path.remote.ip), now)) return false;
  if (!resets_.take(now, kResetsPerSecond, kResetBurst)) return false;
  const auto size = std::min(trigger - 1, kResetSize);
  const auto token = reset_token(dcid);
  const auto noise = random_.array<kResetSize>();
  std::array<std::uint8_t, kResetSize> packet{};
  const auto n =
      ngtcp2_pkt_write_stateless_reset(packet.data(), packet.size(), token.data(), noise.data(), size - token.size());
  if (n <= 0) return false;
  send_one(path, {packet.data(), static_cast<std::size_t>(n)}, out);
  return true;
}

void EndpointImpl::send_refusal(const Path& path, const ngtcp2_pkt_hd& header, std::uint64_t code,
                                std::string_view text, PacketSink& out) {
  std::array<std::uint8_t, NGTCP2_MAX_UDP_PAYLOAD_SIZE> packet{};
  const auto* reason = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto n =
      ngtcp2_crypto_write_connection_close(packet.data(), packet.size(), header.version, &header.scid, &header.dcid,
                                           code, reason, std::min<std::size_t>(text.size(), 256));
  if (n > 0) send_one(path, {packet.data(), static_cast<std::size_t>(n)}, out);
}

}  // namespace ztna::quic
