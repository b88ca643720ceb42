// First octet: 0 a certificate in DER, 1 PEM, 2 a DNS name, 3 a URI; the rest: the octets. Whatever is accepted obeys
// the rules that others rely on: canonical text, no control characters, a right only for valid service ids.
#include <algorithm>

#include "fuzz.h"
#include "identity/identity.h"
#include "identity/san.h"

using namespace ztna;
using namespace ztna::identity;

namespace {

bool plain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7F; });
}

void check_identity(const Certificate& certificate) {
  const auto identity = Identity::from_certificate(certificate);
  if (!identity) {
    require(plain(identity.error().text) && identity.error().fault < IdentityFault::count_);
    return;
  }
  require(identity->role != Role::intermediate || !identity->permits("web"));
  require(!identity->permits("*") && !identity->permits(""));
  require(plain(identity->text()) && plain(identity->services_text()));
  const auto again = parse_uri_entry(identity->uri());
  require(again && again->name == identity->name && again->trust_domain == identity->trust_domain);
  require(covers(*identity, *identity));
  for (const auto& service : identity->services) require(identity->permits(service));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes in{data + 1, size - 1};
  switch (data[0] & 3) {
    case 0:
      if (const auto c = Certificate::parse(in)) {
        require(equal(c->der, in) && plain(printable(c->subject)));
        check_identity(*c);
      }
      break;
    case 1:
      if (const auto chain = Certificate::parse_chain(as_text(in))) {
        for (const auto& c : *chain) check_identity(c);
      }
      break;
    case 2: {
      const auto entry = parse_dns_entry(as_text(in));
      if (!entry) {
        require(plain(entry.error().text));
      } else {
        // Exactly one of: host, all services, one service.
        require((!entry->host.empty()) + entry->all + entry->service.has_value() == 1);
        require(parse_dns_entry(fold_case(as_text(in))).has_value());
      }
      break;
    }
    default:
      if (const auto entry = parse_uri_entry(as_text(in)); !entry) require(plain(entry.error().text));
  }
  return 0;
}
