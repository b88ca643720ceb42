#include "os/privileges.h"

#include <cap-ng.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "os/io_status.h"

namespace ztna::os {
namespace {

constexpr auto kBoth = static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED);

unsigned number_of(Capability capability) {
  switch (capability) {
    case Capability::net_admin: return CAP_NET_ADMIN;
    case Capability::net_raw: return CAP_NET_RAW;
    case Capability::net_bind_service: break;
  }
  return CAP_NET_BIND_SERVICE;
}

/// Sets the process' capabilities, in libcap-ng's memory, to those of `keep` that it has.
bool select(std::initializer_list<Capability> keep) {
  if (capng_get_caps_process() != 0) return false;
  std::vector<unsigned> kept;
  for (const Capability c : keep) {
    if (capng_have_capability(CAPNG_PERMITTED, number_of(c)) != 0) kept.push_back(number_of(c));
  }
  capng_clear(CAPNG_SELECT_ALL);
  for (const unsigned c : kept) capng_update(CAPNG_ADD, kBoth, c);
  return true;
}

}  // namespace

Result<void> keep_only_capabilities(std::initializer_list<Capability> keep) {
  if (capng_get_caps_process() != 0) return fail(Errc::io, "capabilities: cannot be read");
  // The bounding set can only be changed with CAP_SETPCAP; without it there is little to bound.
  const bool bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
  if (!select(keep)) return fail(Errc::io, "capabilities: cannot be read");
  if (bounds && capng_apply(CAPNG_SELECT_BOUNDS) != 0) return fail(Errc::io, "capabilities: bounding set not taken");
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) return fail(Errc::io, "capabilities: not taken");
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);  // kernels without it have none
  return {};
}

bool has_capability(Capability capability) {
  if (capng_get_caps_process() != 0) return false;
  return capng_have_capability(CAPNG_EFFECTIVE, number_of(capability)) != 0;
}

Result<void> drop_to_user(const std::string& user, std::initializer_list<Capability> keep) {
  errno = 0;
  const passwd* entry = getpwnam(user.c_str());
  if (entry == nullptr) return fail(Errc::not_found, "user {}: no such user", user);
  const uid_t uid = entry->pw_uid;
  const gid_t gid = entry->pw_gid;
  if (geteuid() != 0) {
    if (geteuid() == uid) return keep_only_capabilities(keep);
    return fail(Errc::denied, "user {}: only root can become another user", user);
  }
  if (initgroups(user.c_str(), gid) != 0) return fail_errno(errno, "user {}: groups", user);
  if (!select(keep)) return fail(Errc::io, "capabilities: cannot be read");
  const int error = capng_change_id(static_cast<int>(uid), static_cast<int>(gid), CAPNG_CLEAR_BOUNDING);
  if (error != 0) return fail(Errc::io, "user {}: cannot change to it (libcap-ng {})", user, error);
  if (uid != 0 && setuid(0) == 0) return fail(Errc::internal, "user {}: root could be had back", user);
  return {};
}

Result<void> set_no_new_privileges() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno(errno, "no new privileges");
  return {};
}

Result<void> set_not_dumpable() {
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno(errno, "not dumpable");
  return {};
}

}  // namespace ztna::os
