// Ids are types of their own, so that two integers never swap places.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace ztna {

template <typename Tag, typename Rep>
struct Id {
  using rep = Rep;
  Rep value{};

  constexpr Id() = default;
  constexpr explicit Id(Rep v) : value(v) {}
  friend constexpr auto operator<=>(const Id&, const Id&) = default;
};

}  // namespace ztna

template <typename Tag, typename Rep>
struct std::hash<ztna::Id<Tag, Rep>> {
  std::size_t operator()(const ztna::Id<Tag, Rep>& id) const noexcept { return std::hash<Rep>{}(id.value); }
};
