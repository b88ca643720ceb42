// A log line without its time: pure, so that tests see what is written.
#pragma once

#include <string>
#include <string_view>

#include "base/log.h"

namespace ztna::log {

std::string_view to_string(Level level);

/// `info service registered service=web`. A value that is not plain ASCII without blanks is quoted and escaped as in
/// JSON.
std::string format_text(Level level, std::string_view message, Fields fields);

/// The members of the line's object, without braces: `"level":"info","message":"service registered","service":"web"`.
std::string format_json(Level level, std::string_view message, Fields fields);

}  // namespace ztna::log
