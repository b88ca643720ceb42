#include "apps/common/metrics_server.h"

#include <utility>

namespace ztna::apps {

Result<std::unique_ptr<http::Server>> serve_metrics(const config::MetricsSettings& settings, const Metrics& metrics,
                                                    std::function<http::Readiness()> readiness) {
  if (settings.port == 0) return nullptr;
  http::ServerOptions options;
  options.bind = settings.bind;
  options.port = settings.port;
  return http::Server::start(options, metrics, std::move(readiness));
}

}  // namespace ztna::apps
