#include "quic/types.h"

#include <fmt/format.h>

namespace ztna::quic {

std::string to_string(const Path& path) {
  return fmt::format("{} -> {}", ztna::to_string(path.local), ztna::to_string(path.remote));
}

namespace {

std::string_view to_string(CloseReason::By by) {
  switch (by) {
    case CloseReason::By::local: return "closed by us";
    case CloseReason::By::peer: return "closed by peer";
    case CloseReason::By::idle: return "idle timeout";
    case CloseReason::By::stateless_reset: return "stateless reset";
    case CloseReason::By::failed: return "failed";
  }
  return "unknown";
}

}  // namespace

std::string to_string(const CloseReason& reason) {
  std::string out{to_string(reason.by)};
  const bool coded = reason.by != CloseReason::By::idle && reason.by != CloseReason::By::stateless_reset;
  if (coded) out += fmt::format(", {} code {:#x}", reason.application ? "application" : "transport", reason.code);
  if (!reason.text.empty()) out += ": " + reason.text;
  return out;
}

}  // namespace ztna::quic
