// How many sockets a program may open.
#pragma once

#include <cstddef>

namespace ztna::apps {

/// Raises the soft limit of descriptors to the hard one (outside systemd the soft one is often 1,024). Returns how many
/// are left for connections, after what the program itself needs.
std::size_t raise_descriptor_limit();

}  // namespace ztna::apps
