// Small helpers over setsockopt, shared by the sockets of this layer.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <limits>
#include <string>

namespace ztna::os {

inline bool set_int(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

inline bool bind_to_device(int fd, const std::string& device) {
  return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device.c_str(), static_cast<socklen_t>(device.size() + 1)) == 0;
}

/// `forced` goes beyond rmem_max and wmem_max but needs CAP_NET_ADMIN; `plain` gives what is allowed. 0 octets: leave
/// as it is.
inline void set_buffer(int fd, int forced, int plain, std::size_t octets) {
  if (octets == 0) return;
  const int value = static_cast<int>(std::min<std::size_t>(octets, std::numeric_limits<int>::max() / 2));
  if (!set_int(fd, SOL_SOCKET, forced, value)) set_int(fd, SOL_SOCKET, plain, value);
}

}  // namespace ztna::os
