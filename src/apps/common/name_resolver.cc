#include "apps/common/name_resolver.h"

#include <utility>
#include <vector>

namespace ztna::apps {

void NameResolver::resolve(const std::string& host, Done done) {
  resolver_.resolve(host, 0, [done = std::move(done)](Result<std::vector<SocketAddress>> answer) {
    if (!answer) return done(fail(answer.error()));
    std::vector<IpAddress> addresses;
    addresses.reserve(answer->size());
    for (const auto& address : *answer) addresses.push_back(address.ip);
    done(std::move(addresses));
  });
}

}  // namespace ztna::apps
