#include "http/metrics_page.h"

#include <gtest/gtest.h>

namespace ztna::http {
namespace {

enum class Fate { sent, bad_checksum, count_ };
std::string_view to_string(Fate fate) { return fate == Fate::sent ? "sent" : "bad_checksum"; }

TEST(MetricsPage, NothingDeclaredIsAnEmptyPage) { EXPECT_EQ(render_metrics({}), ""); }

TEST(MetricsPage, SeriesOfOneNameAreOneFamilyWhereverTheyWereAdded) {
  CounterSet<Fate> fates;
  fates.add(Fate::bad_checksum, 3);
  Counter up;
  up.set(1);
  Metrics metrics;
  metrics.counters("ztna_packets_total", "One packet.", "fate", fates);
  metrics.gauge("ztna_up", "Set while registered.", up);
  metrics.add({"ztna_packets_total", "Not shown.", Metric::Kind::counter, {{"fate", "late"}}, [] { return 7.0; }});
  EXPECT_EQ(render_metrics(metrics),
            "# HELP ztna_packets_total One packet.\n"
            "# TYPE ztna_packets_total counter\n"
            "ztna_packets_total{fate=\"sent\"} 0\n"
            "ztna_packets_total{fate=\"bad_checksum\"} 3\n"
            "ztna_packets_total{fate=\"late\"} 7\n"
            "# HELP ztna_up Set while registered.\n"
            "# TYPE ztna_up gauge\n"
            "ztna_up 1\n");
}

TEST(MetricsPage, LabelValuesAreEscaped) {
  Metrics metrics;
  metrics.add({"x", "h", Metric::Kind::gauge, {{"name", "a\"b\\c\nd"}}, [] { return 1.0; }});
  EXPECT_NE(render_metrics(metrics).find(R"(x{name="a\"b\\c\nd"} 1)"), std::string::npos);
}

TEST(MetricsPage, LargeCountsKeepEveryDigit) {
  Counter bytes;
  bytes.set(123'456'789'012'345);
  Metrics metrics;
  metrics.counter("ztna_relay_bytes_total", "One octet.", bytes);
  EXPECT_NE(render_metrics(metrics).find("ztna_relay_bytes_total 123456789012345\n"), std::string::npos);
}

}  // namespace
}  // namespace ztna::http
