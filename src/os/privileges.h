// Giving up what a program does not need.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/result.h"

namespace ztna::os {

enum class Capability : std::uint8_t { net_admin, net_raw, net_bind_service };

/// Keeps only `keep`, and of these only what the process has: permitted, effective and (where possible) bounding set;
/// nothing is inheritable. Of the calling thread and those that it starts later: call before threads start, or in each.
/// Error: io.
Result<void> keep_only_capabilities(std::initializer_list<Capability> keep);
bool has_capability(Capability capability);

/// Becomes `user` with its groups and keeps `keep`. For a program started as root. Errors: not_found (no such user),
/// denied, io.
Result<void> drop_to_user(const std::string& user, std::initializer_list<Capability> keep);

/// PR_SET_NO_NEW_PRIVS: no exec can gain privileges again. Error: io.
Result<void> set_no_new_privileges();

/// No core dumps and no ptrace by equals (PR_SET_DUMPABLE 0), since memory holds keys. Error: io.
Result<void> set_not_dumpable();

}  // namespace ztna::os
