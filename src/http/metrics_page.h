// The list of base/metrics.h as Prometheus text (exposition format 0.0.4).
#pragma once

#include <string>

#include "base/metrics.h"

namespace ztna::http {

inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

/// Series of one name become one family, in the order in which the names first appear; the first help text stands.
/// Reads every value now.
std::string render_metrics(const Metrics& metrics);

}  // namespace ztna::http
