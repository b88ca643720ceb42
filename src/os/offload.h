// Switches for what the kernel can do in one call. All on by default; each is probed, and its absence only costs speed.
#pragma once

namespace ztna::os {

struct OffloadOptions {
  bool gso = true;  // UDP_SEGMENT on send
  bool gro = true;  // UDP_GRO on receive
  bool tso = true;  // TCP super-packets and partial checksums over the TUN
  bool uso = true;  // UDP super-packets over the TUN (kernel 6.2)

  static OffloadOptions none() { return {false, false, false, false}; }
};

}  // namespace ztna::os
