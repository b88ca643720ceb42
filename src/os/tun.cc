#include "os/tun.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace ztna::os {
namespace {

// linux/if_tun.h of Linux 6.2 and later; the headers of Debian 12 lack them.
constexpr unsigned kUso4 = 0x20;  // TUN_F_USO4
constexpr unsigned kUso6 = 0x40;  // TUN_F_USO6
constexpr unsigned kTso = TUN_F_TSO4 | TUN_F_TSO6;
constexpr unsigned kUso = kUso4 | kUso6;

bool set_offload(int fd, unsigned flags) { return ioctl(fd, TUNSETOFFLOAD, static_cast<unsigned long>(flags)) == 0; }

tl::unexpected<Error> open_error(const std::string& name, int err) {
  switch (err) {
    case EPERM:
    case EACCES:
      return fail(Errc::denied, "tun {}: needs CAP_NET_ADMIN: run as root, or setcap cap_net_admin+ep on the program",
                  name);
    case EBUSY: return fail(Errc::conflict, "tun {}: another program has this interface", name);
    case EINVAL:
      if (if_nametoindex(name.c_str()) != 0)
        return fail(Errc::conflict, "tun {}: an interface of this name exists", name);
      break;
    default: break;
  }
  return fail_errno(err, "tun {}", name);
}

}  // namespace

Result<Tun> Tun::open(const std::string& name, const OffloadOptions& offload) {
  if (name.empty() || name.size() >= IFNAMSIZ || name.find_first_of("/ %:") != std::string::npos) {
    return fail(Errc::invalid_argument,
                "tun {}: an interface name has 1 to {} characters, none of '/', '%', ':' or space", name, IFNAMSIZ - 1);
  }
  Tun tun;
  tun.fd_.reset(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tun.fd_) {
    if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
      return fail(Errc::not_found,
                  "tun {}: /dev/net/tun is missing: load the module tun, or give the container the device", name);
    }
    return open_error(name, errno);
  }
  const int fd = tun.fd_.get();
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
  if (ioctl(fd, TUNSETIFF, &request) != 0) return open_error(name, errno);
  tun.name_ = request.ifr_name;
  int header_size = sizeof(VirtioNetHeader);
  if (ioctl(fd, TUNSETVNETHDRSZ, &header_size) != 0) return fail_errno(errno, "tun {}: virtio header", name);

  // From what is wanted down to nothing: an older kernel refuses the whole set for one flag that it does not know.
  const unsigned tso = offload.tso ? kTso : 0U;
  const unsigned uso = offload.uso ? kUso : 0U;
  for (const unsigned flags : std::array<unsigned, 3>{TUN_F_CSUM | tso | uso, TUN_F_CSUM | tso, 0U}) {
    const unsigned wanted = (tso | uso) == 0 ? 0U : flags;
    if (!set_offload(fd, wanted)) continue;
    tun.checksum_ = (wanted & TUN_F_CSUM) != 0;
    tun.tso_ = (wanted & kTso) != 0;
    tun.uso_ = (wanted & kUso) != 0;
    break;
  }
  tun.buffer_ = std::make_unique_for_overwrite<std::uint8_t[]>(kHeadroom + kMaxPacket);
  return tun;
}

TunPacket Tun::read() {
  TunPacket p;
  std::uint8_t* packet = buffer_.get() + kHeadroom;
  std::uint8_t* start = packet - sizeof p.header;  // copied out below, and free as headroom then
  ssize_t n = 0;
  do {
    n = ::read(fd_.get(), start, sizeof p.header + kMaxPacket);
  } while (n < 0 && errno == EINTR);
  if (n < static_cast<ssize_t>(sizeof p.header)) {
    p.status = n < 0 && errno == EAGAIN ? IoStatus::would_block : IoStatus::failed;
    return p;
  }
  std::memcpy(&p.header, start, sizeof p.header);
  p.packet = {packet, static_cast<std::size_t>(n) - sizeof p.header};
  return p;
}

IoStatus Tun::write(const VirtioNetHeader& header, Bytes packet) { return write(header, {&packet, 1}); }

IoStatus Tun::write(const VirtioNetHeader& header, std::span<const Bytes> parts) {
  if (parts.size() > kMaxParts) return IoStatus::failed;
  VirtioNetHeader copy = header;
  std::array<iovec, kMaxParts + 1> row{};
  row[0] = {&copy, sizeof copy};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    row[i + 1] = {const_cast<std::uint8_t*>(parts[i].data()), parts[i].size()};
  }
  ssize_t n = 0;
  do {
    n = ::writev(fd_.get(), row.data(), static_cast<int>(parts.size() + 1));
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return IoStatus::ok;
  return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? IoStatus::would_block : IoStatus::failed;
}

}  // namespace ztna::os
