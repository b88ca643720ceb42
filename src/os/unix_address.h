// sockaddr_un from a path; shared by both ends of os/unix_socket.h.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

#include "base/result.h"

namespace ztna::os {

inline Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty()) return fail(Errc::invalid_argument, "control socket: empty path");
  if (path.size() >= sizeof address.sun_path) {
    return fail(Errc::too_large, "{}: a socket's path has at most {} octets", path, sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

}  // namespace ztna::os
