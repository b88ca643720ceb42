// Certificates and TLS settings shared by many connections (GnuTLS credentials).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace ztna::quic {

enum class Side : std::uint8_t { client, server };

struct TlsOptions {
  std::string ca_pem;    // trust anchors for the peer's chain
  std::string cert_pem;  // own chain, leaf first; may be empty only for a client in tests
  std::string key_pem;
  std::string alpn;                      // "ztna-v1" or "ztna-tunnel-v1"
  bool verify_peer = true;               // false: --no-verify-peer, development only
  bool require_peer_certificate = true;  // server: a client without a certificate is refused
  bool session_tickets = false;          // control connections only
  /// Developer flag only: receives NSS key log lines.
  std::function<void(std::string_view line)> keylog;
};

/// Immutable after creation. Held by shared_ptr because a reload (SIGHUP) replaces it while connections that began with
/// the old one live on: the one place in the core where ownership is really shared.
class TlsContext {
 public:
  /// Errors: crypto (unparsable PEM, key that does not belong to the certificate), with the input named.
  static Result<std::shared_ptr<const TlsContext>> create(Side side, TlsOptions options);
  virtual ~TlsContext() = default;
};

}  // namespace ztna::quic
