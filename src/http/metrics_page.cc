#include "http/metrics_page.h"

#include <prometheus/text_serializer.h>

#include <map>
#include <vector>

namespace ztna::http {

std::string render_metrics(const Metrics& metrics) {
  std::vector<prometheus::MetricFamily> families;
  std::map<std::string_view, std::size_t> place;
  for (const auto& metric : metrics.list()) {
    const auto [found, first_of_name] = place.try_emplace(metric.name, families.size());
    if (first_of_name) {
      const auto type =
          metric.kind == Metric::Kind::counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
      families.push_back({metric.name, metric.help, type, {}});
    }
    auto& family = families[found->second];
    prometheus::ClientMetric series;
    for (const auto& [name, value] : metric.labels) series.label.push_back({name, value});
    const double value = metric.read ? metric.read() : 0.0;
    // The family's kind decides which member the serializer writes.
    series.counter.value = value;
    series.gauge.value = value;
    family.metric.push_back(std::move(series));
  }
  return prometheus::TextSerializer{}.prometheus::Serializer::Serialize(families);
}

}  // namespace ztna::http
