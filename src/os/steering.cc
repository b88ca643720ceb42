#include "os/steering.h"

#include <linux/filter.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "os/io_status.h"

namespace ztna::os {
namespace {

constexpr std::uint8_t kRouted = 0x2F;      // docs/protocol.md 2
constexpr std::uint8_t kLongHeader = 0x80;  // RFC 9000 17.2
constexpr std::size_t kRouteOctet = 2;
constexpr std::size_t kLongOctet = 6;
constexpr std::size_t kShortOctet = 1;

}  // namespace

Result<void> attach_worker_steering(int fd, unsigned workers) {
  if (workers == 0 || workers > 256)
    return fail(Errc::invalid_argument, "worker steering: {} workers, need 1 to 256", workers);
  // A load beyond the packet's end ends the program with 0, which is socket 0.
  std::array<sock_filter, 11> program{{
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kRouted, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kLongHeader, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JA, 4, 0, 0),  // short header
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kRouteOctet),
      BPF_JUMP(BPF_JMP | BPF_JA, 3, 0, 0),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kLongOctet),
      BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kShortOctet),
      BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, workers),
      BPF_STMT(BPF_RET | BPF_A, 0),
  }};
  const sock_fprog attach{static_cast<unsigned short>(program.size()), program.data()};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &attach, sizeof attach) != 0) {
    return fail_errno(errno, "worker steering for {} workers", workers);
  }
  return {};
}

unsigned worker_of(Bytes payload, unsigned workers) {
  if (payload.empty() || workers == 0) return 0;
  const std::uint8_t first = payload[0];
  const std::size_t at = first == kRouted ? kRouteOctet : (first & kLongHeader) != 0 ? kLongOctet : kShortOctet;
  return at < payload.size() ? payload[at] % workers : 0;
}

}  // namespace ztna::os
