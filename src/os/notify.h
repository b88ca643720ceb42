// Tells the service manager (sd_notify) where the program is in its life. Without one (NOTIFY_SOCKET unset) all are
// no-ops.
#pragma once

#include <string_view>

namespace ztna::os {

void notify_ready();
/// With MONOTONIC_USEC, as Type=notify-reload wants; follow with notify_ready().
void notify_reloading();
void notify_stopping();
/// One line for `systemctl status`.
void notify_status(std::string_view text);

}  // namespace ztna::os
