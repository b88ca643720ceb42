#include "tunnel/probe_key.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace ztna::tunnel {
namespace {

constexpr std::string_view kExporterLabel = "EXPORTER-ztna-probe";  // docs/protocol.md 5

}  // namespace

Result<quic::HmacSha256> export_probe_key(quic::Connection& connection, const wire::SessionId& session) {
  std::array<std::uint8_t, 32> key{};
  if (auto exported = connection.export_key(kExporterLabel, session.value, key); !exported)
    return fail(exported.error());
  auto hmac = quic::HmacSha256::create(key);
  key.fill(0);
  return hmac;
}

wire::ProbeMacFunction mac_function(quic::HmacSha256& key, Random& random) {
  return [&key, &random](Bytes input) {
    quic::Sha256Digest digest{};
    if (!key.digest(input, digest)) random.fill(digest);  // fits nothing
    wire::ProbeMac mac{};
    std::copy_n(digest.begin(), mac.size(), mac.begin());
    return mac;
  };
}

}  // namespace ztna::tunnel
