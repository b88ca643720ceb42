#include "os/notify.h"

#include <systemd/sd-daemon.h>

#include <cstdint>
#include <ctime>
#include <string>

#include <fmt/format.h>

namespace ztna::os {

void notify_ready() { sd_notify(0, "READY=1"); }

void notify_reloading() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  const auto usec = static_cast<std::uint64_t>(t.tv_sec) * 1'000'000U + static_cast<std::uint64_t>(t.tv_nsec) / 1'000U;
  sd_notify(0, fmt::format("RELOADING=1\nMONOTONIC_USEC={}", usec).c_str());
}

void notify_stopping() { sd_notify(0, "STOPPING=1"); }

void notify_status(std::string_view text) {
  std::string line = fmt::format("STATUS={}", text);
  for (char& c : line) {
    if (c == '\n') c = ' ';
  }
  sd_notify(0, line.c_str());
}

}  // namespace ztna::os
