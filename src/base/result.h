// One error type for the whole project: a code to act on and a text to read.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace ztna {

enum class Errc : std::uint8_t {
  truncated,         // input ends inside a field
  malformed,         // input contradicts its own format
  unknown_type,      // a type, version or kind that this release does not know
  too_large,         // over a documented limit
  invalid_argument,  // the caller's mistake, or a configuration value out of range
  denied,            // policy, identity or authentication says no
  not_found,
  conflict,     // taken by another: port, address, name
  exhausted,    // a limit or a resource is used up; try later
  would_block,  // nothing to do until the peer or the kernel moves
  refused,      // the other host answered no (ECONNREFUSED, RST)
  unreachable,  // no way to the other host (EHOSTUNREACH, ENETUNREACH)
  timed_out,
  closed,  // the connection or stream is over
  crypto,  // TLS or certificate failure
  io,      // any other failure of the operating system; the text has errno's words
  internal,
};

std::string_view to_string(Errc code);

struct Error {
  Errc code = Errc::internal;
  std::string text;
};

template <typename T>
using Result = tl::expected<T, Error>;

/// Makes the error half of a Result: `return fail(Errc::truncated, "probe: {} bytes", n);`
template <typename... Args>
[[nodiscard]] tl::unexpected<Error> fail(Errc code, fmt::format_string<Args...> text, Args&&... args) {
  return tl::unexpected<Error>{Error{code, fmt::format(text, std::forward<Args>(args)...)}};
}

/// Hands an error on, with the context it happened in put before its text.
[[nodiscard]] inline tl::unexpected<Error> fail(const Error& cause) { return tl::unexpected<Error>{cause}; }
[[nodiscard]] inline tl::unexpected<Error> fail(std::string_view context, const Error& cause) {
  return tl::unexpected<Error>{Error{cause.code, fmt::format("{}: {}", context, cause.text)}};
}

}  // namespace ztna
