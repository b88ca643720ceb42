// /metrics, /healthz and /readyz of a program, as its configuration asks for them.
#pragma once

#include <functional>
#include <memory>

#include "base/metrics.h"
#include "config/types.h"
#include "http/server.h"

namespace ztna::apps {

/// Null where the port is 0: off. Begins a thread, which calls `readiness` and reads `metrics`: both must outlive the
/// server. Errors: as http::Server::start.
Result<std::unique_ptr<http::Server>> serve_metrics(const config::MetricsSettings& settings, const Metrics& metrics,
                                                    std::function<http::Readiness()> readiness);

}  // namespace ztna::apps
