#include <gnutls/x509.h>

#include <algorithm>

#include "base/address.h"
#include "quic/tls_session.h"

namespace ztna::quic {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

bool dns_matches(std::string_view pattern, std::string_view name) {
  if (same(pattern, name)) return true;
  // A wildcard stands for the whole leftmost label and nothing else (RFC 6125 6.4.3), and not right below a top-level
  // domain.
  if (!pattern.starts_with("*.") || pattern.find('.', 2) == std::string_view::npos) return false;
  const auto dot = name.find('.');
  return dot != std::string_view::npos && dot > 0 && same(pattern.substr(1), name.substr(dot));
}

}  // namespace

bool certificate_names(Bytes leaf_der, std::string_view name) {
  gnutls_x509_crt_t cert = nullptr;
  if (gnutls_x509_crt_init(&cert) != 0) return false;
  const gnutls_datum_t der{const_cast<unsigned char*>(leaf_der.data()), static_cast<unsigned>(leaf_der.size())};
  bool found = false;
  if (gnutls_x509_crt_import(cert, &der, GNUTLS_X509_FMT_DER) == 0) {
    const auto address = IpAddress::parse(name);
    for (unsigned i = 0; !found; ++i) {
      std::array<char, 1024> san{};
      std::size_t size = san.size();
      const int type = gnutls_x509_crt_get_subject_alt_name(cert, i, san.data(), &size, nullptr);
      if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) break;
      if (type < 0) {
        if (type == GNUTLS_E_SHORT_MEMORY_BUFFER) continue;
        break;
      }
      const std::string_view value{san.data(), size};
      if (type == GNUTLS_SAN_DNSNAME && !address) found = dns_matches(value, name);
      if (type == GNUTLS_SAN_IPADDRESS && address) found = equal(as_bytes(value), address->octets());
    }
  }
  gnutls_x509_crt_deinit(cert);
  return found;
}

}  // namespace ztna::quic
