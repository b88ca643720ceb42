#include "apps/common/metrics_server.h"

#include <gtest/gtest.h>

namespace ztna::apps {
namespace {

TEST(MetricsServer, PortZeroIsOff) {
  const Metrics metrics;
  const auto server = serve_metrics({}, metrics, {});
  ASSERT_TRUE(server);
  EXPECT_EQ(*server, nullptr);
}

TEST(MetricsServer, ListensWhereItIsTold) {
  const Metrics metrics;
  // A port that was free a moment ago: the server itself picks it, then gives it back.
  auto probe = http::Server::start({}, metrics, {});
  ASSERT_TRUE(probe) << probe.error().text;
  const auto port = (*probe)->port();
  config::MetricsSettings settings;
  settings.port = port;
  const auto taken = serve_metrics(settings, metrics, {});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::conflict);
  probe->reset();
  const auto server = serve_metrics(settings, metrics, {});
  ASSERT_TRUE(server) << server.error().text;
  EXPECT_EQ((*server)->port(), port);
}

}  // namespace
}  // namespace ztna::apps
