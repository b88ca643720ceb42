// From the configuration to what connector::Connector takes.
#pragma once

#include <vector>

#include "apps/common/udp_sockets.h"
#include "config/connector.h"
#include "connector/direct_paths.h"
#include "connector/quota.h"
#include "connector/service.h"

namespace ztna::apps {

/// Errors: invalid_argument, for what config::finish() should have refused.
Result<std::vector<connector::ServiceDefinition>> service_definitions(const config::ConnectorConfig& config);

/// `sockets`: how many may be open towards backends.
connector::Limits connector_limits(const config::ConnectorConfig& config, std::size_t sockets);

/// `udp`: the open sockets.
connector::DirectOptions direct_options(const config::ConnectorConfig& config, const UdpSockets& udp);

}  // namespace ztna::apps
