// Secrets that outlive a restart: the key of stateless resets, of Retry and NEW_TOKEN tokens.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/random.h"

namespace ztna::apps {

using Secret = std::array<std::uint8_t, 32>;

/// The secret in `directory`/`name`, made (mode 0600) if it is not there. When the directory cannot be used, a line is
/// logged as a warning and the secret is one for this run only: clients then notice a restart later.
Secret persistent_secret(const std::string& directory, const std::string& name, Random& random);

}  // namespace ztna::apps
