#include "quic/hmac.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

namespace ztna::quic {

struct HmacSha256::Impl {
  gnutls_hmac_hd_t handle = nullptr;
  ~Impl() {
    if (handle != nullptr) gnutls_hmac_deinit(handle, nullptr);
  }
};

HmacSha256::HmacSha256(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HmacSha256::HmacSha256(HmacSha256&&) noexcept = default;
HmacSha256& HmacSha256::operator=(HmacSha256&&) noexcept = default;
HmacSha256::~HmacSha256() = default;

Result<HmacSha256> HmacSha256::create(Bytes key) {
  if (key.empty()) return fail(Errc::crypto, "HMAC: empty key");
  auto impl = std::make_unique<Impl>();
  const int error = gnutls_hmac_init(&impl->handle, GNUTLS_MAC_SHA256, key.data(), key.size());
  if (error < 0) return fail(Errc::crypto, "HMAC: {}", gnutls_strerror(error));
  return HmacSha256{std::move(impl)};
}

bool HmacSha256::digest(Bytes input, Sha256Digest& out) {
  const int error = gnutls_hmac(impl_->handle, input.data(), input.size());
  gnutls_hmac_output(impl_->handle, out.data());  // resets the state too
  return error >= 0;
}

}  // namespace ztna::quic
