// A TUN device: IP packets to and from the kernel, with partial checksums and super-packets (TSO, USO) where it has
// them.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "os/fd.h"
#include "os/io_status.h"
#include "os/offload.h"
#include "os/virtio_net.h"

namespace ztna::os {

struct TunPacket {
  IoStatus status = IoStatus::ok;  // would_block: nothing there; failed: the device is gone. Else the rest holds:
  VirtioNetHeader header;
  MutableBytes packet;  // one IP packet; Tun::kHeadroom octets before it may be written. Valid until the next read
};

class Tun {
 public:
  static constexpr std::size_t kHeadroom = 64;
  static constexpr std::size_t kMaxPacket = 65'575;  // 65,535 of IPv6 payload and its header

  /// Creates the interface `name` (at most 15 octets), non-persistent: it goes away with the Tun. Set address and "up"
  /// by Netlink. Errors: denied ("needs CAP_NET_ADMIN: ..."), conflict (another program holds the name), not_found
  /// (/dev/net/tun missing), invalid_argument (name), io.
  static Result<Tun> open(const std::string& name, const OffloadOptions& offload = {});

  int fd() const { return fd_.get(); }
  const std::string& name() const { return name_; }
  /// What the kernel granted.
  bool checksum_offload() const { return checksum_; }
  bool tso() const { return tso_; }
  bool uso() const { return uso_; }

  /// One packet. Call until would_block, bounded.
  TunPacket read();
  /// One packet to the kernel. would_block: its queue is full; failed: the kernel found the header wrong, or the device
  /// is down.
  IoStatus write(const VirtioNetHeader& header, Bytes packet);
  /// The same from up to kMaxParts pieces.
  static constexpr std::size_t kMaxParts = 8;
  IoStatus write(const VirtioNetHeader& header, std::span<const Bytes> parts);

 private:
  Fd fd_;
  std::string name_;
  bool checksum_ = false;
  bool tso_ = false;
  bool uso_ = false;
  std::unique_ptr<std::uint8_t[]> buffer_;
};

}  // namespace ztna::os
