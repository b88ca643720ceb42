// Service ids (docs/protocol.md 3).
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ztna::wire {

/// In RegisterAgent: all services that the certificate permits. It is no ServiceId.
inline constexpr std::string_view kAllServices = "*";

/// A valid service id: DNS labels of [a-z0-9-] joined by dots, 1 to 200 octets, a label 1 to 63 octets without `-` at
/// its ends. There is no invalid or empty value of this type.
class ServiceId {
 public:
  static constexpr std::size_t kMaxSize = 200;
  static constexpr std::size_t kMaxLabel = 63;

  /// Errors: malformed (bad characters, empty, bad label), too_large (over 200 octets). Case is not folded: upper case
  /// is bad.
  static Result<ServiceId> parse(std::string_view text);
  const std::string& str() const { return text_; }
  friend auto operator<=>(const ServiceId&, const ServiceId&) = default;

 private:
  explicit ServiceId(std::string_view text) : text_(text) {}
  std::string text_;
};

inline const std::string& to_string(const ServiceId& id) { return id.str(); }

}  // namespace ztna::wire

template <>
struct std::hash<ztna::wire::ServiceId> {
  std::size_t operator()(const ztna::wire::ServiceId& id) const noexcept { return std::hash<std::string>{}(id.str()); }
};
