// Which end of a tunnel somebody is (docs/protocol.md 3, RouteOpened; 5, input of the MAC).
#pragma once

#include <cstdint>
#include <string_view>

namespace ztna::wire {

enum class Role : std::uint8_t { agent = 1, connector = 2 };
std::string_view to_string(Role role);
constexpr bool is_known(Role role) { return role == Role::agent || role == Role::connector; }

}  // namespace ztna::wire
