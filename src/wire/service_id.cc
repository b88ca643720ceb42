#include "wire/service_id.h"

#include <algorithm>

namespace ztna::wire {
namespace {

bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= ServiceId::kMaxLabel && label.front() != '-' && label.back() != '-' &&
         std::ranges::all_of(label,
                             [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

}  // namespace

Result<ServiceId> ServiceId::parse(std::string_view text) {
  if (text.empty()) return fail(Errc::malformed, "service id is empty");
  if (text.size() > kMaxSize)
    return fail(Errc::too_large, "service id of {} octets, at most {}", text.size(), kMaxSize);
  for (auto rest = text;;) {
    const auto dot = rest.find('.');
    if (!is_label(rest.substr(0, dot))) {
      return fail(Errc::malformed, "service id: labels are 1 to {} of [a-z0-9-], no '-' at their ends", kMaxLabel);
    }
    if (dot == std::string_view::npos) return ServiceId{text};
    rest.remove_prefix(dot + 1);
  }
}

}  // namespace ztna::wire
