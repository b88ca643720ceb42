#include "apps/common/exit.h"

#include <exception>
#include <iostream>

namespace ztna::apps {

Exit refuse(std::ostream& err, std::string_view program, std::string_view text) {
  err << program << ": " << text << '\n';
  return Exit{kExitUsage};
}

int guarded_main(std::string_view program, const std::function<int()>& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    std::cerr << program << ": " << error.what() << '\n';
  } catch (...) {
    std::cerr << program << ": ended by something that is no error\n";
  }
  return kExitFailure;
}

}  // namespace ztna::apps
