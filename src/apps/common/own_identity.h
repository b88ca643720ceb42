// A program's own certificate: read, judged as its peers will judge it, made into TLS contexts.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "apps/common/identity_files.h"
#include "base/log.h"
#include "identity/identity.h"
#include "quic/tls_context.h"

namespace ztna::apps {

struct OwnIdentity {
  config::IdentityFiles files;
  IdentityPem pem;
  ByteVector leaf;  // DER
  identity::Identity identity;
};

/// A bad certificate is better found at start than by every peer. Errors, one line that names the file and how to mend
/// it: as read_identity(), malformed (no certificate), invalid_argument (expired, another role, no ZTNA identity ...).
Result<OwnIdentity> load_own_identity(const config::IdentityFiles& files, identity::Role role,
                                      identity::Purpose purpose);

/// As --check-config needs it: what the program would refuse at start. Errors: as load_own_identity() and
/// make_tls_context().
Result<void> check_own_identity(const config::IdentityFiles& files, identity::Role role, identity::Purpose purpose);

/// `options` says all but the certificates, the key and the key log. `keylog_file`: empty for none. Errors: as
/// TlsContext::create, with the files named.
Result<std::shared_ptr<const quic::TlsContext>> make_tls_context(const OwnIdentity& own, quic::Side side,
                                                                 quic::TlsOptions options,
                                                                 const std::string& keylog_file);

/// Logs a warning for each service of the configuration that the certificate does not permit.
template <typename Services>
void warn_of_services_not_permitted(const identity::Identity& own, const Services& services) {
  for (const auto& service : services) {
    if (own.permits(service.id)) continue;
    log::warn("own certificate does not permit a service: the Intermediate will refuse it",
              {{"service", service.id}, {"permitted", own.services_text()}});
  }
}

}  // namespace ztna::apps
