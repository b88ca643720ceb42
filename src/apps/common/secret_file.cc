#include "apps/common/secret_file.h"

#include <algorithm>

#include "base/log.h"
#include "os/files.h"

namespace ztna::apps {

Secret persistent_secret(const std::string& directory, const std::string& name, Random& random) {
  const std::string path = directory + "/" + name;
  Secret secret{};
  const auto stored = os::read_file(path, 1024);
  if (stored && stored->size() == secret.size()) {
    std::ranges::copy(as_bytes(*stored), secret.begin());
    return secret;
  }
  secret = random.array<32>();
  auto written = os::create_directories(directory, 0700);
  if (written) written = os::write_file_atomic(path, as_text(secret), 0600);
  if (!written) {
    log::warn("state cannot be kept: after a restart peers notice later; set \"state_dir\" to a folder of this user",
              {{"why", written.error().text}});
  }
  return secret;
}

}  // namespace ztna::apps
