// What the Agent changes in the host's network: the TUN's addresses, routes of the services' networks into it, and
// beneath them `unreachable` routes, so that nothing for a service ever leaves by the default route.
//
// The TUN and its routes go with the process, however it ends. The unreachable routes stay until `ztna-agent down`:
// while the Agent is stopped, killed or not started yet, services cannot be reached, and are not looked for elsewhere.
#pragma once

#include <string>
#include <vector>

#include "agent/ports.h"
#include "config/agent.h"
#include "os/netlink.h"

namespace ztna::apps {

/// The Agent's own addresses in the networks of the configuration.
agent::Addresses addresses_of(const config::AgentConfig& config);

/// Error: conflict, when a network of the services overlaps one of the host; names both and how to mend it. The Agent's
/// own TUN and unreachable routes do not count.
Result<void> check_overlap(os::Netlink& netlink, const config::AgentConfig& config);

/// Gives the TUN its addresses, brings it up and routes the services' networks into it. Errors: as os::Netlink.
Result<void> set_up_tun(os::Netlink& netlink, const config::AgentConfig& config);

/// The routes that stay. Errors: as os::Netlink.
Result<void> hold_routes(os::Netlink& netlink, const config::AgentConfig& config);
/// Takes away all of them, those of an earlier configuration too; how many there were. Errors: as os::Netlink.
Result<std::size_t> release_routes(os::Netlink& netlink);

}  // namespace ztna::apps
