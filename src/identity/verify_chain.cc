#include <fmt/chrono.h>

#include "identity/certificate.h"
#include "identity/gnutls.h"

namespace ztna::identity {

namespace {

using Handles = std::vector<CrtHandle>;

Result<Handles> import_all(const std::vector<Certificate>& certificates) {
  Handles out;
  for (const auto& c : certificates) {
    auto crt = new_crt();
    if (!crt) return fail(Errc::internal, "certificate: out of memory");
    const auto der = datum_of(c.der);
    if (const int rc = gnutls_x509_crt_import(crt.get(), &der, GNUTLS_X509_FMT_DER); rc < 0) {
      return gnutls_failure(Errc::malformed, "certificate", rc);
    }
    out.push_back(std::move(crt));
  }
  return out;
}

std::vector<gnutls_x509_crt_t> raw(const Handles& handles) {
  std::vector<gnutls_x509_crt_t> out;
  for (const auto& h : handles) out.push_back(h.get());
  return out;
}

Result<void> check_times(const Certificate& c, std::string_view which, WallTime now) {
  if (now < c.not_before)
    return fail(Errc::crypto, "{} is not valid before {:%Y-%m-%d %H:%M:%S} UTC", which, c.not_before);
  if (now > c.not_after) return fail(Errc::crypto, "{} expired on {:%Y-%m-%d %H:%M:%S} UTC", which, c.not_after);
  return {};
}

std::string_view status_text(unsigned status) {
  if ((status & GNUTLS_CERT_SIGNATURE_FAILURE) != 0) return "its signature is wrong";
  if ((status & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0) return "it was not issued by this CA";
  if ((status & GNUTLS_CERT_SIGNER_NOT_CA) != 0) return "its issuer may not issue certificates";
  if ((status & GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE) != 0) return "its issuer may not issue it (constraints)";
  if ((status & GNUTLS_CERT_INSECURE_ALGORITHM) != 0) return "an algorithm in its chain is insecure";
  if ((status & GNUTLS_CERT_PURPOSE_MISMATCH) != 0) return "its chain is not for this purpose";
  return "its chain is not valid";
}

struct TrustListDeleter {
  // The anchors stay ours: 0, not 1.
  void operator()(gnutls_x509_trust_list_t list) const { gnutls_x509_trust_list_deinit(list, 0); }
};

}  // namespace

Result<void> verify_chain(const std::vector<Certificate>& chain, const std::vector<Certificate>& anchors,
                          Purpose purpose, WallTime now, std::string_view host) {
  if (chain.empty()) return fail(Errc::malformed, "no certificate");
  auto chain_handles = import_all(chain);
  if (!chain_handles) return fail(chain_handles.error());
  auto anchor_handles = import_all(anchors);
  if (!anchor_handles) return fail(anchor_handles.error());

  gnutls_x509_trust_list_t list_raw = nullptr;
  if (gnutls_x509_trust_list_init(&list_raw, 0) < 0) return fail(Errc::internal, "certificate: out of memory");
  const std::unique_ptr<std::remove_pointer_t<gnutls_x509_trust_list_t>, TrustListDeleter> list{list_raw};
  auto anchor_pointers = raw(*anchor_handles);
  if (const int rc = gnutls_x509_trust_list_add_cas(list.get(), anchor_pointers.data(),
                                                    static_cast<unsigned>(anchor_pointers.size()), 0);
      rc < 0) {
    return gnutls_failure(Errc::crypto, "CA certificates", rc);
  }

  // GnuTLS would read the clock itself, so the times are checked here.
  auto pointers = raw(*chain_handles);
  unsigned status = 0;
  const int rc = gnutls_x509_trust_list_verify_crt2(
      list.get(), pointers.data(), static_cast<unsigned>(pointers.size()), nullptr, 0,
      GNUTLS_VERIFY_DISABLE_TIME_CHECKS | GNUTLS_VERIFY_DISABLE_TRUSTED_TIME_CHECKS | GNUTLS_VERIFY_DO_NOT_ALLOW_SAME,
      &status, nullptr);
  if (rc < 0) return gnutls_failure(Errc::crypto, "certificate", rc);
  if (status != 0) return fail(Errc::crypto, "{}", status_text(status));

  for (std::size_t i = 0; i < chain.size(); ++i) {
    if (auto ok = check_times(chain[i], i == 0 ? "it" : "a certificate above it", now); !ok) return ok;
  }
  // Which anchor it was: the issuer of some certificate of the chain. Several may share a name (a renewed CA), one that
  // is valid now is enough.
  Result<void> anchor_ok = {};
  bool found = false;
  for (std::size_t a = 0; a < anchors.size(); ++a) {
    for (const auto& crt : *chain_handles) {
      if (gnutls_x509_crt_check_issuer(crt.get(), (*anchor_handles)[a].get()) == 0) continue;
      const auto ok = check_times(anchors[a], "the CA", now);
      if (!found || ok) anchor_ok = ok;
      found = true;
    }
  }
  if (!anchor_ok) return anchor_ok;
  if (!chain.front().allows(purpose)) {
    return fail(Errc::crypto, "it is not for {} (extended key usage)", to_string(purpose));
  }
  if (!host.empty() && !chain.front().names_host(host)) {
    return fail(Errc::crypto, "it does not name the host {}", printable(host));
  }
  return {};
}

}  // namespace ztna::identity
