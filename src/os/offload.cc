#include "os/offload.h"

#include <cstdlib>
#include <string_view>

namespace ztna::os {

OffloadOptions OffloadOptions::from_environment() {
  OffloadOptions on;
  const char* value = std::getenv("ZTNA_OFFLOAD_OFF");
  std::string_view rest = value != nullptr ? value : "";
  while (!rest.empty()) {
    const auto comma = rest.find(',');
    const auto word = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
    if (word == "all") return none();
    if (word == "gso") on.gso = false;
    if (word == "gro") on.gro = false;
    if (word == "tso") on.tso = false;
    if (word == "uso") on.uso = false;
  }
  return on;
}

}  // namespace ztna::os
