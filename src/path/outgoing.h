// What the machines of this layer hand out: one UDP payload each, to be sent from the program's one socket of the
// family.
#pragma once

#include "base/address.h"
#include "base/bytes.h"

namespace ztna::path {

struct Outgoing {
  SocketAddress to;
  ByteVector octets;     // at most wire::Probe::kMaxSize
  bool request = false;  // to an address that need not want it; otherwise an answer, or for an Intermediate
};

}  // namespace ztna::path
