// Internal to this folder: the handle behind PrivateKey.
#pragma once

#include "identity/gnutls.h"
#include "identity/private_key.h"

namespace ztna::identity {

struct PrivateKey::Impl {
  KeyHandle key;
};

}  // namespace ztna::identity
