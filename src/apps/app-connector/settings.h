// From the configuration to what connector::Connector takes.
#pragma once

#include <vector>

#include "config/connector.h"
#include "connector/quota.h"
#include "connector/service.h"

namespace ztna::apps {

/// Errors: invalid_argument, for what config::finish() should have refused.
Result<std::vector<connector::ServiceDefinition>> service_definitions(const config::ConnectorConfig& config);

/// `sockets`: how many may be open towards backends.
connector::Limits connector_limits(const config::ConnectorConfig& config, std::size_t sockets);

/// Raises the soft limit of descriptors to the hard one. Returns how many of them backends may use.
std::size_t raise_descriptor_limit();

}  // namespace ztna::apps
