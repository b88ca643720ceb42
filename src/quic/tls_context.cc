#include "quic/tls_context_impl.h"

namespace ztna::quic {

namespace {

// TLS 1.3 alone (RFC 9001 4.2); the order of ciphers by measured speed. The compatibility mode is forbidden in QUIC
// (RFC 9001 8.4).
constexpr const char* kPriority =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM:"
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:%DISABLE_TLS13_COMPAT_MODE:%SERVER_PRECEDENCE";

gnutls_datum_t datum(const std::string& text) {
  return {reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())), static_cast<unsigned>(text.size())};
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::create(Side side, TlsOptions options) {
  auto context = std::make_shared<TlsContextImpl>(side, std::move(options));
  if (auto ok = context->load(); !ok) return fail(ok.error());
  return context;
}

Result<void> TlsContextImpl::load() {
  if (gnutls_certificate_allocate_credentials(&credentials_) != 0)
    return fail(Errc::crypto, "no memory for credentials");
  if (const auto rv = gnutls_priority_init(&priority_, kPriority, nullptr); rv != 0) {
    return fail(Errc::crypto, "cipher priorities: {}", gnutls_strerror(rv));
  }
  const auto ca = datum(options_.ca_pem);
  if (!options_.ca_pem.empty()) {
    const auto count = gnutls_certificate_set_x509_trust_mem(credentials_, &ca, GNUTLS_X509_FMT_PEM);
    if (count < 0) return fail(Errc::crypto, "CA certificate: {}", gnutls_strerror(count));
    if (count == 0) return fail(Errc::crypto, "CA certificate: no certificate in it");
  } else if (options_.verify_peer) {
    return fail(Errc::crypto, "CA certificate: empty");
  }
  if (options_.cert_pem.empty() && options_.key_pem.empty() && side_ == Side::client) return {};
  const auto cert = datum(options_.cert_pem);
  const auto key = datum(options_.key_pem);
  if (const auto rv = gnutls_certificate_set_x509_key_mem2(credentials_, &cert, &key, GNUTLS_X509_FMT_PEM, nullptr, 0);
      rv < 0) {
    if (rv == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
      return fail(Errc::crypto, "private key does not belong to the certificate");
    return fail(Errc::crypto, "certificate or private key: {}", gnutls_strerror(rv));
  }
  if (side_ == Side::server && options_.session_tickets) {
    if (const auto rv = gnutls_session_ticket_key_generate(&ticket_key_); rv != 0) {
      return fail(Errc::crypto, "session ticket key: {}", gnutls_strerror(rv));
    }
  }
  return {};
}

TlsContextImpl::~TlsContextImpl() {
  if (credentials_ != nullptr) gnutls_certificate_free_credentials(credentials_);
  if (priority_ != nullptr) gnutls_priority_deinit(priority_);
  if (ticket_key_.data != nullptr) {
    gnutls_memset(ticket_key_.data, 0, ticket_key_.size);
    gnutls_free(ticket_key_.data);
  }
}

}  // namespace ztna::quic
