// The TLS 1.3 handshake of one connection (RFC 9001): who the peer is, and why it was refused.
#pragma once

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "quic/tls_context_impl.h"

namespace ztna::quic {

/// Why the handshake must fail: a TLS alert (RFC 8446 6.2) and the text for the reason phrase.
struct TlsFailure {
  std::uint8_t alert = 0;
  std::string text;
};

class TlsSession {
 public:
  /// Says whether the verified leaf (DER) may go on.
  using VerifyLeaf = std::function<Result<void>(Bytes leaf)>;

  struct Settings {
    std::shared_ptr<const TlsContextImpl> context;
    std::string server_name;  // client: SNI
    bool check_name = false;
    Bytes session;  // client: from session(); may be empty
    VerifyLeaf verify_leaf;
  };
  /// Error: crypto.
  static Result<std::unique_ptr<TlsSession>> create(Settings settings);
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  ~TlsSession();

  /// Once the ngtcp2 connection exists; it must outlive the session's use.
  void attach(ngtcp2_conn* conn);

  /// CRYPTO frame contents in order. Returns 0 or an ngtcp2 error for the callback to return; then see failure().
  int receive(ngtcp2_encryption_level level, Bytes data);
  /// At handshake completion: checks what GnuTLS does not (the peer of a resumed session, ALPN). False: see failure().
  bool finish();
  const std::optional<TlsFailure>& failure() const { return failure_; }

  Bytes leaf() const { return leaf_; }
  bool resumed() const { return gnutls_session_is_resumed(session_) != 0; }
  /// Server: queues a session ticket, when the context says so.
  void send_ticket();
  /// Client: a session that came with a ticket since the last call; empty otherwise.
  ByteVector take_session();
  Result<void> export_key(std::string_view label, Bytes context, MutableBytes out) const;

 private:
  explicit TlsSession(Settings settings) : settings_(std::move(settings)) {}
  Result<void> init();
  bool refuse(std::uint8_t alert, std::string text);
  bool verify();
  bool verify_chain();
  bool verify_name();
  /// RFC 9001 6 and 8.3: after the handshake a client takes NewSessionTicket, a server nothing.
  bool post_handshake_allowed(Bytes data);
  void note_error(int gnutls_error);

  static int log_key(gnutls_session_t session, const char* label, const gnutls_datum_t* secret);

  bool client() const { return settings_.context->side() == Side::client; }

  Settings settings_;
  gnutls_session_t session_ = nullptr;
  ngtcp2_crypto_conn_ref conn_ref_{};
  ngtcp2_conn* conn_ = nullptr;
  ByteVector leaf_;
  bool leaf_verified_ = false;
  bool completed_ = false;
  bool ticket_taken_ = false;
  std::optional<TlsFailure> failure_;
  std::array<std::uint8_t, 4> message_header_{};  // of the post-handshake message that is arriving
  std::size_t message_header_size_ = 0;
  std::size_t message_left_ = 0;
};

/// RFC 6125 6.4 and RFC 9110 4.3.5 on a leaf's subject alternative names; the common name is not looked at. `name` is a
/// DNS name or an IP address.
bool certificate_names(Bytes leaf_der, std::string_view name);

}  // namespace ztna::quic
