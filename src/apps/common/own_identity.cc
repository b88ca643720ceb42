#include "apps/common/own_identity.h"

#include <fstream>
#include <utility>

#include "identity/certificate.h"
#include "os/clock.h"

namespace ztna::apps {
namespace {

std::string_view how_to_make_one(identity::Role role) {
  switch (role) {
    case identity::Role::agent: return "ztnactl issue agent --name NAME --service ID";
    case identity::Role::connector: return "ztnactl issue connector --name NAME --service ID";
    case identity::Role::intermediate: return "ztnactl issue intermediate --name NAME --host HOST";
  }
  return "ztnactl issue";
}

}  // namespace

Result<OwnIdentity> load_own_identity(const config::IdentityFiles& files, identity::Role role,
                                      identity::Purpose purpose) {
  auto pem = read_identity(files);
  if (!pem) return fail(pem.error());
  const auto certificate = identity::Certificate::parse_pem(pem->cert);
  if (!certificate) return fail(files.cert, certificate.error());
  auto own = identity::expect_role(identity::Identity::from_leaf(certificate->der, os::wall_time(), purpose), role);
  if (!own) {
    return fail(Errc::invalid_argument, "{}: {}; make one with: {}", files.cert, own.error().text,
                how_to_make_one(role));
  }
  // Every peer would refuse it; a reload must not put it in the place of one that works.
  const auto chain = identity::Certificate::parse_chain(pem->cert);
  if (!chain) return fail(files.cert, chain.error());
  const auto anchors = identity::Certificate::parse_chain(pem->ca_cert);
  if (!anchors) return fail(files.ca_cert, anchors.error());
  if (const auto issued = identity::verify_chain(*chain, *anchors, purpose, os::wall_time()); !issued) {
    return fail(Errc::invalid_argument, "{}: {} ({})", files.cert, issued.error().text, files.ca_cert);
  }
  return OwnIdentity{files, std::move(*pem), certificate->der, std::move(*own)};
}

Result<void> check_own_identity(const config::IdentityFiles& files, identity::Role role, identity::Purpose purpose) {
  const auto own = load_own_identity(files, role, purpose);
  if (!own) return fail(own.error());
  const auto side = purpose == identity::Purpose::server ? quic::Side::server : quic::Side::client;
  if (const auto usable = make_tls_context(*own, side, {}, ""); !usable) return fail(usable.error());
  return {};
}

Result<std::shared_ptr<const quic::TlsContext>> make_tls_context(const OwnIdentity& own, quic::Side side,
                                                                 quic::TlsOptions options,
                                                                 const std::string& keylog_file) {
  options.ca_pem = own.pem.ca_cert;
  options.cert_pem = own.pem.cert;
  options.key_pem = own.pem.key;
  if (!keylog_file.empty()) {
    options.keylog = [path = keylog_file](std::string_view line) {
      std::ofstream{path, std::ios::app} << line << '\n';
    };
  }
  auto context = quic::TlsContext::create(side, std::move(options));
  if (!context) {
    return fail(fmt::format("{}, {}, {}", own.files.ca_cert, own.files.cert, own.files.key), context.error());
  }
  return context;
}

}  // namespace ztna::apps
