// GnuTLS handles with owners, and its errors as ours. Only for the .cc files of this folder.
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509-ext.h>
#include <gnutls/x509.h>

#include <memory>
#include <string_view>
#include <type_traits>

#include "base/bytes.h"
#include "base/result.h"

namespace ztna::identity {

/// The C handle T is a pointer; Free releases it.
template <typename T, auto Free>
struct GnutlsDeleter {
  void operator()(T handle) const { Free(handle); }
};
template <typename T, auto Free>
using GnutlsHandle = std::unique_ptr<std::remove_pointer_t<T>, GnutlsDeleter<T, Free>>;

using CrtHandle = GnutlsHandle<gnutls_x509_crt_t, gnutls_x509_crt_deinit>;
using KeyHandle = GnutlsHandle<gnutls_x509_privkey_t, gnutls_x509_privkey_deinit>;
using NamesHandle = GnutlsHandle<gnutls_subject_alt_names_t, gnutls_subject_alt_names_deinit>;

/// A datum that GnuTLS allocated.
class Datum {
 public:
  Datum() = default;
  Datum(const Datum&) = delete;
  Datum& operator=(const Datum&) = delete;
  ~Datum() { gnutls_free(datum_.data); }

  gnutls_datum_t* out() { return &datum_; }
  Bytes bytes() const { return {datum_.data, datum_.size}; }
  std::string_view text() const { return as_text(bytes()); }

 private:
  gnutls_datum_t datum_{};
};

/// Borrows `bytes`; GnuTLS takes a non-const pointer and only reads.
inline gnutls_datum_t datum_of(Bytes bytes) {
  return {const_cast<unsigned char*>(bytes.data()), static_cast<unsigned>(bytes.size())};
}

[[nodiscard]] inline tl::unexpected<Error> gnutls_failure(Errc code, std::string_view what, int rc) {
  return fail(code, "{}: {}", what, gnutls_strerror(rc));
}

/// Null when memory runs out.
inline CrtHandle new_crt() {
  gnutls_x509_crt_t raw = nullptr;
  return gnutls_x509_crt_init(&raw) == 0 ? CrtHandle{raw} : nullptr;
}
inline KeyHandle new_key() {
  gnutls_x509_privkey_t raw = nullptr;
  return gnutls_x509_privkey_init(&raw) == 0 ? KeyHandle{raw} : nullptr;
}

}  // namespace ztna::identity
