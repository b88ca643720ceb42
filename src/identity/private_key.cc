#include "identity/private_key.h"

#include "identity/private_key_impl.h"

namespace ztna::identity {

namespace {

Result<ByteVector> key_id(auto get, auto handle) {
  ByteVector id(32);
  std::size_t size = id.size();
  if (const int rc = get(handle, GNUTLS_KEYID_USE_SHA256, id.data(), &size); rc < 0) {
    return gnutls_failure(Errc::crypto, "key", rc);
  }
  id.resize(size);
  return id;
}

}  // namespace

PrivateKey::PrivateKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

Result<PrivateKey> PrivateKey::generate(KeyType type) {
  if (type == KeyType::other) return fail(Errc::invalid_argument, "key type: p256 or ed25519");
  auto impl = std::make_unique<Impl>();
  impl->key = new_key();
  if (!impl->key) return fail(Errc::internal, "key: out of memory");
  const bool p256 = type == KeyType::p256;
  const auto curve = p256 ? GNUTLS_ECC_CURVE_SECP256R1 : GNUTLS_ECC_CURVE_ED25519;
  const int rc = gnutls_x509_privkey_generate(impl->key.get(), p256 ? GNUTLS_PK_ECDSA : GNUTLS_PK_EDDSA_ED25519,
                                              static_cast<unsigned>(GNUTLS_CURVE_TO_BITS(curve)), 0);
  if (rc < 0) return gnutls_failure(Errc::crypto, "key generation", rc);
  return PrivateKey{std::move(impl)};
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  if (pem.size() > 64 * 1024) return fail(Errc::malformed, "private key: {} octets is no key", pem.size());
  if (pem.find("PRIVATE KEY-----") == std::string_view::npos)
    return fail(Errc::malformed, "no private key in this PEM text");
  if (pem.find("BEGIN ENCRYPTED") != std::string_view::npos || pem.find("4,ENCRYPTED") != std::string_view::npos) {
    return fail(Errc::malformed, "the private key is encrypted; store it without a passphrase, mode 0600");
  }
  auto impl = std::make_unique<Impl>();
  impl->key = new_key();
  if (!impl->key) return fail(Errc::internal, "key: out of memory");
  const auto input = datum_of(as_bytes(pem));
  const int rc = gnutls_x509_privkey_import2(impl->key.get(), &input, GNUTLS_X509_FMT_PEM, nullptr, 0);
  if (rc < 0) return gnutls_failure(Errc::malformed, "private key", rc);
  return PrivateKey{std::move(impl)};
}

KeyType PrivateKey::type() const {
  switch (gnutls_x509_privkey_get_pk_algorithm(impl_->key.get())) {
    case GNUTLS_PK_EDDSA_ED25519: return KeyType::ed25519;
    case GNUTLS_PK_ECDSA: {
      gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
      const int rc = gnutls_x509_privkey_export_ecc_raw(impl_->key.get(), &curve, nullptr, nullptr, nullptr);
      return rc == 0 && curve == GNUTLS_ECC_CURVE_SECP256R1 ? KeyType::p256 : KeyType::other;
    }
    default: return KeyType::other;
  }
}

Result<std::string> PrivateKey::to_pem() const {
  Datum pem;
  const int rc =
      gnutls_x509_privkey_export2_pkcs8(impl_->key.get(), GNUTLS_X509_FMT_PEM, nullptr, GNUTLS_PKCS_PLAIN, pem.out());
  if (rc < 0) return gnutls_failure(Errc::crypto, "private key", rc);
  std::string out{pem.text()};
  if (!out.ends_with('\n')) out += '\n';
  return out;
}

bool PrivateKey::matches(const Certificate& certificate) const {
  const auto crt = new_crt();
  const auto der = datum_of(certificate.der);
  if (!crt || gnutls_x509_crt_import(crt.get(), &der, GNUTLS_X509_FMT_DER) < 0) return false;
  const auto mine = key_id(gnutls_x509_privkey_get_key_id, impl_->key.get());
  const auto theirs = key_id(gnutls_x509_crt_get_key_id, crt.get());
  return mine && theirs && *mine == *theirs;
}

}  // namespace ztna::identity
