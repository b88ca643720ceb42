#include "os/fd.h"

#include <unistd.h>

namespace ztna::os {

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);  // EINTR: the descriptor is gone all the same on Linux
  fd_ = fd;
}

}  // namespace ztna::os
