// How programs end: 0, or 2 with one line "what, and how to mend".
#pragma once

#include <functional>
#include <iosfwd>
#include <string_view>

namespace ztna::apps {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // something broke while running, never because of usage or configuration
inline constexpr int kExitUsage = 2;    // usage, configuration, or anything that keeps a program from starting

/// All is said already: end with `code`.
struct Exit {
  int code = kExitOk;
};

/// Prints "program: text" and returns Exit{2}.
Exit refuse(std::ostream& err, std::string_view program, std::string_view text);

/// main()'s body: what is thrown becomes one line and kExitFailure.
int guarded_main(std::string_view program, const std::function<int()>& body);

}  // namespace ztna::apps
