// Threads of an Intermediate.
#pragma once

namespace ztna {

/// A worker's index is the first octet of its connection ids and route ids (docs/protocol.md 2).
inline constexpr unsigned kMaxWorkers = 255;

}  // namespace ztna
