// GnuTLS objects behind TlsContext.
#pragma once

#include <gnutls/gnutls.h>

#include "quic/tls_context.h"

namespace ztna::quic {

class TlsContextImpl final : public TlsContext {
 public:
  TlsContextImpl(Side side, TlsOptions options) : side_(side), options_(std::move(options)) {}
  TlsContextImpl(const TlsContextImpl&) = delete;
  TlsContextImpl& operator=(const TlsContextImpl&) = delete;
  ~TlsContextImpl() override;

  Result<void> load();

  Side side() const { return side_; }
  const TlsOptions& options() const { return options_; }
  gnutls_certificate_credentials_t credentials() const { return credentials_; }
  gnutls_priority_t priority() const { return priority_; }
  const gnutls_datum_t& ticket_key() const { return ticket_key_; }

 private:
  Side side_;
  TlsOptions options_;
  gnutls_certificate_credentials_t credentials_ = nullptr;
  gnutls_priority_t priority_ = nullptr;
  gnutls_datum_t ticket_key_{};
};

}  // namespace ztna::quic
