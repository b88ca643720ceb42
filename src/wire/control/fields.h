// Fields that several messages have.
#pragma once

#include <optional>

#include "wire/reader.h"
#include "wire/service_id.h"

namespace ztna::wire {

/// A code of a table (codes.h); one that the table does not have is malformed.
template <typename Enum>
Enum read_code(Reader& r) {
  const auto value = static_cast<Enum>(r.u8());
  if (!is_known(value)) r.refuse();
  return value;
}

/// A service id that the sender has validated: a bad one is malformed. Nothing only when the reader has failed.
inline std::optional<ServiceId> read_service_id(Reader& r) {
  const auto text = r.string8();
  if (!r.ok()) return std::nullopt;
  auto id = ServiceId::parse(text);
  if (id) return std::move(*id);
  r.refuse();
  return std::nullopt;
}

}  // namespace ztna::wire
