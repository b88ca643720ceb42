#include "quic/tls_session.h"

#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include "base/address.h"

namespace ztna::quic {

namespace {

TlsSession& self(gnutls_session_t session) {
  auto* ref = static_cast<ngtcp2_crypto_conn_ref*>(gnutls_session_get_ptr(session));
  return *static_cast<TlsSession*>(ref->user_data);
}

TlsFailure explain(unsigned status, bool peer_is_server) {
  if ((status & GNUTLS_CERT_REVOKED) != 0) return {GNUTLS_A_CERTIFICATE_REVOKED, "certificate revoked"};
  if ((status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA | GNUTLS_CERT_SIGNATURE_FAILURE)) != 0) {
    return {GNUTLS_A_UNKNOWN_CA, "unknown CA"};
  }
  if ((status & GNUTLS_CERT_EXPIRED) != 0) return {GNUTLS_A_CERTIFICATE_EXPIRED, "certificate expired"};
  if ((status & GNUTLS_CERT_NOT_ACTIVATED) != 0) return {GNUTLS_A_BAD_CERTIFICATE, "certificate not yet valid"};
  if ((status & GNUTLS_CERT_PURPOSE_MISMATCH) != 0) {
    return {GNUTLS_A_UNSUPPORTED_CERTIFICATE, peer_is_server ? "certificate is not for server authentication"
                                                             : "certificate is not for client authentication"};
  }
  if ((status & GNUTLS_CERT_INSECURE_ALGORITHM) != 0)
    return {GNUTLS_A_BAD_CERTIFICATE, "certificate uses an insecure algorithm"};
  return {GNUTLS_A_BAD_CERTIFICATE, "certificate not valid"};
}

}  // namespace

Result<std::unique_ptr<TlsSession>> TlsSession::create(Settings settings) {
  std::unique_ptr<TlsSession> session{new TlsSession(std::move(settings))};
  if (auto ok = session->init(); !ok) return fail(ok.error());
  return session;
}

Result<void> TlsSession::init() {
  const auto& context = *settings_.context;
  const auto& options = context.options();
  const unsigned flags = client() ? GNUTLS_CLIENT : GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET;
  const auto check = [](int rv, std::string_view what) -> Result<void> {
    if (rv != 0) return fail(Errc::crypto, "{}: {}", what, gnutls_strerror(rv));
    return {};
  };
  if (auto ok = check(gnutls_init(&session_, flags), "TLS session"); !ok) return ok;
  if (auto ok = check(gnutls_priority_set(session_, context.priority()), "TLS priorities"); !ok) return ok;
  if (auto ok =
          check(gnutls_credentials_set(session_, GNUTLS_CRD_CERTIFICATE, context.credentials()), "TLS credentials");
      !ok) {
    return ok;
  }
  const int configured = client() ? ngtcp2_crypto_gnutls_configure_client_session(session_)
                                  : ngtcp2_crypto_gnutls_configure_server_session(session_);
  if (configured != 0) return fail(Errc::crypto, "TLS session does not take QUIC's extension");

  conn_ref_.get_conn = [](ngtcp2_crypto_conn_ref* ref) { return static_cast<TlsSession*>(ref->user_data)->conn_; };
  conn_ref_.user_data = this;
  gnutls_session_set_ptr(session_, &conn_ref_);
  gnutls_session_set_verify_function(session_, [](gnutls_session_t s) { return self(s).verify() ? 0 : -1; });
  if (options.keylog) gnutls_session_set_keylog_function(session_, log_key);

  gnutls_datum_t alpn{reinterpret_cast<unsigned char*>(const_cast<char*>(options.alpn.data())),
                      static_cast<unsigned>(options.alpn.size())};
  if (auto ok = check(gnutls_alpn_set_protocols(session_, &alpn, 1, GNUTLS_ALPN_MANDATORY), "ALPN"); !ok) return ok;

  if (client()) {
    if (!settings_.server_name.empty() && !IpAddress::parse(settings_.server_name)) {
      const auto& name = settings_.server_name;
      if (auto ok = check(gnutls_server_name_set(session_, GNUTLS_NAME_DNS, name.data(), name.size()), "server name");
          !ok) {
        return ok;
      }
    }
    // A session that GnuTLS does not take is no error: the handshake is a full one then.
    if (!settings_.session.empty())
      gnutls_session_set_data(session_, settings_.session.data(), settings_.session.size());
  } else {
    // The names of our CAs are nobody's business, and a client should show what it has and be told why it is refused.
    gnutls_certificate_send_x509_rdn_sequence(session_, 1);
    gnutls_certificate_server_set_request(session_,
                                          options.require_peer_certificate ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_REQUEST);
    if (context.ticket_key().data != nullptr) {
      if (auto ok = check(gnutls_session_ticket_enable_server(session_, &context.ticket_key()), "session tickets"); !ok)
        return ok;
    }
  }
  settings_.session = {};
  return {};
}

TlsSession::~TlsSession() {
  if (session_ != nullptr) gnutls_deinit(session_);
}

void TlsSession::attach(ngtcp2_conn* conn) {
  conn_ = conn;
  ngtcp2_conn_set_tls_native_handle(conn, session_);
}

bool TlsSession::refuse(std::uint8_t alert, std::string text) {
  if (!failure_) failure_ = TlsFailure{alert, std::move(text)};
  return false;
}

void TlsSession::note_error(int gnutls_error) {
  switch (gnutls_error) {
    case GNUTLS_E_CERTIFICATE_REQUIRED:
    case GNUTLS_E_NO_CERTIFICATE_FOUND:
      refuse(GNUTLS_A_CERTIFICATE_REQUIRED, client() ? "no server certificate" : "no client certificate");
      return;
    case GNUTLS_E_NO_APPLICATION_PROTOCOL:
      refuse(GNUTLS_A_NO_APPLICATION_PROTOCOL, "no common application protocol");
      return;
    default: break;
  }
  int level = 0;
  const int alert = gnutls_error_to_alert(gnutls_error, &level);
  refuse(alert < 0 ? static_cast<std::uint8_t>(GNUTLS_A_INTERNAL_ERROR) : static_cast<std::uint8_t>(alert),
         gnutls_strerror(gnutls_error));
}

int TlsSession::receive(ngtcp2_encryption_level level, Bytes data) {
  if (completed_ && (level != NGTCP2_ENCRYPTION_LEVEL_1RTT || !post_handshake_allowed(data))) {
    refuse(GNUTLS_A_UNEXPECTED_MESSAGE, "unexpected TLS message after the handshake");
    return NGTCP2_ERR_CRYPTO;
  }
  int rv = 0;
  if (!data.empty()) {
    rv = gnutls_handshake_write(session_, ngtcp2_crypto_gnutls_from_ngtcp2_encryption_level(level), data.data(),
                                data.size());
  }
  if (rv == 0 && !completed_) {
    rv = gnutls_handshake(session_);
    if (rv == 0) {
      completed_ = true;
      ngtcp2_conn_tls_handshake_completed(conn_);
    }
  }
  if (rv >= 0 || gnutls_error_is_fatal(rv) == 0) return 0;
  if (const int error = ngtcp2_conn_get_tls_error(conn_); error != 0 && !failure_) return error;
  note_error(rv);
  return NGTCP2_ERR_CRYPTO;
}

bool TlsSession::post_handshake_allowed(Bytes data) {
  if (!client()) return data.empty();
  while (!data.empty()) {
    if (message_left_ > 0) {
      const auto n = std::min(message_left_, data.size());
      message_left_ -= n;
      data = data.subspan(n);
      continue;
    }
    message_header_[message_header_size_++] = data[0];
    data = data.subspan(1);
    if (message_header_[0] != GNUTLS_HANDSHAKE_NEW_SESSION_TICKET) return false;
    if (message_header_size_ < message_header_.size()) continue;
    message_left_ = std::size_t{message_header_[1]} << 16U | std::size_t{message_header_[2]} << 8U | message_header_[3];
    message_header_size_ = 0;
  }
  return true;
}

bool TlsSession::finish() {
  gnutls_datum_t selected{};
  if (gnutls_alpn_get_selected_protocol(session_, &selected) != 0) {
    return refuse(GNUTLS_A_NO_APPLICATION_PROTOCOL, "no common application protocol");
  }
  // GnuTLS does not call the verify function for a resumed session: its ticket vouches for the peer as it was then.
  if (!leaf_verified_ && !verify()) return false;
  return true;
}

bool TlsSession::verify() {
  unsigned count = 0;
  const auto* peers = gnutls_certificate_get_peers(session_, &count);
  const auto& options = settings_.context->options();
  if (peers == nullptr || count == 0) {
    if (!options.verify_peer || (!client() && !options.require_peer_certificate)) return true;
    return refuse(GNUTLS_A_CERTIFICATE_REQUIRED, client() ? "no server certificate" : "no client certificate");
  }
  leaf_.assign(peers[0].data, peers[0].data + peers[0].size);
  if (options.verify_peer && !verify_chain()) return false;
  if (settings_.check_name && options.verify_peer && !verify_name()) return false;
  if (auto ok = settings_.verify_leaf(leaf_); !ok) return refuse(GNUTLS_A_ACCESS_DENIED, ok.error().text);
  leaf_verified_ = true;
  return true;
}

bool TlsSession::verify_chain() {
  const char* purpose = client() ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
  gnutls_typed_vdata_st wanted{GNUTLS_DT_KEY_PURPOSE_OID, reinterpret_cast<unsigned char*>(const_cast<char*>(purpose)),
                               0};
  unsigned status = 0;
  if (const int rv = gnutls_certificate_verify_peers(session_, &wanted, 1, &status); rv != 0) {
    return refuse(GNUTLS_A_BAD_CERTIFICATE, gnutls_strerror(rv));
  }
  if (status == 0) return true;
  auto why = explain(status, client());
  return refuse(why.alert, std::move(why.text));
}

bool TlsSession::verify_name() {
  if (certificate_names(leaf_, settings_.server_name)) return true;
  return refuse(GNUTLS_A_BAD_CERTIFICATE, fmt::format("certificate is not for {}", settings_.server_name));
}

void TlsSession::send_ticket() {
  if (settings_.context->ticket_key().data != nullptr) gnutls_session_ticket_send(session_, 1, 0);
}

ByteVector TlsSession::take_session() {
  if (ticket_taken_ || !settings_.context->options().session_tickets) return {};
  if ((gnutls_session_get_flags(session_) & GNUTLS_SFLAGS_SESSION_TICKET) == 0) return {};
  gnutls_datum_t data{};
  if (gnutls_session_get_data2(session_, &data) != 0) return {};
  ticket_taken_ = true;
  ByteVector out(data.data, data.data + data.size);
  gnutls_free(data.data);
  return out;
}

Result<void> TlsSession::export_key(std::string_view label, Bytes context, MutableBytes out) const {
  if (!completed_) return fail(Errc::crypto, "no exporter before the handshake is done");
  const int rv = gnutls_prf_rfc5705(session_, label.size(), label.data(), context.size(),
                                    reinterpret_cast<const char*>(context.data()), out.size(),
                                    reinterpret_cast<char*>(out.data()));
  if (rv != 0) return fail(Errc::crypto, "exporter: {}", gnutls_strerror(rv));
  return {};
}

int TlsSession::log_key(gnutls_session_t session, const char* label, const gnutls_datum_t* secret) {
  gnutls_datum_t client_random{};
  gnutls_datum_t server_random{};
  gnutls_session_get_random(session, &client_random, &server_random);
  self(session).settings_.context->options().keylog(fmt::format(
      "{} {} {}", label, to_hex({client_random.data, client_random.size}), to_hex({secret->data, secret->size})));
  return 0;
}

}  // namespace ztna::quic
