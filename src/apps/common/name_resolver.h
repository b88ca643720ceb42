// The names of Intermediates and backends, for the sans-IO parts.
#pragma once

#include <string>

#include "os/resolver.h"
#include "tunnel/ports.h"

namespace ztna::apps {

class NameResolver final : public tunnel::Resolver {
 public:
  explicit NameResolver(os::EventLoop& loop) : resolver_(loop) {}
  void resolve(const std::string& host, Done done) override;

 private:
  os::Resolver resolver_;
};

}  // namespace ztna::apps
