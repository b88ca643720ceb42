// A private key for a certificate. Never logged, wiped by GnuTLS when it goes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "identity/certificate.h"

namespace ztna::identity {

class PrivateKey {
 public:
  /// `type`: p256 or ed25519. Uses GnuTLS's CSPRNG. Errors: invalid_argument, crypto.
  static Result<PrivateKey> generate(KeyType type);
  /// PKCS #8, or what GnuTLS reads besides ("EC PRIVATE KEY"); not encrypted. Error: malformed.
  static Result<PrivateKey> from_pem(std::string_view pem);

  PrivateKey(PrivateKey&&) noexcept;
  PrivateKey& operator=(PrivateKey&&) noexcept;
  ~PrivateKey();

  KeyType type() const;
  /// PKCS #8 PEM, unencrypted: write it with mode 0600.
  Result<std::string> to_pem() const;
  /// Does the certificate hold this key's public half?
  bool matches(const Certificate& certificate) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }  // for this folder

 private:
  explicit PrivateKey(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ztna::identity
